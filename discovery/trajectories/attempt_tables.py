"""The schema of our own Parquet: completions, candidates and evaluations. See :mod:`discovery.trajectories.tables`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from discovery.exact.value import is_decimal
from discovery.records import (
    Candidate,
    Completion,
    Durations,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    ModelIdentity,
    Purpose,
    Score,
    TokenUsage,
)
from discovery.trajectories.cells import Cell
from discovery.trajectories.columns import PLACE, Column, Row, Table, key_of, mapping


def _completion(row: Row) -> Completion:
    ends = (row["forced_from"], row["forced_to"])
    usage = TokenUsage(
        prompt=row["prompt_tokens"],
        completion=row["completion_tokens"],
        reasoning=row["reasoning_tokens"],
        cached=row["cached_tokens"],
    )
    if not row["is_counted"] and usage != TokenUsage():
        raise ValueError("it has tokens that nobody counted")
    if (ends[0] is None) != (ends[1] is None):
        raise ValueError("what was forced has only one end")
    return Completion(
        key=key_of(row),
        model=ModelIdentity(
            generator=row["generator"],
            model=row["model"],
            revision=row["revision"],
            adapter=row["adapter"],
            server=row["server"],
        ),
        seed=None if row["seed"] is None else int(row["seed"]),
        tokens=usage if row["is_counted"] else None,
        forced=None if ends[0] is None else ends,
        sampling=mapping(row, "sampling"),
        **{name: row[name] for name in _AS_THEY_ARE},
    )


_AS_THEY_ARE = (
    *("text", "reasoning", "finish_reason", "token_ids", "logprobs", "prompt_token_ids"),
    *("latency_s", "created_at"),
)

COMPLETIONS = Table(
    name="completions",
    columns=(
        *PLACE,
        Column("text", Cell.TEXT, lambda c: c.text, optional=True),
        Column("reasoning", Cell.TEXT, lambda c: c.reasoning, optional=True),
        Column("finish_reason", Cell.TEXT, lambda c: c.finish_reason, optional=True),
        Column("generator", Cell.TEXT, lambda c: c.model.generator),
        Column("model", Cell.TEXT, lambda c: c.model.model, optional=True),
        Column("revision", Cell.TEXT, lambda c: c.model.revision, optional=True),
        Column("adapter", Cell.TEXT, lambda c: c.model.adapter, optional=True),
        Column("server", Cell.TEXT, lambda c: c.model.server, optional=True),
        Column("sampling", Cell.JSON, lambda c: dict(c.sampling)),
        # A word, since no number of Parquet holds any seed.
        Column("seed", Cell.NAME, lambda c: None if c.seed is None else str(c.seed), optional=True),
        Column("is_counted", Cell.FLAG, lambda c: c.tokens is not None),
        Column("prompt_tokens", Cell.INTEGER, lambda c: c.tokens and c.tokens.prompt, optional=True),
        Column("completion_tokens", Cell.INTEGER, lambda c: c.tokens and c.tokens.completion, optional=True),
        Column("reasoning_tokens", Cell.INTEGER, lambda c: c.tokens and c.tokens.reasoning, optional=True),
        Column("cached_tokens", Cell.INTEGER, lambda c: c.tokens and c.tokens.cached, optional=True),
        Column("token_ids", Cell.IDS, lambda c: c.token_ids, optional=True),
        Column("logprobs", Cell.LOGPROBS, lambda c: c.logprobs, optional=True),
        Column("prompt_token_ids", Cell.IDS, lambda c: c.prompt_token_ids, optional=True),
        Column("forced_from", Cell.PLACE, lambda c: c.forced and c.forced[0], optional=True),
        Column("forced_to", Cell.PLACE, lambda c: c.forced and c.forced[1], optional=True),
        Column("latency_s", Cell.NUMBER, lambda c: c.latency_s, optional=True),
        Column("created_at", Cell.INSTANT, lambda c: c.created_at),
    ),
    build=_completion,
    place=lambda c: c.key,
    stored=lambda snapshot: snapshot.records(Completion),
)


def _candidate(row: Row) -> Candidate:
    candidate = Candidate(
        key=key_of(row),
        source=row["source"],
        parents=row["parents"],
        created_at=row["created_at"],
        warm_start=row["warm_start"],
        form=_hash(row, "form"),
    )
    if candidate.source_hash != row["source_hash"]:
        raise ValueError("its source is not the one of its hash")
    return candidate


def _hash(row: Row, name: str) -> str | None:
    said = row[name]
    if said is not None and re.fullmatch("[0-9a-f]{64}", said) is None:
        raise ValueError(f"its {name} is no SHA-256")
    return cast(str | None, said)


CANDIDATES = Table(
    name="candidates",
    columns=(
        *PLACE,
        Column("source", Cell.TEXT, lambda c: c.source),
        Column("source_hash", Cell.NAME, lambda c: c.source_hash),
        Column("parents", Cell.KEYS, lambda c: c.parents),
        Column("created_at", Cell.INSTANT, lambda c: c.created_at),
        Column("warm_start", Cell.KEY, lambda c: c.warm_start, optional=True, since=3),
        Column("form", Cell.NAME, lambda c: c.form, optional=True, since=4),
    ),
    build=_candidate,
    place=lambda c: c.key,
    stored=lambda snapshot: snapshot.records(Candidate),
)

_OF_SCORE = (
    *("metrics", "private", "feedback", "artifact", "samples", "interval_low", "interval_high"),
    "exact_score",
)


def _score(row: Row) -> Score | None:
    if row["score"] is None:
        if any(row[name] is not None for name in _OF_SCORE):
            raise ValueError("it has no score, and more about it")
        return None
    low, high = row["interval_low"], row["interval_high"]
    if row["samples"] is None or (low is None) != (high is None):
        raise ValueError("its score lacks samples, or an end of its interval")
    exact = row["exact_score"]
    if exact is not None and not is_decimal(exact):
        raise ValueError("its exact score is no decimal of ours")
    return Score(
        value=row["score"],
        metrics=mapping(row, "metrics"),
        private=mapping(row, "private"),
        feedback=row["feedback"],
        artifact=row["artifact"],
        samples=row["samples"],
        interval=None if low is None else (low, high),
        exact=exact,
    )


def _failure(row: Row) -> Failure | None:
    if row["failure"] is None:
        if row["message"] is not None or row["detail"] is not None:
            raise ValueError("it did not fail, and says why")
        return None
    if row["message"] is None:
        raise ValueError("it failed without a message")
    return Failure(kind=FailureKind(row["failure"]), message=row["message"], detail=row["detail"])


def _evaluation(row: Row) -> Evaluation:
    durations = None
    if row["wall_s"] is not None:
        durations = Durations(
            wall_s=row["wall_s"], sandbox_s=row["sandbox_s"], sandbox_cpu_s=row["sandbox_cpu_s"]
        )
    elif row["sandbox_s"] is not None or row["sandbox_cpu_s"] is not None:
        raise ValueError("it has durations of a sandbox, and none of its own")
    return Evaluation(
        key=key_of(row),
        purpose=Purpose(row["purpose"]),
        attempt=row["attempt"],
        state=EvaluationState(row["state"]),
        score=_score(row),
        failure=_failure(row),
        duplicate_of=row["duplicate_of"],
        durations=durations,
        output=row["output"],
        suspicion=row["suspicion"],
        sandbox=row["sandbox"],
        scorer_version=row["scorer_version"],
        solution=_hash(row, "solution"),
        source_read=bool(row["source_read"]),
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def _of_score(name: str) -> Callable[[Evaluation], Any]:
    return lambda e: None if e.score is None else getattr(e.score, name)


def _of_failure(name: str) -> Callable[[Evaluation], Any]:
    return lambda e: None if e.failure is None else getattr(e.failure, name)


def _of_durations(name: str) -> Callable[[Evaluation], Any]:
    return lambda e: None if e.durations is None else getattr(e.durations, name)


def _interval(end: int) -> Callable[[Evaluation], Any]:
    return lambda e: None if e.score is None or e.score.interval is None else e.score.interval[end]


_PURPOSES = tuple(Purpose)

EVALUATIONS = Table(
    name="evaluations",
    columns=(
        *PLACE,
        Column("purpose", Cell.NAME, lambda e: e.purpose.value),
        Column("attempt", Cell.PLACE, lambda e: e.attempt),
        Column("state", Cell.NAME, lambda e: e.state.value),
        Column("score", Cell.NUMBER, _of_score("value"), optional=True),
        Column("metrics", Cell.JSON, lambda e: e.score and dict(e.score.metrics), optional=True),
        Column("private", Cell.JSON, lambda e: e.score and dict(e.score.private), optional=True),
        Column("feedback", Cell.TEXT, _of_score("feedback"), optional=True),
        Column("artifact", Cell.JSON, _of_score("artifact"), optional=True),
        Column("samples", Cell.NUMBERS, _of_score("samples"), optional=True),
        Column("interval_low", Cell.NUMBER, _interval(0), optional=True),
        Column("interval_high", Cell.NUMBER, _interval(1), optional=True),
        Column("exact_score", Cell.NAME, _of_score("exact"), optional=True, since=2),
        Column("failure", Cell.NAME, lambda e: e.failure and e.failure.kind.value, optional=True),
        Column("message", Cell.TEXT, _of_failure("message"), optional=True),
        Column("detail", Cell.TEXT, _of_failure("detail"), optional=True),
        Column("duplicate_of", Cell.KEY, lambda e: e.duplicate_of, optional=True),
        Column("wall_s", Cell.NUMBER, _of_durations("wall_s"), optional=True),
        Column("sandbox_s", Cell.NUMBER, _of_durations("sandbox_s"), optional=True),
        Column("sandbox_cpu_s", Cell.NUMBER, _of_durations("sandbox_cpu_s"), optional=True),
        Column("output", Cell.TEXT, lambda e: e.output, optional=True),
        Column("suspicion", Cell.TEXT, lambda e: e.suspicion, optional=True),
        Column("sandbox", Cell.TEXT, lambda e: e.sandbox, optional=True),
        Column("scorer_version", Cell.TEXT, lambda e: e.scorer_version, optional=True),
        Column("solution", Cell.NAME, lambda e: e.solution, optional=True, since=4),
        # None in what older versions wrote, which did not ask.
        Column("source_read", Cell.FLAG, lambda e: e.source_read, optional=True, since=4),
        Column("started_at", Cell.INSTANT, lambda e: e.started_at),
        Column("finished_at", Cell.INSTANT, lambda e: e.finished_at, optional=True),
    ),
    build=_evaluation,
    place=lambda e: (e.key, _PURPOSES.index(e.purpose), e.attempt),
    stored=lambda snapshot: snapshot.records(Evaluation),
)

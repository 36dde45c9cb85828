"""Rows of what belongs to one candidate: completions, candidates, evaluations. See ``rows``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from discovery.records import (
    Candidate,
    Completion,
    Durations,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    Json,
    ModelIdentity,
    Purpose,
    Score,
    TokenUsage,
)
from discovery.storage import models
from discovery.storage.codec import (
    KEY_BYTES,
    Packer,
    Unpacker,
    ids_in,
    json_in,
    json_out,
    key_in,
    keys_in,
    keys_out,
    logprobs_in,
    logprobs_out,
    number_in,
    optional_key_out,
    optional_text_in,
    optional_text_out,
    text_in,
    text_out,
    time_in,
    time_out,
)
from discovery.storage.rows import Row, place_in, place_out

_EVALUATION_STATES = {
    EvaluationState.RUNNING: models.RUNNING,
    EvaluationState.SCORED: models.SCORED,
    EvaluationState.FAILED: models.FAILED,
}
_PURPOSES = {
    Purpose.SEARCH: models.SEARCH,
    Purpose.VERIFY: models.VERIFY,
    Purpose.AUDIT: models.AUDIT,
}
_EVALUATION_STATES_OUT = {number: state for state, number in _EVALUATION_STATES.items()}
_PURPOSES_OUT = {number: purpose for purpose, number in _PURPOSES.items()}


@lru_cache(maxsize=64)
def model_in(model: ModelIdentity) -> bytes:
    """The content of the cell of who spoke."""
    # A run has one or a few, and each completion repeats it.
    return json_in(asdict(model), "model")


def read_model(cell: bytes, unpacker: Unpacker) -> ModelIdentity:
    """Who spoke, from the cell of a completion."""
    return ModelIdentity(**json_out(unpacker.unpack(cell)))


def tokens_in(tokens: TokenUsage | None) -> Row:
    """The columns of what something cost."""
    return {
        "prompt_tokens": tokens.prompt if tokens else None,
        "completion_tokens": tokens.completion if tokens else None,
        "reasoning_tokens": tokens.reasoning if tokens else None,
        "cached_tokens": tokens.cached if tokens else None,
        "has_tokens": tokens is not None,
    }


def tokens_out(row: Mapping[str, Any]) -> TokenUsage | None:
    """The inverse of :func:`tokens_in`."""
    if not row["has_tokens"]:
        return None
    return TokenUsage(
        prompt=row["prompt_tokens"],
        completion=row["completion_tokens"],
        reasoning=row["reasoning_tokens"],
        cached=row["cached_tokens"],
    )


def write_completion(run: int, completion: Completion, packer: Packer) -> Row:
    """The row of a completion."""
    what = f"completion {completion.key}"
    row = place_in(run, completion.key)
    row.update(
        **tokens_in(completion.tokens),
        text=packer.pack_text(completion.text),
        reasoning=packer.pack_text(completion.reasoning),
        finish_reason=optional_text_in(completion.finish_reason),
        model=packer.pack(model_in(completion.model)),
        sampling=packer.pack(
            json_in(dict(completion.sampling), f"{what}: sampling") if completion.sampling else b""
        ),
        seed=None if completion.seed is None else str(completion.seed),
        token_ids=None if completion.token_ids is None else packer.pack_numbers(ids_in(completion.token_ids)),
        logprobs=None
        if completion.logprobs is None
        else packer.pack_numbers(logprobs_in(completion.logprobs)),
        latency_s=number_in(completion.latency_s, f"{what}: latency_s"),
        created_at=time_in(completion.created_at, f"{what}: created_at"),
        prompt_token_ids=None
        if completion.prompt_token_ids is None
        else packer.pack_numbers(ids_in(completion.prompt_token_ids)),
        forced_from=completion.forced[0] if completion.forced else None,
        forced_to=completion.forced[1] if completion.forced else None,
    )
    return row


def read_completion(row: Mapping[str, Any], unpacker: Unpacker) -> Completion:
    """The inverse of :func:`write_completion`."""
    sampling = unpacker.unpack(row["sampling"])
    return Completion(
        key=place_out(row),
        text=unpacker.unpack_text(row["text"]),
        reasoning=unpacker.unpack_text(row["reasoning"]),
        finish_reason=optional_text_out(row["finish_reason"]),
        model=read_model(row["model"], unpacker),
        sampling=json_out(sampling) if sampling else {},
        seed=None if row["seed"] is None else int(row["seed"]),
        tokens=tokens_out(row),
        token_ids=unpacker.unpack_ids(row["token_ids"]),
        logprobs=None if row["logprobs"] is None else logprobs_out(unpacker.unpack(row["logprobs"])),
        prompt_token_ids=unpacker.unpack_ids(row["prompt_token_ids"]),
        forced=None if row["forced_from"] is None else (row["forced_from"], row["forced_to"]),
        latency_s=row["latency_s"],
        created_at=time_out(row["created_at"]),
    )


def write_candidate(run: int, candidate: Candidate, packer: Packer) -> Row:
    """The row of a candidate; the source is found by the start of its hash."""
    row = place_in(run, candidate.key)
    digest = bytes.fromhex(candidate.source_hash)
    packer.keep(text_in(candidate.source), digest)
    row.update(
        source_hash=digest,
        parents=keys_in(candidate.parents),
        created_at=time_in(candidate.created_at, f"candidate {candidate.key}: created_at"),
        warm_start=None if candidate.warm_start is None else key_in(candidate.warm_start),
        form=_hash_in(candidate.form),
    )
    return row


def read_candidate(row: Mapping[str, Any], unpacker: Unpacker) -> Candidate:
    """The inverse of :func:`write_candidate`."""
    return Candidate(
        key=place_out(row),
        source=text_out(unpacker.content(row["source_hash"][:KEY_BYTES])),
        parents=keys_out(row["parents"]),
        created_at=time_out(row["created_at"]),
        warm_start=optional_key_out(row["warm_start"]),
        form=_hash_out(row["form"]),
    )


def write_evaluation(run: int, evaluation: Evaluation, packer: Packer) -> Row:
    """The row of an evaluation."""
    what = f"evaluation of {evaluation.key}"
    score, failure, durations = evaluation.score, evaluation.failure, evaluation.durations
    row = place_in(run, evaluation.key)
    row.update(
        purpose=_PURPOSES[evaluation.purpose],
        attempt=evaluation.attempt,
        state=_EVALUATION_STATES[evaluation.state],
        score=number_in(score.value, f"{what}: score") if score else None,
        failure=failure.kind.value if failure else None,
        message=text_in(failure.message) if failure else None,
        duplicate_of=None if evaluation.duplicate_of is None else key_in(evaluation.duplicate_of),
        started_at=time_in(evaluation.started_at, f"{what}: started_at"),
        finished_at=None
        if evaluation.finished_at is None
        else time_in(evaluation.finished_at, f"{what}: finished_at"),
        wall_s=number_in(durations.wall_s, f"{what}: wall_s") if durations else None,
        sandbox_s=number_in(durations.sandbox_s, f"{what}: sandbox_s") if durations else None,
        sandbox_cpu_s=number_in(durations.sandbox_cpu_s, f"{what}: sandbox_cpu_s") if durations else None,
        context=None,
        result=None,
        solution=_hash_in(evaluation.solution),
        source_read=evaluation.source_read,
    )
    if evaluation.sandbox is not None or evaluation.scorer_version is not None:
        row["context"] = packer.pack(json_in([evaluation.sandbox, evaluation.scorer_version], what))
    result = _result(evaluation)
    if result:
        row["result"] = packer.pack(json_in(result, what))
    return row


def _result(evaluation: Evaluation) -> dict[str, Json]:
    score, failure = evaluation.score, evaluation.failure
    parts: dict[str, Json] = {}
    if score:
        parts["metrics"] = dict(score.metrics) or None
        parts["private"] = dict(score.private) or None
        parts["feedback"] = score.feedback
        parts["artifact"] = score.artifact
        parts["samples"] = list(score.samples) or None
        parts["interval"] = None if score.interval is None else list(score.interval)
        parts["exact"] = score.exact
    if failure:
        parts["detail"] = failure.detail
    parts["output"] = evaluation.output
    # Not beside the sandbox in ``context``, which is one content for a whole run.
    parts["suspicion"] = evaluation.suspicion
    return {name: part for name, part in parts.items() if part is not None}


def read_evaluation(row: Mapping[str, Any], unpacker: Unpacker) -> Evaluation:
    """The inverse of :func:`write_evaluation`."""
    result = json_out(unpacker.unpack(row["result"])) if row["result"] is not None else {}
    sandbox, scorer = (
        json_out(unpacker.unpack(row["context"])) if row["context"] is not None else (None, None)
    )
    score = failure = durations = None
    if row["state"] == models.SCORED:
        score = Score(
            value=row["score"],
            metrics=result.get("metrics", {}),
            private=result.get("private", {}),
            feedback=result.get("feedback"),
            artifact=result.get("artifact"),
            samples=tuple(result.get("samples", ())),
            interval=_interval(result.get("interval")),
            exact=result.get("exact"),
        )
    elif row["state"] == models.FAILED:
        failure = Failure(
            kind=FailureKind(row["failure"]),
            message=text_out(row["message"]),
            detail=result.get("detail"),
        )
    if row["wall_s"] is not None:
        durations = Durations(
            wall_s=row["wall_s"], sandbox_s=row["sandbox_s"], sandbox_cpu_s=row["sandbox_cpu_s"]
        )
    return Evaluation(
        key=place_out(row),
        purpose=_PURPOSES_OUT[row["purpose"]],
        attempt=row["attempt"],
        state=_EVALUATION_STATES_OUT[row["state"]],
        score=score,
        failure=failure,
        duplicate_of=optional_key_out(row["duplicate_of"]),
        durations=durations,
        output=result.get("output"),
        suspicion=result.get("suspicion"),
        sandbox=sandbox,
        scorer_version=scorer,
        solution=_hash_out(row["solution"]),
        source_read=bool(row["source_read"]),
        started_at=time_out(row["started_at"]),
        finished_at=None if row["finished_at"] is None else time_out(row["finished_at"]),
    )


def _hash_in(digest: str | None) -> bytes | None:
    return None if digest is None else bytes.fromhex(digest)


def _hash_out(cell: bytes | None) -> str | None:
    return None if cell is None else cell.hex()


def _interval(ends: list[float] | None) -> tuple[float, float] | None:
    return None if ends is None else (ends[0], ends[1])

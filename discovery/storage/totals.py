"""Totals of a run, made by the database, each in one read transaction of the caller's.

Search evaluations of generated candidates are those of purpose 0 on chains from 0 up; the initial candidate sits on
the shared chain, below them. A candidate whose second scoring disagreed, or is still to come, does not count as scored.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from discovery.records import (
    SHARED_CHAIN,
    CandidateKey,
    Direction,
    Failure,
    FailureKind,
    ModelIdentity,
    Purpose,
    TokenUsage,
    initial_key,
)
from discovery.storage import candidate_rows, contents, rows
from discovery.storage.base import ChainSummary, RunCounts
from discovery.storage.models import (
    COMMITTED,
    FAILED,
    RUNNING,
    SCORED,
    SEARCH,
    VERIFY,
    candidates,
    completions,
    consultations,
    evaluations,
    steps,
)
from discovery.storage.reading import evaluation_records

_DISAGREEMENT = FailureKind.DISAGREEMENT.value


def _uncounted(connection: Connection, run: int) -> set[CandidateKey]:
    """Candidates that do not count as scored: their second scoring disagreed, or they are in doubt without one."""
    open_steps = connection.execute(
        sa.select(steps.c.chain, steps.c.step).where(steps.c.run == run, steps.c.state != COMMITTED)
    ).all()
    uncounted = set(_disagreeing(connection, run))
    if open_steps:  # no step is committed before what is in doubt in it was scored again
        found = sa.select(evaluations).where(
            evaluations.c.run == run,
            sa.tuple_(evaluations.c.chain, evaluations.c.step).in_([tuple(row) for row in open_steps]),
            evaluations.c.purpose.in_((SEARCH, VERIFY)),
            evaluations.c.score.is_not(None),
        )
        stored = evaluation_records(connection, found)
        confirmed = {e.key for e in stored if e.purpose is Purpose.VERIFY}
        uncounted |= {e.key for e in stored if e.suspicion is not None} - confirmed
    return uncounted


def _is_of(keys: Iterable[CandidateKey]) -> sa.ColumnElement[bool]:
    """Evaluations of some candidates."""
    # Few or none: as a list they cost nothing, as a correlated subquery one look-up per evaluation.
    places = [(key.chain, key.step, key.index) for key in keys]
    place = sa.tuple_(evaluations.c.chain, evaluations.c.step, evaluations.c.idx)
    return place.in_(places) if places else sa.false()


def _disagreeing(connection: Connection, run: int) -> dict[CandidateKey, int]:
    """Candidates whose latest finished verification disagreed, with its attempt."""
    found = (
        sa.select(
            evaluations.c.chain,
            evaluations.c.step,
            evaluations.c.idx,
            evaluations.c.attempt,
            evaluations.c.failure,
        )
        .where(evaluations.c.run == run, evaluations.c.purpose == VERIFY, evaluations.c.state != RUNNING)
        .order_by(evaluations.c.attempt)
    )
    latest = {
        CandidateKey(chain, step, index): (attempt, failure)
        for chain, step, index, attempt, failure in connection.execute(found)
    }
    return {key: attempt for key, (attempt, failure) in latest.items() if failure == _DISAGREEMENT}


def disagreements(connection: Connection, run: int) -> dict[CandidateKey, Failure]:
    """Candidates whose latest finished verification disagreed, with the failure."""
    attempts = _disagreeing(connection, run)
    found = (
        sa.select(evaluations)
        .where(
            evaluations.c.run == run,
            evaluations.c.purpose == VERIFY,
            evaluations.c.failure == _DISAGREEMENT,
        )
        .order_by(evaluations.c.chain, evaluations.c.step, evaluations.c.idx)
    )
    stored = evaluation_records(connection, found) if attempts else []
    return {e.key: e.failure for e in stored if attempts.get(e.key) == e.attempt and e.failure is not None}


def _searched(run: int) -> sa.ColumnElement[bool]:
    """Finished search evaluations of generated candidates."""
    return sa.and_(
        evaluations.c.run == run,
        evaluations.c.chain >= 0,
        evaluations.c.purpose == SEARCH,
        evaluations.c.state != RUNNING,
    )


def counts(connection: Connection, run: int) -> RunCounts:
    """Totals over a run."""
    disagreed = _is_of(_disagreeing(connection, run))
    by_failure = connection.execute(
        sa.select(evaluations.c.state, evaluations.c.failure, sa.func.count())
        .where(_searched(run), ~disagreed)
        .group_by(evaluations.c.state, evaluations.c.failure)
        .order_by(evaluations.c.failure)
    ).all()
    refuted = connection.execute(
        sa.select(sa.func.count()).select_from(evaluations).where(_searched(run), disagreed)
    ).scalar_one()
    failures = {kind: number for state, kind, number in by_failure if state == FAILED}
    if refuted:
        failures[_DISAGREEMENT] = refuted
    sources = (
        sa.select(candidates.c.source_hash)
        .where(candidates.c.run == run, candidates.c.chain >= 0)
        .distinct()
        .subquery()
    )
    spoken = connection.execute(
        sa.select(
            sa.func.count(),
            *_token_sums(completions),
        ).where(completions.c.run == run, completions.c.chain >= 0)
    ).one()
    asked = connection.execute(
        sa.select(sa.func.count(), *_token_sums(consultations), sa.func.count(consultations.c.failure)).where(
            consultations.c.run == run
        )
    ).one()
    duplicates = connection.execute(
        sa.select(sa.func.count())
        .select_from(evaluations)
        .where(_searched(run), evaluations.c.duplicate_of.is_not(None))
    ).scalar_one()
    return RunCounts(
        evaluations=sum(number for _, _, number in by_failure) + refuted,
        distinct_candidates=connection.execute(sa.select(sa.func.count()).select_from(sources)).scalar_one(),
        completions=spoken[0],
        failures=failures,
        prompt_tokens=int(spoken[1]) + int(asked[1]),
        completion_tokens=int(spoken[2]) + int(asked[2]),
        cached_tokens=int(spoken[3]) + int(asked[3]),
        consultations=asked[0],
        consultation_tokens=int(asked[1]) + int(asked[2]),
        consultations_in_vain=asked[4],
        duplicates=duplicates,
        repeats=_repeats(connection, run),
    )


def _repeats(connection: Connection, run: int) -> int:
    """Programs with a result of their own whose solution and score another one of their chain had before."""
    known = (
        sa.select(sa.func.count().label("number"))
        .where(_searched(run), evaluations.c.duplicate_of.is_(None), evaluations.c.solution.is_not(None))
        .group_by(evaluations.c.chain, evaluations.c.solution, evaluations.c.score)
        .subquery()
    )
    return int(
        connection.execute(sa.select(sa.func.coalesce(sa.func.sum(known.c.number - 1), 0))).scalar_one()
    )


def _token_sums(table: sa.Table) -> list[sa.ColumnElement[int]]:
    """Sums of the tokens of prompts and of answers, and of those that lay in a cache."""
    names = ("prompt_tokens", "completion_tokens", "cached_tokens")
    return [sa.func.coalesce(sa.func.sum(table.c[name]), 0) for name in names]


def chain_summaries(connection: Connection, run: int, direction: Direction) -> list[ChainSummary]:
    """Where each chain stands.

    Of equally good candidates the earlier one is the best; one whose second scoring disagreed, or is still to
    come, does not count as scored.
    """
    committed = connection.execute(
        sa.select(steps.c.chain, sa.func.sum(steps.c.state))
        .where(steps.c.run == run, steps.c.chain >= 0)
        .group_by(steps.c.chain)
        .order_by(steps.c.chain)
    ).all()
    finished = (
        sa.select(evaluations.c.chain, sa.func.count().label("number"))
        .where(_searched(run))
        .group_by(evaluations.c.chain)
    )
    numbers = {row.chain: row.number for row in connection.execute(finished)}
    best = {row.chain: row for row in connection.execute(_best(connection, run, direction))}
    starts = connection.execute(
        sa.select(evaluations.c.idx, evaluations.c.score)
        .where(evaluations.c.run == run, evaluations.c.chain == SHARED_CHAIN, evaluations.c.step == 0)
        .where(evaluations.c.purpose == SEARCH, evaluations.c.state == SCORED)
        .order_by(evaluations.c.attempt)
    )
    # Attempts come in order: a later one replaces the earlier.
    initials = {row.idx: row.score for row in starts}
    summaries = []
    for chain, number in committed:
        first = chain % (max(initials, default=0) + 1)
        score = initials.get(first)
        key = None if score is None else initial_key(first)
        own = best.get(chain)
        if own is not None and direction.better(own.score, score):
            key, score = CandidateKey(chain, own.step, own.idx), own.score
        summaries.append(
            ChainSummary(
                chain=chain,
                steps=int(number),
                evaluations=numbers.get(chain, 0),
                best=key,
                best_score=score,
            )
        )
    return summaries


def _best(connection: Connection, run: int, direction: Direction) -> sa.Select[Any]:
    """The best scored candidate of each chain."""
    score = evaluations.c.score
    # Joining the extremes with their evaluations would be the other way; without statistics of a young table,
    # PostgreSQL does that in quadratic time.
    rank = sa.func.row_number().over(
        partition_by=evaluations.c.chain,
        order_by=(
            score.desc() if direction is Direction.MAXIMIZE else score,
            evaluations.c.step,
            evaluations.c.idx,
        ),
    )
    ranked = (
        sa.select(evaluations.c.chain, evaluations.c.step, evaluations.c.idx, score, rank.label("rank"))
        .where(_searched(run), score.is_not(None), ~_is_of(_uncounted(connection, run)))
        .subquery()
    )
    return sa.select(ranked).where(ranked.c.rank == 1)


def speakers(connection: Connection, run: int) -> dict[ModelIdentity, int]:
    """How many completions each model wrote."""
    found = connection.execute(
        sa.select(completions.c.model, sa.func.count().label("number"))
        .where(completions.c.run == run)
        .group_by(completions.c.model)
    ).all()
    unpacker = contents.load(connection, rows.references({"model": row.model} for row in found))
    return {candidate_rows.read_model(row.model, unpacker): int(row.number) for row in found}


def tokens_by_model(connection: Connection, run: int) -> dict[ModelIdentity, TokenUsage]:
    """What each model's completions and consultations took."""
    sums: dict[ModelIdentity, TokenUsage] = {}
    for table in (completions, consultations):
        found = connection.execute(
            sa.select(table.c.model, *_token_sums(table))
            .where(table.c.run == run, table.c.model.is_not(None))
            .group_by(table.c.model)
        ).all()
        unpacker = contents.load(connection, rows.references({"model": row.model} for row in found))
        for cell, *more in found:
            model = candidate_rows.read_model(cell, unpacker)
            before = sums.get(model, TokenUsage(prompt=0, completion=0, cached=0))
            known = (before.prompt or 0, before.completion or 0, before.cached or 0)
            prompt, completion, cached = (a + int(b) for a, b in zip(known, more, strict=True))
            sums[model] = TokenUsage(prompt=prompt, completion=completion, cached=cached)
    return sums


def scores(connection: Connection, run: int) -> list[tuple[CandidateKey, float | None]]:
    """Scores in the order their evaluations finished, the initial candidate's included."""
    table = evaluations
    uncounted = _uncounted(connection, run)
    found = (
        sa.select(table.c.chain, table.c.step, table.c.idx, table.c.score)
        .where(table.c.run == run, table.c.purpose == SEARCH, table.c.state != RUNNING)
        .order_by(table.c.finished_at, table.c.chain, table.c.step, table.c.idx)
    )
    places = ((CandidateKey(*place), score) for *place, score in connection.execute(found))
    return [(key, None if key in uncounted else score) for key, score in places]

"""Reading records back, each function in one read transaction of the caller's.

Where several attempts of one evaluation are stored, the latest counts as its result. Totals are in ``totals``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from discovery.outcomes import makers, numbers
from discovery.records import (
    Announcement,
    Candidate,
    CandidateKey,
    CommittedStep,
    Evaluation,
    FailureKind,
    Measurement,
    Outcome,
    SandboxRecord,
)
from discovery.storage import candidate_rows, contents, rows
from discovery.storage.base import StoredStep
from discovery.storage.codec import json_out, key_in, key_out, keys_out, text_out
from discovery.storage.models import (
    COMMITTED,
    RUNNING,
    SCORED,
    SEARCH,
    VERIFY,
    announcements,
    candidates,
    completions,
    evaluations,
    measurements,
    prompts,
    sandboxes,
    steps,
)

_PAGE = 512
_RESULTS = 64
"""What scorers say may be megabytes each; so many are in memory at once."""
_MOST_OPEN = 16
"""More steps of a chain than ever are open at once."""

_RUN: sa.BindParameter[int] = sa.bindparam("run")
_CHAIN: sa.BindParameter[int] = sa.bindparam("chain")

_STEP_PAGE = (
    sa.select(steps.c.step, steps.c.parents, steps.c.committed)
    .where(
        steps.c.run == _RUN,
        steps.c.chain == _CHAIN,
        steps.c.step > sa.bindparam("after"),
        steps.c.state == COMMITTED,
    )
    .order_by(steps.c.step)
    .limit(_PAGE)
)
_FIRST: sa.BindParameter[int] = sa.bindparam("first")
_LAST: sa.BindParameter[int] = sa.bindparam("last")
# Two ranges of primary keys, not a join: PostgreSQL joins young tables, which have no statistics, badly.
_OUTCOMES = (
    sa.select(
        evaluations.c.step,
        evaluations.c.idx,
        evaluations.c.score,
        evaluations.c.failure,
        evaluations.c.message,
        evaluations.c.duplicate_of,
        evaluations.c.solution,
        evaluations.c.source_read,
    )
    .where(
        evaluations.c.run == _RUN,
        evaluations.c.chain == _CHAIN,
        evaluations.c.step.between(_FIRST, _LAST),
        evaluations.c.purpose == SEARCH,
        evaluations.c.state != RUNNING,
    )
    .order_by(evaluations.c.step, evaluations.c.idx, evaluations.c.attempt)
)
_RESULT_CELLS = (
    sa.select(evaluations.c.step, evaluations.c.idx, evaluations.c.result)
    .where(
        evaluations.c.run == _RUN,
        evaluations.c.chain == _CHAIN,
        evaluations.c.step.between(_FIRST, _LAST),
        evaluations.c.purpose == SEARCH,
        evaluations.c.state != RUNNING,
    )
    .order_by(evaluations.c.step, evaluations.c.idx, evaluations.c.attempt)
)
_TOKENS = sa.select(completions.c.step, completions.c.idx, completions.c.completion_tokens).where(
    completions.c.run == _RUN,
    completions.c.chain == _CHAIN,
    completions.c.step.between(_FIRST, _LAST),
    completions.c.completion_tokens.is_not(None),
)
_SELECTIONS = sa.select(steps.c.step, steps.c.selection).where(
    steps.c.run == _RUN, steps.c.chain == _CHAIN, steps.c.step.between(_FIRST, _LAST)
)
_SOURCES = sa.select(candidates.c.step, candidates.c.idx, candidates.c.source_hash, candidates.c.form).where(
    candidates.c.run == _RUN,
    candidates.c.chain == _CHAIN,
    candidates.c.step.between(_FIRST, _LAST),
)


def committed_page(
    connection: Connection,
    run: int,
    chain: int,
    after: int,
    metrics: Sequence[str] = (),
    spending: bool = False,
) -> list[CommittedStep]:
    """The next committed steps after a step, at most a page of them; empty at the end."""
    page = connection.execute(_STEP_PAGE, {"run": run, "chain": chain, "after": after}).all()
    if not page:
        return []
    span = {"run": run, "chain": chain, "first": page[0].step, "last": page[-1].step}
    programs: dict[tuple[int, int], tuple[bytes, bytes | None]] = {
        (step, index): (source, form) for step, index, source, form in connection.execute(_SOURCES, span)
    }
    told = _metrics(connection, span, metrics) if metrics else {}
    made_by = _made_by(connection, span) if spending else {}
    took = {(step, index): n for step, index, n in connection.execute(_TOKENS, span)} if spending else {}
    outcomes: dict[int, dict[int, Outcome]] = {}
    for step, index, score, failure, message, duplicate, solution, was_read in connection.execute(
        _OUTCOMES, span
    ):
        program = programs.get((step, index))
        # Attempts come in order: a later one replaces the earlier.
        outcomes.setdefault(step, {})[index] = Outcome(
            key=CandidateKey(chain, step, index),
            program_hash=None if program is None else _program_hash(*program, was_read),
            score=score,
            failure=None if failure is None else FailureKind(failure),
            message=None if message is None else text_out(message),
            duplicate_of=None if duplicate is None else key_out(duplicate),
            metrics=told.get((step, index), {}) if score is not None else {},
            generator=made_by.get((step, index)),
            tokens=took.get((step, index)),
            solution=None if solution is None else solution.hex(),
        )
    return [
        CommittedStep(
            chain=chain,
            step=step,
            parents=keys_out(parents),
            outcomes=tuple(outcomes.get(step, {}).values()),
            committed=None if committed is None else key_out(committed),
        )
        for step, parents, committed in page
    ]


def _program_hash(source: bytes, form: bytes | None, source_read: bool | None) -> str:
    return (source if form is None or source_read else form).hex()


def _metrics(
    connection: Connection, span: Mapping[str, int], names: Sequence[str]
) -> dict[tuple[int, int], dict[str, float]]:
    """Those of some metrics that are numbers, by step and index: of the latest attempt, which comes last."""
    told: dict[tuple[int, int], dict[str, float]] = {}
    found = connection.execute(_RESULT_CELLS, span).all()
    for start in range(0, len(found), _RESULTS):
        part = found[start : start + _RESULTS]
        unpacker = contents.load(connection, rows.references({"result": row.result} for row in part))
        for step, index, cell in part:
            result = json_out(unpacker.unpack(cell)) if cell is not None else {}
            told[step, index] = numbers(result.get("metrics", {}), names)
    return told


def _made_by(connection: Connection, span: Mapping[str, int]) -> dict[tuple[int, int], str]:
    """Which member of a mixture made which completion, by step and index."""
    found = connection.execute(_SELECTIONS, span).all()
    unpacker = contents.load(connection, rows.references({"selection": row.selection} for row in found))
    made_by: dict[tuple[int, int], str] = {}
    for step, cell in found:
        selection = unpacker.unpack(cell)
        members = makers(json_out(selection)) if selection else {}
        made_by |= {(step, index): name for index, name in members.items()}
    return made_by


def open_steps(connection: Connection, run: int, chain: int) -> list[int]:
    """Numbers of the chain's planned steps in order. Walks back from its last step to the last committed one."""
    last = connection.execute(
        sa.select(steps.c.step, steps.c.state)
        .where(steps.c.run == run, steps.c.chain == chain)
        .order_by(steps.c.step.desc())
        .limit(_MOST_OPEN)
    )
    return sorted(int(row.step) for row in takewhile(lambda row: row.state != COMMITTED, last))


def stored_step(connection: Connection, run: int, chain: int, number: int) -> StoredStep | None:
    """Everything stored of a step, or None."""

    def at(table: sa.Table, *order: sa.ColumnElement[Any]) -> list[Mapping[str, Any]]:
        found = sa.select(table).where(table.c.run == run, table.c.chain == chain, table.c.step == number)
        return [dict(row) for row in connection.execute(found.order_by(*order)).mappings()]

    step_rows = at(steps)
    if not step_rows:
        return None
    prompt_rows = at(prompts)
    completion_rows = at(completions, completions.c.idx)
    found_candidates = at(candidates, candidates.c.idx)
    evaluation_rows = [
        row for row in at(evaluations, evaluations.c.idx, evaluations.c.attempt) if row["purpose"] == SEARCH
    ]
    everything = [*step_rows, *prompt_rows, *completion_rows, *found_candidates, *evaluation_rows]
    unpacker = contents.load(connection, rows.references(everything))
    return StoredStep(
        step=rows.read_step(step_rows[0], unpacker),
        prompt=rows.read_prompt(prompt_rows[0], unpacker) if prompt_rows else None,
        completions={row["idx"]: candidate_rows.read_completion(row, unpacker) for row in completion_rows},
        candidates={row["idx"]: candidate_rows.read_candidate(row, unpacker) for row in found_candidates},
        evaluations={row["idx"]: candidate_rows.read_evaluation(row, unpacker) for row in evaluation_rows},
    )


def at_key(table: sa.Table, run: int, key: CandidateKey) -> sa.ColumnElement[bool]:
    """Rows of a table at a candidate's place."""
    return sa.and_(
        table.c.run == run,
        table.c.chain == key.chain,
        table.c.step == key.step,
        table.c.idx == key.index,
    )


def candidate(connection: Connection, run: int, key: CandidateKey) -> Candidate | None:
    """One candidate with its source, or None."""
    found = sa.select(candidates).where(at_key(candidates, run, key))
    row = connection.execute(found).mappings().first()
    if row is None:
        return None
    stored = dict(row)
    return candidate_rows.read_candidate(stored, contents.load(connection, rows.references([stored])))


def evaluations_of(connection: Connection, run: int, key: CandidateKey) -> list[Evaluation]:
    """All evaluations of a candidate, searches first, by attempt."""
    found = (
        sa.select(evaluations)
        .where(at_key(evaluations, run, key))
        .order_by(evaluations.c.purpose, evaluations.c.attempt)
    )
    return evaluation_records(connection, found)


def find_source(
    connection: Connection,
    run: int,
    digest: bytes,
    warm_start: CandidateKey | None,
    form: bytes | None = None,
) -> Evaluation | None:
    """What holds for a program with a warm start, too: the first by place of its source, else of its form; or None."""
    found = _original(connection, run, candidates.c.source_hash == digest, warm_start)
    if found is None and form is not None:
        # What a failure says may name a line, and what a scorer reads of the source is of that one.
        holds = (evaluations.c.state == SCORED, evaluations.c.source_read.is_not(sa.true()))
        found = _original(connection, run, candidates.c.form == form, warm_start, *holds)
    return found


def _original(
    connection: Connection,
    run: int,
    is_equal: sa.ColumnElement[bool],
    warm_start: CandidateKey | None,
    *holds: sa.ColumnElement[bool],
) -> Evaluation | None:
    # Not a join with an order and a limit, which makes SQLite walk all evaluations in that order.
    places = sa.select(candidates.c.chain, candidates.c.step, candidates.c.idx).where(
        candidates.c.run == run,
        is_equal,
        candidates.c.warm_start.is_(None)
        if warm_start is None
        else candidates.c.warm_start == key_in(warm_start),
    )
    place = sa.tuple_(evaluations.c.chain, evaluations.c.step, evaluations.c.idx)
    originals = connection.execute(
        sa.select(evaluations.c.chain, evaluations.c.step, evaluations.c.idx, evaluations.c.attempt).where(
            evaluations.c.run == run,
            place.in_(places),
            evaluations.c.purpose == SEARCH,
            evaluations.c.state != RUNNING,
            evaluations.c.duplicate_of.is_(None),
            *holds,
        )
    ).all()
    if not originals:
        return None
    chain, step, index, attempt = min(originals, key=lambda row: (*row[:3], -row.attempt))
    found = sa.select(evaluations).where(
        at_key(evaluations, run, CandidateKey(chain, step, index)),
        evaluations.c.purpose == SEARCH,
        evaluations.c.attempt == attempt,
    )
    return evaluation_records(connection, found)[0]


def evaluation_records(connection: Connection, found: sa.Select[Any]) -> list[Evaluation]:
    """The evaluations that a selection of whole rows finds."""
    stored = [dict(row) for row in connection.execute(found).mappings()]
    unpacker = contents.load(connection, rows.references(stored))
    return [candidate_rows.read_evaluation(row, unpacker) for row in stored]


def verifications(connection: Connection, run: int) -> list[Evaluation]:
    """Finished evaluations of purpose VERIFY, by place, then by attempt."""
    found = (
        sa.select(evaluations)
        .where(evaluations.c.run == run, evaluations.c.purpose == VERIFY, evaluations.c.state != RUNNING)
        .order_by(evaluations.c.chain, evaluations.c.step, evaluations.c.idx, evaluations.c.attempt)
    )
    return evaluation_records(connection, found)


def announced(connection: Connection, run: int) -> list[Announcement]:
    """Announcements in order; at one instant the one with fewer evaluations before it came first."""
    table = announcements
    found = (
        sa.select(table)
        .where(table.c.run == run)
        .order_by(table.c.announced_at, table.c.evaluations, table.c.chain, table.c.step, table.c.idx)
    )
    return [rows.read_announcement(dict(row)) for row in connection.execute(found).mappings()]


def measured(connection: Connection, run: int) -> list[Measurement]:
    """Measurements in the order of time."""
    found = sa.select(measurements).where(measurements.c.run == run).order_by(measurements.c.at)
    return [rows.read_measurement(dict(row)) for row in connection.execute(found).mappings()]


def sandbox(connection: Connection, record_id: str) -> SandboxRecord | None:
    """A record of verified properties, or None."""
    found = sa.select(sandboxes).where(sandboxes.c.id == record_id)
    row = connection.execute(found).mappings().first()
    return None if row is None else rows.read_sandbox(dict(row))

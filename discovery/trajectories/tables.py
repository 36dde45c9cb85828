"""The schema of our own Parquet: which file holds which records, in which columns.

One file for each kind of record, one row for each record, in the words of :mod:`discovery.records`; a prompt is in its
step's row. All but leases is there: every attempt and purpose of evaluation, planned steps, running evaluations. Rows
are ordered by run and place. :data:`SCHEMA` counts versions: it grows with any change that an older reader would
misread.

Nothing here knows Parquet: :mod:`discovery.trajectories.parquet` does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from discovery.errors import DataError
from discovery.records import (
    Announcement,
    Direction,
    Measurement,
    Prompt,
    RunStatus,
    SandboxRecord,
    Step,
    StepState,
)
from discovery.storage.base import ARRIVED_AT, RunRecord, Snapshot
from discovery.trajectories.advice_table import CONSULTATIONS
from discovery.trajectories.attempt_tables import CANDIDATES, COMPLETIONS, EVALUATIONS
from discovery.trajectories.cells import Cell
from discovery.trajectories.columns import PLACE, Column, Row, Table, key_of, mapping

SCHEMA = 4
"""Version of the schema."""
OLDEST = 1
"""The oldest version that is read: it lacks the files and columns that came later."""

_ID = re.compile(r"\w[\w.-]*")
_PROBLEM = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A step and its prompt; None where the process ended between the two writes."""

    step: Step
    prompt: Prompt | None


# Runs


def _run(row: Row) -> RunRecord:
    record = RunRecord(
        **{
            **row,
            "direction": Direction(row["direction"]),
            "status": RunStatus(row["status"]),
            "config": mapping(row, "config"),
            "facts": mapping(row, "facts"),
        }
    )
    if _ID.fullmatch(record.id) is None:  # it names files and folders
        raise ValueError(f"there is no run of id {record.id!r}")
    if _PROBLEM.fullmatch(record.problem) is None:
        raise ValueError(f"there is no problem of name {record.problem!r}")
    if record.wall_s < 0:
        raise ValueError(f"run {record.id} has taken {record.wall_s} s")
    if ARRIVED_AT in record.facts:
        raise ValueError(f"run {record.id} says itself when it came here")
    return record


RUNS = Table(
    name="runs",
    columns=(
        Column("id", Cell.NAME, lambda r: r.id),
        Column("problem", Cell.NAME, lambda r: r.problem),
        Column("problem_path", Cell.TEXT, lambda r: r.problem_path),
        Column("problem_version", Cell.NAME, lambda r: r.problem_version),
        Column("direction", Cell.NAME, lambda r: r.direction.value),
        Column("config", Cell.JSON, lambda r: dict(r.config)),
        Column("status", Cell.NAME, lambda r: r.status.value),
        Column("created_at", Cell.INSTANT, lambda r: r.created_at),
        Column("finished_at", Cell.INSTANT, lambda r: r.finished_at, optional=True),
        Column("wall_s", Cell.NUMBER, lambda r: r.wall_s),
        Column("message", Cell.TEXT, lambda r: r.message, optional=True),
        Column("facts", Cell.JSON, lambda r: {k: v for k, v in r.facts.items() if k != ARRIVED_AT}),
    ),
    build=_run,
    place=lambda r: r.id,
    stored=None,
)


# Steps with their prompts


def _planned(snapshot: Snapshot) -> Iterator[Planned]:
    prompts = snapshot.records(Prompt)
    prompt = next(prompts, None)
    for step in snapshot.records(Step):
        own = None
        if prompt is not None and (prompt.chain, prompt.step) == (step.chain, step.step):
            own, prompt = prompt, next(prompts, None)
        yield Planned(step=step, prompt=own)
    if prompt is not None:
        raise DataError(f"prompt {prompt.chain}.{prompt.step} of run {snapshot.run.id} is of no step")


def _step(row: Row) -> Planned:
    fields = {name: row[name] for name in row if name not in ("messages", "shown")}
    step = Step(
        **{**fields, "state": StepState(row["state"]), "selection": mapping(row, "selection")},
    )
    if step.chain < 0 or step.step < 1:
        raise ValueError(f"there is no step {step.chain}.{step.step}")
    messages, shown = row["messages"], row["shown"]
    if (messages is None) != (shown is None):
        raise ValueError("it has a prompt without parents, or parents without a prompt")
    if messages is None:
        return Planned(step=step, prompt=None)
    prompt = Prompt(chain=step.chain, step=step.step, messages=messages, parents=shown)
    return Planned(step=step, prompt=prompt)


STEPS = Table(
    name="steps",
    columns=(
        Column("chain", Cell.CHAIN, lambda p: p.step.chain),
        Column("step", Cell.PLACE, lambda p: p.step.step),
        Column("state", Cell.NAME, lambda p: p.step.state.value),
        Column("parents", Cell.KEYS, lambda p: p.step.parents),
        Column("selector", Cell.NAME, lambda p: p.step.selector),
        Column("selection", Cell.JSON, lambda p: dict(p.step.selection)),
        Column("committed", Cell.KEY, lambda p: p.step.committed, optional=True),
        Column("reason", Cell.TEXT, lambda p: p.step.reason, optional=True),
        Column("best_before", Cell.NUMBER, lambda p: p.step.best_before, optional=True),
        Column("best_after", Cell.NUMBER, lambda p: p.step.best_after, optional=True),
        Column("planned_at", Cell.INSTANT, lambda p: p.step.planned_at),
        Column("committed_at", Cell.INSTANT, lambda p: p.step.committed_at, optional=True),
        Column("messages", Cell.MESSAGES, lambda p: p.prompt and p.prompt.messages, optional=True),
        Column("shown", Cell.KEYS, lambda p: p.prompt and p.prompt.parents, optional=True),
    ),
    build=_step,
    place=lambda p: (p.step.chain, p.step.step),
    stored=_planned,
)


# What belongs to a run as a whole, and sandboxes, which belong to none

ANNOUNCEMENTS = Table(
    name="announcements",
    columns=(
        *PLACE,
        Column("score", Cell.NUMBER, lambda a: a.score),
        Column("evaluations", Cell.PLACE, lambda a: a.evaluations),
        Column("announced_at", Cell.INSTANT, lambda a: a.announced_at),
    ),
    build=lambda row: Announcement(
        key=key_of(row), score=row["score"], evaluations=row["evaluations"], announced_at=row["announced_at"]
    ),
    place=lambda a: a.key,
    stored=lambda snapshot: snapshot.records(Announcement),
)


def _measurement(row: Row) -> Measurement:
    values = mapping(row, "values")
    if any(type(value) not in (int, float) for value in values.values()):
        raise ValueError("a measured value is not a number")
    if any(abs(value) > sys.float_info.max for value in values.values()):
        raise ValueError("a measured value is larger than a number of 64 bits")
    return Measurement(at=row["at"], values=values)


MEASUREMENTS = Table(
    name="measurements",
    columns=(
        Column("at", Cell.INSTANT, lambda m: m.at),
        Column("values", Cell.JSON, lambda m: dict(m.values)),
    ),
    build=_measurement,
    place=lambda m: m.at,
    stored=lambda snapshot: snapshot.records(Measurement),
)


def _sandbox(row: Row) -> SandboxRecord:
    properties, details = mapping(row, "properties"), mapping(row, "details")
    if not all(isinstance(value, bool) for value in properties.values()):
        raise ValueError("a property of it neither holds nor does not")
    if not all(isinstance(value, str) for value in details.values()):
        raise ValueError("a detail of it is no text")
    return SandboxRecord(id=row["id"], backend=row["backend"], properties=properties, details=details)


SANDBOXES = Table(
    name="sandboxes",
    columns=(
        Column("id", Cell.NAME, lambda s: s.id),
        Column("backend", Cell.NAME, lambda s: s.backend),
        Column("properties", Cell.JSON, lambda s: dict(s.properties)),
        Column("details", Cell.JSON, lambda s: dict(s.details)),
    ),
    build=_sandbox,
    place=lambda s: s.id,
    stored=None,
)

OF_RUNS = (STEPS, COMPLETIONS, CANDIDATES, EVALUATIONS, CONSULTATIONS, ANNOUNCEMENTS, MEASUREMENTS)
"""Tables whose rows belong to runs, in the order in which they are written."""
TABLES = (RUNS, *OF_RUNS, SANDBOXES)
"""All of them."""


def tables_of(schema: int) -> tuple[Table, ...]:
    """All that a version of the schema has."""
    return tuple(table for table in TABLES if table.since <= schema)

"""Records to rows and back, one pair of functions per table.

A row is a dictionary of the table's columns. Writing collects contents in a ``Packer``; reading is in two
passes, since the contents that some rows refer to are loaded in one query: ``references`` names them, then
the ``read_...`` functions build the records. Completions, candidates and evaluations are in
``candidate_rows``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from discovery.records import (
    Announcement,
    CandidateKey,
    Direction,
    Measurement,
    Message,
    Prompt,
    RunStatus,
    SandboxRecord,
    Step,
    StepState,
)
from discovery.storage import models
from discovery.storage.base import RunRecord
from discovery.storage.codec import (
    KEY_BYTES,
    Packer,
    Unpacker,
    compress,
    decompress,
    json_in,
    json_out,
    key_in,
    keys_in,
    keys_out,
    name_in,
    number_in,
    optional_key_out,
    optional_text_in,
    optional_text_out,
    reference,
    text_in,
    text_out,
    time_in,
    time_out,
)

Row = dict[str, Any]

_STEP_STATES = {StepState.PLANNED: models.PLANNED, StepState.COMMITTED: models.COMMITTED}
_STEP_STATES_OUT = {number: state for state, number in _STEP_STATES.items()}

_PACKED = (
    "selection",
    "text",
    "reasoning",
    "model",
    "sampling",
    "token_ids",
    "logprobs",
    "prompt_token_ids",
    "context",
    "result",
)


def references(rows: Iterable[Mapping[str, Any]]) -> set[bytes]:
    """Names of all contents that rows of any table refer to."""
    names: set[bytes] = set()
    for row in rows:
        for column in _PACKED:
            name = reference(row.get(column))
            if name is not None:
                names.add(name)
        if "source_hash" in row:
            names.add(row["source_hash"][:KEY_BYTES])
        if "messages" in row:
            names.update(bytes.fromhex(name) for _, name in json_out(row["messages"]))
    return names


def place_in(run: int, key: CandidateKey) -> Row:
    """The columns of a key's place."""
    return {"run": run, "chain": key.chain, "step": key.step, "idx": key.index}


def place_out(row: Mapping[str, Any]) -> CandidateKey:
    """The key of a row's place."""
    return CandidateKey(row["chain"], row["step"], row["idx"])


def messages_in(messages: Iterable[Message], packer: Packer) -> bytes:
    """The cell of messages; each is a content of its own, since system messages repeat."""
    return json_in([[m.role, packer.keep(text_in(m.content)).hex()] for m in messages], "messages")


def messages_out(cell: bytes, unpacker: Unpacker) -> tuple[Message, ...]:
    """The inverse of :func:`messages_in`."""
    return tuple(
        Message(role=role, content=text_out(unpacker.content(bytes.fromhex(name))))
        for role, name in json_out(cell)
    )


# Runs


def write_run(run: RunRecord) -> Row:
    """The row of a run, without its integer key."""
    what = f"run {run.id}"
    return {
        "id": name_in(run.id, "the run's id"),
        "problem": name_in(run.problem, f"{what}: problem"),
        "problem_path": text_in(run.problem_path),
        "problem_version": name_in(run.problem_version, f"{what}: problem_version"),
        "direction": run.direction.value,
        "config": json_in(dict(run.config), f"{what}: config"),
        "status": run.status.value,
        "created_at": time_in(run.created_at, f"{what}: created_at"),
        "finished_at": None if run.finished_at is None else time_in(run.finished_at, f"{what}: finished_at"),
        "wall_s": number_in(run.wall_s, f"{what}: wall_s"),
        "message": optional_text_in(run.message),
        "facts": json_in(dict(run.facts), f"{what}: facts"),
    }


def read_run(row: Mapping[str, Any]) -> RunRecord:
    """The inverse of :func:`write_run`."""
    return RunRecord(
        id=row["id"],
        problem=row["problem"],
        problem_path=text_out(row["problem_path"]),
        problem_version=row["problem_version"],
        direction=Direction(row["direction"]),
        config=json_out(row["config"]),
        status=RunStatus(row["status"]),
        created_at=time_out(row["created_at"]),
        finished_at=None if row["finished_at"] is None else time_out(row["finished_at"]),
        wall_s=row["wall_s"],
        message=optional_text_out(row["message"]),
        facts=json_out(row["facts"]),
    )


# Steps and prompts


def write_step(run: int, step: Step, packer: Packer) -> Row:
    """The row of a step."""
    what = f"step {step.chain}.{step.step}"
    return {
        "run": run,
        "chain": step.chain,
        "step": step.step,
        "state": _STEP_STATES[step.state],
        "parents": keys_in(step.parents),
        "selector": name_in(step.selector, f"{what}: selector"),
        "selection": packer.pack(
            json_in(dict(step.selection), f"{what}: selection") if step.selection else b""
        ),
        "committed": None if step.committed is None else key_in(step.committed),
        "reason": optional_text_in(step.reason),
        "best_before": number_in(step.best_before, f"{what}: best_before"),
        "best_after": number_in(step.best_after, f"{what}: best_after"),
        "planned_at": time_in(step.planned_at, f"{what}: planned_at"),
        "committed_at": None
        if step.committed_at is None
        else time_in(step.committed_at, f"{what}: committed_at"),
    }


def read_step(row: Mapping[str, Any], unpacker: Unpacker) -> Step:
    """The inverse of :func:`write_step`."""
    selection = unpacker.unpack(row["selection"])
    return Step(
        chain=row["chain"],
        step=row["step"],
        state=_STEP_STATES_OUT[row["state"]],
        parents=keys_out(row["parents"]),
        selector=row["selector"],
        selection=json_out(selection) if selection else {},
        committed=optional_key_out(row["committed"]),
        reason=optional_text_out(row["reason"]),
        best_before=row["best_before"],
        best_after=row["best_after"],
        planned_at=time_out(row["planned_at"]),
        committed_at=None if row["committed_at"] is None else time_out(row["committed_at"]),
    )


def write_prompt(run: int, prompt: Prompt, packer: Packer) -> Row:
    """The row of a prompt."""
    return {
        "run": run,
        "chain": prompt.chain,
        "step": prompt.step,
        "parents": keys_in(prompt.parents),
        "messages": messages_in(prompt.messages, packer),
    }


def read_prompt(row: Mapping[str, Any], unpacker: Unpacker) -> Prompt:
    """The inverse of :func:`write_prompt`."""
    return Prompt(
        chain=row["chain"],
        step=row["step"],
        messages=messages_out(row["messages"], unpacker),
        parents=keys_out(row["parents"]),
    )


# Sandboxes, announcements and measurements


def write_sandbox(record: SandboxRecord) -> Row:
    """The row of a sandbox record; it belongs to no run."""
    what = f"sandbox {record.id}"
    return {
        "id": name_in(record.id, "the sandbox record's id"),
        "backend": name_in(record.backend, f"{what}: backend"),
        "properties": json_in(dict(record.properties), f"{what}: properties"),
        "details": json_in(dict(record.details), f"{what}: details"),
    }


def read_sandbox(row: Mapping[str, Any]) -> SandboxRecord:
    """The inverse of :func:`write_sandbox`."""
    return SandboxRecord(
        id=row["id"],
        backend=row["backend"],
        properties=json_out(row["properties"]),
        details=json_out(row["details"]),
    )


def write_announcement(run: int, announcement: Announcement) -> Row:
    """The row of an announcement."""
    what = f"announcement of {announcement.key}"
    row = place_in(run, announcement.key)
    row.update(
        score=number_in(announcement.score, f"{what}: score"),
        evaluations=announcement.evaluations,
        announced_at=time_in(announcement.announced_at, f"{what}: announced_at"),
    )
    return row


def read_announcement(row: Mapping[str, Any]) -> Announcement:
    """The inverse of :func:`write_announcement`."""
    return Announcement(
        key=place_out(row),
        score=row["score"],
        evaluations=row["evaluations"],
        announced_at=time_out(row["announced_at"]),
    )


def write_measurement(run: int, measurement: Measurement) -> Row:
    """The row of a measurement; its values are a content of their own kind, for no two are equal."""
    what = f"measurement at {measurement.at.isoformat()}"
    values = {
        name: number_in(value, f"{what}: {name}") if isinstance(value, float) else value
        for name, value in measurement.values.items()
    }
    codec, data = compress(json_in(values, what))
    return {"run": run, "at": time_in(measurement.at, f"{what}: at"), "points": bytes([codec]) + data}


def read_measurement(row: Mapping[str, Any]) -> Measurement:
    """The inverse of :func:`write_measurement`."""
    points = row["points"]
    return Measurement(at=time_out(row["at"]), values=json_out(decompress(points[0], points[1:])))

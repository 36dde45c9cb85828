"""Records to rows and back, one pair of functions per table.

A row is a dictionary of the table's columns. Writing collects contents in a ``Packer``; reading is in two
passes, since the contents that some rows refer to are loaded in one query: ``references`` names them, then
the ``read_...`` functions build the records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from discovery.records import (
    Announcement,
    Candidate,
    CandidateKey,
    Completion,
    Direction,
    Durations,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    Json,
    Message,
    ModelIdentity,
    Prompt,
    Purpose,
    RunStatus,
    SandboxRecord,
    Score,
    Step,
    StepState,
    TokenUsage,
)
from discovery.storage import models
from discovery.storage.base import RunRecord
from discovery.storage.codec import (
    KEY_BYTES,
    Packer,
    Unpacker,
    ids_in,
    ids_out,
    json_in,
    json_out,
    key_in,
    key_out,
    keys_in,
    keys_out,
    logprobs_in,
    logprobs_out,
    name_in,
    number_in,
    reference,
    text_in,
    text_out,
    time_in,
    time_out,
)

Row = dict[str, Any]

_STEP_STATES = {StepState.PLANNED: models.PLANNED, StepState.COMMITTED: models.COMMITTED}
_EVALUATION_STATES = {
    EvaluationState.RUNNING: models.RUNNING,
    EvaluationState.SCORED: models.SCORED,
    EvaluationState.FAILED: models.FAILED,
}
PURPOSES = {Purpose.SEARCH: models.SEARCH, Purpose.VERIFY: models.VERIFY}
_STEP_STATES_OUT = {number: state for state, number in _STEP_STATES.items()}
_EVALUATION_STATES_OUT = {number: state for state, number in _EVALUATION_STATES.items()}
_PURPOSES_OUT = {number: purpose for purpose, number in PURPOSES.items()}

_PACKED = (
    "selection",
    "text",
    "reasoning",
    "model",
    "sampling",
    "token_ids",
    "logprobs",
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


def _place(run: int, key: CandidateKey) -> Row:
    return {"run": run, "chain": key.chain, "step": key.step, "idx": key.index}


def _key(row: Mapping[str, Any]) -> CandidateKey:
    return CandidateKey(row["chain"], row["step"], row["idx"])


def _opt_text(text: str | None) -> bytes | None:
    return None if text is None else text_in(text)


def _opt_text_out(data: bytes | None) -> str | None:
    return None if data is None else text_out(data)


def _opt_key_out(text: str | None) -> CandidateKey | None:
    return None if text is None else key_out(text)


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
        "message": _opt_text(run.message),
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
        message=_opt_text_out(row["message"]),
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
        "reason": _opt_text(step.reason),
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
        committed=_opt_key_out(row["committed"]),
        reason=_opt_text_out(row["reason"]),
        best_before=row["best_before"],
        best_after=row["best_after"],
        planned_at=time_out(row["planned_at"]),
        committed_at=None if row["committed_at"] is None else time_out(row["committed_at"]),
    )


def write_prompt(run: int, prompt: Prompt, packer: Packer) -> Row:
    """The row of a prompt; each message is a content of its own, since system messages repeat."""
    messages = [[m.role, packer.keep(text_in(m.content)).hex()] for m in prompt.messages]
    return {
        "run": run,
        "chain": prompt.chain,
        "step": prompt.step,
        "parents": keys_in(prompt.parents),
        "messages": json_in(messages, "messages"),
    }


def read_prompt(row: Mapping[str, Any], unpacker: Unpacker) -> Prompt:
    """The inverse of :func:`write_prompt`."""
    return Prompt(
        chain=row["chain"],
        step=row["step"],
        messages=tuple(
            Message(role=role, content=text_out(unpacker.content(bytes.fromhex(name))))
            for role, name in json_out(row["messages"])
        ),
        parents=keys_out(row["parents"]),
    )


# Completions and candidates


@lru_cache(maxsize=64)
def _model_in(model: ModelIdentity) -> bytes:
    # A run has one or a few, and each completion repeats it.
    return json_in(asdict(model), "model")


def write_completion(run: int, completion: Completion, packer: Packer) -> Row:
    """The row of a completion."""
    what = f"completion {completion.key}"
    tokens = completion.tokens
    row = _place(run, completion.key)
    row.update(
        prompt_tokens=tokens.prompt if tokens else None,
        completion_tokens=tokens.completion if tokens else None,
        reasoning_tokens=tokens.reasoning if tokens else None,
        cached_tokens=tokens.cached if tokens else None,
        has_tokens=tokens is not None,
        text=packer.pack_text(completion.text),
        reasoning=packer.pack_text(completion.reasoning),
        finish_reason=_opt_text(completion.finish_reason),
        model=packer.pack(_model_in(completion.model)),
        sampling=packer.pack(
            json_in(dict(completion.sampling), f"{what}: sampling") if completion.sampling else b""
        ),
        seed=None if completion.seed is None else str(completion.seed),
        token_ids=None if completion.token_ids is None else packer.pack(ids_in(completion.token_ids)),
        logprobs=None if completion.logprobs is None else packer.pack(logprobs_in(completion.logprobs)),
        latency_s=number_in(completion.latency_s, f"{what}: latency_s"),
        created_at=time_in(completion.created_at, f"{what}: created_at"),
    )
    return row


def read_completion(row: Mapping[str, Any], unpacker: Unpacker) -> Completion:
    """The inverse of :func:`write_completion`."""
    sampling = unpacker.unpack(row["sampling"])
    return Completion(
        key=_key(row),
        text=unpacker.unpack_text(row["text"]),
        reasoning=unpacker.unpack_text(row["reasoning"]),
        finish_reason=_opt_text_out(row["finish_reason"]),
        model=ModelIdentity(**json_out(unpacker.unpack(row["model"]))),
        sampling=json_out(sampling) if sampling else {},
        seed=None if row["seed"] is None else int(row["seed"]),
        tokens=TokenUsage(
            prompt=row["prompt_tokens"],
            completion=row["completion_tokens"],
            reasoning=row["reasoning_tokens"],
            cached=row["cached_tokens"],
        )
        if row["has_tokens"]
        else None,
        token_ids=None if row["token_ids"] is None else ids_out(unpacker.unpack(row["token_ids"])),
        logprobs=None if row["logprobs"] is None else logprobs_out(unpacker.unpack(row["logprobs"])),
        latency_s=row["latency_s"],
        created_at=time_out(row["created_at"]),
    )


def write_candidate(run: int, candidate: Candidate, packer: Packer) -> Row:
    """The row of a candidate; the source is found by the start of its hash."""
    row = _place(run, candidate.key)
    digest = bytes.fromhex(candidate.source_hash)
    packer.keep(text_in(candidate.source), digest)
    row.update(
        source_hash=digest,
        parents=keys_in(candidate.parents),
        created_at=time_in(candidate.created_at, f"candidate {candidate.key}: created_at"),
    )
    return row


def read_candidate(row: Mapping[str, Any], unpacker: Unpacker) -> Candidate:
    """The inverse of :func:`write_candidate`."""
    return Candidate(
        key=_key(row),
        source=text_out(unpacker.content(row["source_hash"][:KEY_BYTES])),
        parents=keys_out(row["parents"]),
        created_at=time_out(row["created_at"]),
    )


# Evaluations


def write_evaluation(run: int, evaluation: Evaluation, packer: Packer) -> Row:
    """The row of an evaluation."""
    what = f"evaluation of {evaluation.key}"
    score, failure, durations = evaluation.score, evaluation.failure, evaluation.durations
    row = _place(run, evaluation.key)
    row.update(
        purpose=PURPOSES[evaluation.purpose],
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
    if failure:
        parts["detail"] = failure.detail
    parts["output"] = evaluation.output
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
        key=_key(row),
        purpose=_PURPOSES_OUT[row["purpose"]],
        attempt=row["attempt"],
        state=_EVALUATION_STATES_OUT[row["state"]],
        score=score,
        failure=failure,
        duplicate_of=_opt_key_out(row["duplicate_of"]),
        durations=durations,
        output=result.get("output"),
        sandbox=sandbox,
        scorer_version=scorer,
        started_at=time_out(row["started_at"]),
        finished_at=None if row["finished_at"] is None else time_out(row["finished_at"]),
    )


# Sandboxes and announcements


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
    row = _place(run, announcement.key)
    row.update(
        score=number_in(announcement.score, f"{what}: score"),
        evaluations=announcement.evaluations,
        announced_at=time_in(announcement.announced_at, f"{what}: announced_at"),
    )
    return row


def read_announcement(row: Mapping[str, Any]) -> Announcement:
    """The inverse of :func:`write_announcement`."""
    return Announcement(
        key=_key(row),
        score=row["score"],
        evaluations=row["evaluations"],
        announced_at=time_out(row["announced_at"]),
    )

"""An audit: a stored run's best candidates, scored again from nothing, long after.

What a run reports was confirmed while it ran, by the same process, on the same machine. An audit asks whether it still
holds: the problem is loaded anew, and each candidate gets a sandbox and a scorer's process that nothing has used. It
changes nothing of the run; its results are kept beside the others with a purpose of their own, unless somebody runs the
run at that moment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from discovery import beginnings
from discovery.agreement import compare, confirmed, is_noisy
from discovery.best import announced_evaluation, best_announced
from discovery.errors import UsageError
from discovery.evaluator import Evaluator
from discovery.outcomes import program_hash
from discovery.owner import describe_owner, is_dead, this_owner
from discovery.problem import Problem
from discovery.records import (
    SHARED_CHAIN,
    Candidate,
    CandidateKey,
    Evaluation,
    Purpose,
    SandboxRecord,
)
from discovery.storage.base import RunRecord, Storage, Write
from discovery.warm import given_to

_LEASE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One candidate that was scored again.

    Args:
        key: The candidate.
        is_best: Whether it is the run's announced best.
        claimed: The evaluation whose score the run reports.
        again: The new one.
        agrees: Whether the new one confirms the claimed one.
        note: Both results in one line, where they differ or where their agreement says little.
    """

    key: CandidateKey
    is_best: bool
    claimed: Evaluation
    again: Evaluation
    agrees: bool
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit found.

    Args:
        run: Run id.
        is_changed: Whether the problem is of another version than the run's: scores may rightly differ then.
        candidates: The best first, the initial ones last.
        not_kept: Why the results were not stored, in one line; None when they were.
    """

    run: str
    is_changed: bool
    candidates: tuple[Audited, ...]
    not_kept: str | None

    @property
    def agrees(self) -> bool:
        """Whether all candidates scored as the run says."""
        return all(audited.agrees for audited in self.candidates)


async def audit(storage: Storage, run: str, evaluator: Evaluator, top: int = 5) -> Audit:
    """Score a run's best different candidates again, its announced best and its initial ones always among them.

    Args:
        storage: Where the run lives.
        run: Its id or a unique prefix.
        evaluator: Started, of the run's problem as it is now.
        top: How many candidates beside the initial ones, at least 1.

    Raises:
        UnknownRun: There is no such run.
        UsageError: ``top`` is less than 1, or nothing of the run has a score.
        SandboxError: A candidate could not be evaluated.
        StorageError: The results could not be stored.
    """
    if top < 1:
        raise UsageError(f"top is {top}; it must be at least 1")
    record = storage.get_run(run)
    claims = _claims(storage, record, top, is_noisy(evaluator.problem))
    if not claims:
        raise UsageError(f"nothing of run {record.id} has a score, so there is nothing to audit")
    best = best_announced(storage.announcements(record.id), record.direction)
    candidates = []
    kept = []
    for candidate, claimed in claims:
        again = await evaluator.rescore(candidate, given_to(storage, record.id, candidate.warm_start))
        agreement = compare(evaluator.problem, claimed, again)
        candidates.append(
            Audited(
                key=candidate.key,
                is_best=best is not None and best.key == candidate.key,
                claimed=claimed,
                again=again,
                agrees=agreement.holds,
                note=agreement.note,
            )
        )
        kept.append(audited_evaluation(evaluator.problem, claimed, again))
    return Audit(
        run=record.id,
        is_changed=evaluator.problem.version != record.problem_version,
        candidates=tuple(candidates),
        not_kept=keep_audits(storage, record.id, evaluator.record, kept),
    )


def claimed_evaluation(storage: Storage, run: str, key: CandidateKey, *, noisy: bool) -> Evaluation | None:
    """The scored evaluation that an audit of a candidate has to confirm, the latest attempt; None where nothing counts.

    Args:
        storage: Where the run lives.
        run: Its id.
        key: The candidate.
        noisy: Whether its scores are. A noisy one was scored again because its first score was high; the second is the
            fair one.
    """
    purposes = (Purpose.VERIFY, Purpose.SEARCH) if noisy else (Purpose.SEARCH,)
    stored = [e for e in reversed(storage.evaluations(run, key)) if e.score is not None]
    return next((e for purpose in purposes for e in stored if e.purpose is purpose), None)


def audited_evaluation(problem: Problem, claimed: Evaluation, again: Evaluation) -> Evaluation:
    """The second scoring as an audit stores it: failed with kind DISAGREEMENT where it does not confirm the first.

    Args:
        problem: Says how much noise is right.
        claimed: The evaluation in question. Why it was once in doubt is its own affair.
        again: The one from nothing.
    """
    return confirmed(problem, dataclasses.replace(claimed, suspicion=None), again)


def keep_audits(
    storage: Storage, run: str, sandbox: SandboxRecord | None, evaluations: Sequence[Evaluation]
) -> str | None:
    """Store results of an audit under the run's own lease, each as the next attempt of its candidate.

    Args:
        storage: Where the run lives.
        run: Its id.
        sandbox: What was verified of the sandbox that they are from.
        evaluations: Of purpose AUDIT, each of another candidate.

    Returns:
        Why they were not stored, in one line: a live process has the run. None when they were.

    Raises:
        StorageError: They could not be stored.
    """
    numbered = []
    for evaluation in evaluations:
        earlier = [e.attempt for e in storage.evaluations(run, evaluation.key) if e.purpose is Purpose.AUDIT]
        numbered.append(dataclasses.replace(evaluation, attempt=max(earlier, default=-1) + 1))
    owner = storage.holder(run)
    dead = [owner] if owner is not None and is_dead(owner) else []
    leases = storage.acquire(run, [SHARED_CHAIN], this_owner(), _LEASE_S, dead=dead)
    if not leases:
        who = describe_owner(owner) if owner else "another process"
        return f"the run is being run by {who}"
    try:
        record = (sandbox,) if sandbox is not None else ()
        storage.append([Write(lease=leases[0], records=(*record, *numbered))])
    finally:
        storage.release(leases)
    return None


def _claims(storage: Storage, record: RunRecord, top: int, noisy: bool) -> list[tuple[Candidate, Evaluation]]:
    """The candidates to audit, each with the evaluation whose score the run reports."""

    def claim(key: CandidateKey) -> Evaluation | None:
        if best is not None and best.key == key:
            return announced_evaluation(storage, run, best)
        return claimed_evaluation(storage, run, key, noisy=noisy)

    run, direction = record.id, record.direction
    best = best_announced(storage.announcements(run), direction)
    scored = [(key, score) for key, score in storage.scores(run) if score is not None]
    # Of equally good ones the earlier first: sorting is stable.
    ranked = [key for key, score in sorted(scored, key=lambda item: -direction.key(item[1]))]
    starts = list(beginnings.stored(storage, run))
    # A program that was given another construction is another evaluation.
    known = {(name, start.warm_start) for start in starts for name in (start.source_hash, start.program_hash)}
    found: dict[tuple[str, CandidateKey | None], tuple[Candidate, Evaluation]] = {}
    for key in ([best.key] if best is not None else []) + ranked:
        if len(found) >= top:
            break
        candidate, claimed = storage.candidate(run, key), claim(key)
        if candidate is None or claimed is None:
            continue
        program = program_hash(candidate.source_hash, candidate.form, claimed.source_read)
        equal = (program, candidate.warm_start)
        if equal not in found and equal not in known:
            found[equal] = (candidate, claimed)
    claims = sorted(found.values(), key=lambda claim: -direction.key(_value(claim[1])))
    started = ((start, claim(start.key)) for start in starts)
    return claims + [(start, claimed) for start, claimed in started if claimed is not None]


def _value(evaluation: Evaluation) -> float:
    assert evaluation.score is not None
    return evaluation.score.value

"""Before anything counts as top it is scored again: the best of a hacked problem is, by construction, a hack.

What the filter would let in is audited, each trajectory by the candidate that it owes its place to: scored from
nothing, with a sandbox and a scorer's process that nothing has used, by the problem as it is now. One that does not
hold is out, whole, for what came after a lie learned from it. Then the percentage is taken anew of those that remain,
and the next ones are looked at, until all that are in hold.

Results are stored as audits. One that is stored already, of the version of the problem that is there now, is taken
instead of another evaluation, the latest where there are several: the same export again evaluates nothing, and
``discovery audit`` gives a candidate another chance that a busy machine has wronged. Those that a run brought along
when it was imported are nobody's proof, and are made again.

Which score must be confirmed, and how exactly, is what an audit says (:mod:`discovery.audit`,
:mod:`discovery.agreement`). So a problem that declares its scores noisy, without repeats, is held to valid ones only.
Of a run that was imported, that would confirm anything: its noisy scores must lie near the interval found here, and
without repeats there is none.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from discovery.agreement import is_noisy, shown
from discovery.audit import audited_evaluation, claimed_evaluation, keep_audits
from discovery.errors import ProblemError, cause
from discovery.evaluator import Evaluator
from discovery.plugins import load_stored
from discovery.problem import Problem
from discovery.records import CandidateKey, Evaluation, Purpose
from discovery.storage.base import RunRecord, Storage
from discovery.trajectories.curate import curated
from discovery.trajectories.records import Filter, Keep, Selection, TrajectoryOutline
from discovery.warm import given_to

Evaluators = Callable[[RunRecord], AbstractAsyncContextManager[Evaluator]]
"""A started evaluator of a run's problem as it is now; asked for only where something has to be evaluated. Runs of one
problem under one configuration of sandboxes share one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuted:
    """A trajectory that is out.

    Args:
        outline: It.
        key: The candidate that did not hold.
        reason: Both results in one line.
    """

    outline: TrajectoryOutline
    key: CandidateKey
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a judge found.

    Args:
        outlines: Those that are not out, in the order given: what the filter keeps of them holds. The others among
            them were not looked at.
        refuted: Those that are out, in the order in which they were found.
        evaluated: Programs that were evaluated.
        known: Candidates whose audit was stored before.
        not_kept: Run id to why its results were not stored, in one line.
    """

    outlines: tuple[TrajectoryOutline, ...]
    refuted: tuple[Refuted, ...]
    evaluated: int
    known: int
    not_kept: dict[str, str]


async def judged(
    storage: Storage, outlines: Iterable[TrajectoryOutline], filter: Filter, evaluators: Evaluators
) -> Judgement:
    """Audit what a filter would let in, and take out what does not hold, until all that it lets in holds.

    With ``step`` each selected attempt is audited, else the best of each selected trajectory.

    Args:
        storage: Where the runs live.
        outlines: Of its runs.
        filter: What :func:`~discovery.trajectories.curate.curated` is to keep.
        evaluators: Makes evaluators.

    Returns:
        The judgement; ``curated(judgement.outlines, filter)`` is the selection that holds.

    Raises:
        ProblemError: The problem of a run is gone, or does not load. One that has changed is taken as it is now: what
            it does not score as the run says is out.
        SandboxError: A candidate could not be evaluated. What was found before is stored.
        StorageError: A result could not be stored.
    """
    standing = {outline.place: outline for outline in outlines}
    court = _Court(storage, evaluators)
    refuted: dict[tuple[str, int], Refuted] = {}
    while claims := court.unheard(curated(standing.values(), filter)):
        await court.hear(claims)
        for claim in claims:
            reason = court.verdicts[claim.name]
            if reason is not None and standing.pop(claim.outline.place, None) is not None:
                refuted[claim.outline.place] = Refuted(outline=claim.outline, key=claim.key, reason=reason)
    return Judgement(
        outlines=tuple(standing.values()),
        refuted=tuple(refuted.values()),
        evaluated=court.evaluated,
        known=court.known,
        not_kept=court.not_kept,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A candidate that must hold for its trajectory to be in."""

    outline: TrajectoryOutline
    key: CandidateKey

    @property
    def name(self) -> tuple[str, CandidateKey]:
        return (self.outline.run, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A claim that only an evaluation can decide.

    Args:
        claim: It.
        record: Its run.
        equal: What it has in common with all candidates of equal results: its program, and whose artifact that was
            given, which is a name within its run.
    """

    claim: _Claim
    record: RunRecord
    equal: Hashable


class _Court:
    """Hears claims, each once.

    Args:
        storage: Where the runs live.
        evaluators: Makes evaluators.
    """

    def __init__(self, storage: Storage, evaluators: Evaluators) -> None:
        self.verdicts: dict[tuple[str, CandidateKey], str | None] = {}
        """Why a candidate does not hold, by run and key; None where it does."""
        self.evaluated = 0
        self.known = 0
        self.not_kept: dict[str, str] = {}
        self._storage = storage
        self._evaluators = evaluators
        self._runs: dict[str, tuple[RunRecord, Problem]] = {}

    def unheard(self, selection: Selection) -> list[_Claim]:
        """What a selection rests on and nobody has looked at yet."""
        found = []
        for selected in selection.selected:
            outline = selected.trajectory
            keys: list[CandidateKey | None] = [outline.best]
            if selection.filter.keep == Keep.STEP:
                chosen = set(selected.steps)
                keys = [step.committed for step in outline.steps if step.step in chosen]
            claims = [_Claim(outline=outline, key=key) for key in keys if key is not None]
            found += [claim for claim in claims if claim.name not in self.verdicts]
        return found

    async def hear(self, claims: Sequence[_Claim]) -> None:
        """Decide claims: by what is stored, else by evaluations."""
        cases: dict[Hashable, list[_Open]] = {}
        for claim in claims:
            case = self._looked_up(claim)
            if case is not None:
                record = case.record
                sandbox = json.dumps(record.config.get("sandbox"), sort_keys=True)
                cases.setdefault((record.problem_path, record.problem, sandbox), []).append(case)
        for case_list in cases.values():
            async with self._evaluators(case_list[0].record) as evaluator:
                await self._evaluate(evaluator, case_list)

    def _looked_up(self, claim: _Claim) -> _Open | None:
        """Decide a claim by what is stored; returns what is missing for that."""
        record, problem = self._run(claim.outline.run)
        candidate = self._storage.candidate(record.id, claim.key)
        claimed = claimed_evaluation(self._storage, record.id, claim.key, noisy=is_noisy(problem))
        if candidate is None or claimed is None:
            self.verdicts[claim.name] = "no program, or no score of it, is stored"
            return None
        if record.direction is not problem.direction:
            self.verdicts[claim.name] = (
                f"the run took scores to {record.direction}, and the problem is to {problem.direction}"
            )
            return None
        audits = [
            e
            for e in self._storage.evaluations(record.id, claim.key)
            if e.purpose is Purpose.AUDIT
            and e.scorer_version == problem.version
            and record.has_seen(e.finished_at)
        ]
        if not audits:
            given = candidate.warm_start
            whose = None if given is None else (record.id, given)
            return _Open(claim=claim, record=record, equal=(candidate.source_hash, candidate.form, whose))
        self.known += 1
        latest = audits[-1]
        audit = latest if latest.failure is not None else audited_evaluation(problem, claimed, latest)
        self.verdicts[claim.name] = self._reason(claim, record, problem, claimed, audit)
        return None

    def _run(self, run: str) -> tuple[RunRecord, Problem]:
        if run not in self._runs:
            record = self._storage.get_run(run)
            problem = load_stored(record.problem_path, record.problem, record.problem_version)
            if problem is None:
                raise ProblemError(
                    f"the best of run {run} must be scored again before anything learns from it, and its problem "
                    f"{record.problem_path} is gone; put it back, or leave the run out"
                )
            self._runs[run] = (record, problem)
        return self._runs[run]

    async def _evaluate(self, evaluator: Evaluator, cases: Sequence[_Open]) -> None:
        """Evaluate programs, equal ones once unless their scores are noisy, as many at once as there are slots."""
        noisy = is_noisy(evaluator.problem)
        equal: dict[Hashable, list[_Open]] = {}
        for case in cases:
            equal.setdefault(case.claim.name if noisy else case.equal, []).append(case)
        waiting = deque(equal.values())

        async def work() -> None:
            while waiting:
                await self._decide(evaluator, waiting.popleft())

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(evaluator.pool.meter.slots, len(waiting))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors

    async def _decide(self, evaluator: Evaluator, equal: Sequence[_Open]) -> None:
        """Evaluate a program, and keep what that says of each candidate that has it."""
        first = equal[0].claim
        candidate = self._storage.candidate(*first.name)
        assert candidate is not None  # it was there when the claim was opened, and nothing is ever removed
        given = given_to(self._storage, first.outline.run, candidate.warm_start)
        again = await evaluator.rescore(candidate, given)
        self.evaluated += 1
        problem = evaluator.problem
        for case in equal:
            run, key = case.claim.name
            claimed = claimed_evaluation(self._storage, run, key, noisy=is_noisy(problem))
            assert claimed is not None
            own = again if case.claim is first else _copied(again, case.claim, first)
            audit = audited_evaluation(problem, claimed, own)
            not_kept = keep_audits(self._storage, run, evaluator.record, [audit])
            if not_kept is not None:
                self.not_kept[run] = not_kept
            self.verdicts[case.claim.name] = self._reason(case.claim, case.record, problem, claimed, audit)

    def _reason(
        self, claim: _Claim, record: RunRecord, problem: Problem, claimed: Evaluation, audit: Evaluation
    ) -> str | None:
        """Why a claim does not hold; None where it does."""
        if audit.failure is not None:
            changed = (
                "; the problem has changed since the run" if problem.version != record.problem_version else ""
            )
            return f"{audit.failure.message}{changed}"
        if record.arrived_at is None or not is_noisy(problem):
            return None
        # What it was ranked by; what was confirmed may be a second score.
        ranked = claimed_evaluation(self._storage, record.id, claim.key, noisy=False) or claimed
        return None if record.has_seen(ranked.finished_at) else _far_off(ranked, audit)


def _copied(again: Evaluation, claim: _Claim, first: _Claim) -> Evaluation:
    """The result of an equal program; of another run, whose candidates have no name in this one, without its name."""
    is_same_run = claim.outline.run == first.outline.run
    return dataclasses.replace(
        again,
        key=claim.key,
        duplicate_of=first.key if is_same_run else None,
        durations=None,
        output=None,
    )


def _far_off(told: Evaluation, found: Evaluation) -> str | None:
    """Why a noisy score of an imported run does not hold, whatever interval it says it has; None where it does.

    It may be one width of the interval found here away from that. Intervals that overlap and are of the same width are
    nearer, so an honest score is refused only where its noise was much larger than here.
    """
    assert told.score is not None
    assert found.score is not None
    if found.score.interval is None:
        return (
            "its run was imported, and its problem's scores are noisy without repeats: nothing here can confirm one; "
            "export it where it ran, or declare repeats"
        )
    low, high = found.score.interval
    if low - (high - low) <= told.score.value <= high + (high - low):
        return None
    return f"its run was imported and says {shown(told.score)}, and scored again here it has {shown(found.score)}"

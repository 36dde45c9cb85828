"""What a run itself takes, from the instants in its records.

Between two of them something else may have been waited for: a place, a slot, another step. Where that can be told, the
pair is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import numpy as np

from discovery.forecast.pilot import Overheads
from discovery.records import Evaluation, Purpose
from discovery.storage.base import RunRecord, StoredStep

Gaps = Mapping[str, Sequence[float]]
"""Seconds between two instants, by what lies between them: the names of :class:`~discovery.forecast.pilot.Overheads`
without their unit, and ``first`` for the way to a slot's first evaluation; with a mark where something else may have
been waited for, too."""
_WAITED = "?"


def overheads(found: Sequence[Gaps]) -> Overheads:
    """What is typical of some runs.

    Args:
        found: What was found in each of them.
    """

    def typical(name: str) -> float:
        gaps = [gap for each in found for gap in each.get(name, ())]
        waited = [gap for each in found for gap in each.get(name + _WAITED, ())]
        return _middle(gaps) if gaps else min(waited, default=0.0)

    submit_s = typical("submit")
    pair_s = max(0.0, typical("first") - submit_s)
    return Overheads(
        start_s=typical("start") + pair_s,
        plan_s=typical("plan"),
        send_s=typical("send"),
        record_s=typical("record"),
        submit_s=submit_s,
        pair_s=pair_s,
        commit_s=typical("commit"),
        end_s=typical("end"),
    )


def _middle(values: Sequence[float]) -> float:
    """The mean of the middle half: what is typical, and not what once disturbed it."""
    if not values:
        return 0.0
    ordered = np.sort(np.asarray(values))
    cut = len(ordered) // 4
    return max(0.0, float(ordered[cut : len(ordered) - cut].mean()))


def gaps_of(
    record: RunRecord,
    steps: Sequence[StoredStep],
    evaluations: Sequence[Evaluation],
    *,
    answered: Mapping[tuple[int, int], datetime] | None = None,
    overlap: int,
    generation_slots: int | None,
    evaluation_slots: int,
) -> Gaps:
    """What lies between the instants of a run.

    Args:
        record: The run.
        steps: Its committed steps, or the first of them.
        evaluations: Theirs, with those of the initial candidates and the second scorings.
        answered: When each step, by its chain and number, had the last answer of an adviser that it waited for.
        overlap: Steps that were open beside a chain's oldest one.
        generation_slots: Places for completions; None where the servers decided.
        evaluation_slots: Evaluations at once.
    """
    found: dict[str, list[float]] = {}

    def note(name: str, earlier: datetime | None, later: datetime | None) -> None:
        if earlier is not None and later is not None:
            found.setdefault(name, []).append(max(0.0, (later - earlier).total_seconds()))

    if steps:
        initial = [e.started_at for e in evaluations if e.key.is_initial]
        first = min(stored.step.planned_at for stored in steps)
        note("start", min(initial, default=None), first)
        if record.finished_at is not None:
            # Steps that were not read may lie between.
            last = max(stored.step.committed_at or stored.step.planned_at for stored in steps)
            last = max([last, *(answered or {}).values()])
            if (record.finished_at - last).total_seconds() < 5.0:
                note("end", last, record.finished_at)
    asking = _Busy([_asking(stored) for stored in steps])
    judging = _Busy([_judging(stored) for stored in steps])
    slots = _Busy(
        [
            [(e.started_at.timestamp(), e.finished_at.timestamp())]
            for e in evaluations
            if e.durations is not None and e.finished_at is not None
        ]
    )
    by_place = {(stored.step.chain, stored.step.step): stored for stored in steps}
    verified = {(e.key.chain, e.key.step) for e in evaluations if e.purpose is Purpose.VERIFY}
    for (chain, number), stored in by_place.items():
        before = by_place.get((chain, number - 1 - overlap))
        if before is not None:
            since = [at for at in (before.step.committed_at, (answered or {}).get((chain, number))) if at]
            note("plan", max(since, default=None), stored.step.planned_at)
        if asked := _asking(stored):
            planned = asked[0][0]
            waits = generation_slots is not None and asking.at(planned) - len(asked) >= generation_slots
            sent = min(c.created_at.timestamp() - (c.latency_s or 0.0) for c in stored.completions.values())
            found.setdefault("send" + _WAITED * waits, []).append(max(0.0, sent - planned))
        _note_records(stored, note)
        _note_slots(stored, slots, judging, evaluation_slots, note)
        ends = [e.finished_at for e in stored.evaluations.values() if e.finished_at is not None]
        ahead = by_place.get((chain, number - 1))
        waited = ahead.step.committed_at if ahead is not None else None
        if ends and (chain, number) not in verified and (waited is None or waited < max(ends)):
            note("commit", max(ends), stored.step.committed_at)
    return found


Note = Callable[[str, datetime | None, datetime | None], None]


def _asking(stored: StoredStep) -> list[tuple[float, float]]:
    """From when to when each completion of a step had a place or waited for one."""
    planned = stored.step.planned_at.timestamp()
    return [
        (planned, c.created_at.timestamp()) for c in stored.completions.values() if c.latency_s is not None
    ]


def _judging(stored: StoredStep) -> list[tuple[float, float]]:
    """From when to when each candidate of a step had a slot or waited for one."""
    return [
        (candidate.created_at.timestamp(), evaluation.finished_at.timestamp())
        for index, candidate in stored.candidates.items()
        if (evaluation := stored.evaluations.get(index)) is not None
        and evaluation.durations is not None
        and evaluation.finished_at is not None
    ]


def _note_records(stored: StoredStep, note: Note) -> None:
    """A request's completions are stored one after the other, and each becomes a candidate then."""
    written: datetime | None = None
    for completion in sorted(stored.completions.values(), key=lambda c: c.created_at):
        candidate = stored.candidates.get(completion.key.index)
        if candidate is not None:
            came = completion.created_at
            note("record", came if written is None else max(came, written), candidate.created_at)
            written = candidate.created_at


def _note_slots(stored: StoredStep, slots: _Busy, judging: _Busy, count: int, note: Note) -> None:
    """The way of candidates to slots: to one that was used before, or not."""
    for index, evaluation in stored.evaluations.items():
        candidate = stored.candidates.get(index)
        if candidate is None or evaluation.durations is None:
            continue
        began = evaluation.started_at.timestamp()
        waits = judging.at(candidate.created_at.timestamp()) > count
        is_first = slots.at(began) > slots.most_before(began)
        note(
            ("first" if is_first else "submit") + _WAITED * waits, candidate.created_at, evaluation.started_at
        )


class _Busy:
    """How many of some spans of time hold at a moment.

    Args:
        groups: Beginnings and ends, in seconds.
    """

    def __init__(self, groups: Sequence[Sequence[tuple[float, float]]]) -> None:
        spans = [span for group in groups for span in group]
        self._begins = np.sort([begin for begin, _ in spans])
        self._ends = np.sort([end for _, end in spans])
        at_begins = self._count(self._begins)
        self._most = np.maximum.accumulate(at_begins) if len(spans) else at_begins

    def at(self, when: float) -> int:
        """At a moment: what begins then is counted, what ends then is not."""
        return int(self._count(np.array([when]))[0])

    def most_before(self, when: float) -> int:
        """The most at any earlier moment."""
        earlier = int(np.searchsorted(self._begins, when, side="left"))
        return int(self._most[earlier - 1]) if earlier else 0

    def _count(self, when: np.ndarray) -> np.ndarray:
        begun = np.searchsorted(self._begins, when, side="right")
        ended = np.searchsorted(self._ends, when, side="right")
        return np.asarray(begun - ended)

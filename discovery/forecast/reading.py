"""A pilot from what is stored of a run.

Most of what a simulation needs is in the records: how long completions and evaluations took, with their tokens, and
from the instants between them what the run itself takes (:mod:`discovery.forecast.overheads`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from discovery.beginnings import searched
from discovery.config import RunConfig, from_dict
from discovery.errors import UsageError
from discovery.forecast.advice import Advised, advice_seen, answered, read_advice
from discovery.forecast.load import in_flight, served, slots_seen, slowdown
from discovery.forecast.overheads import Gaps, gaps_of, overheads
from discovery.forecast.pilot import Judged, MemberSeen, Pilot, PromptTokens, ServersSeen, Spoken
from discovery.outcomes import makers
from discovery.pulse import Quantity
from discovery.records import Completion, Durations, Evaluation, Measurement, StepState
from discovery.storage.base import RunRecord, Storage, StoredStep

MOST_COMPLETIONS = 2_000
"""So many of a run are read, the first ones: more make the forecast hardly better."""
FEWEST_COMPLETIONS = 8
_SATURATED = 0.8
"""CPUs that are so busy on average are taken to be what evaluations wait for."""


def read_pilot(storage: Storage, runs: Sequence[str], *, server_slots: int | None = None) -> Pilot:
    """What was measured of one or several runs of one problem.

    Args:
        storage: Where they live.
        runs: Their ids, or unique beginnings of them; at least one.
        server_slots: Choices that their servers generated at once, where it is known; None: what their series shows.

    Raises:
        UnknownRun: There is no such run.
        UsageError: There is too little in them to foretell anything from.
    """
    read = [_read(storage, storage.get_run(run), server_slots) for run in runs]
    spoken = [each for run in read for each in run.choices]
    judged = [each for run in read for each in run.judged]
    names = ", ".join(run.record.id for run in read)
    if len(spoken) < FEWEST_COMPLETIONS:
        raise UsageError(
            f"run {names} has {len(spoken)} finished completions whose time is known; a forecast needs "
            f"{FEWEST_COMPLETIONS} at least: let it go on, name another, or leave --like out for a pilot run"
        )
    servers = _servers(read, spoken)
    names_of = sorted({choice.maker for choice in spoken if choice.maker is not None})
    members = {
        name: MemberSeen(
            prompts=_prompts(read, name), servers=_servers(read, [c for c in spoken if c.maker == name])
        )
        for name in names_of
    }

    def slower(choice: _Choice) -> float:
        return (members[choice.maker].servers if choice.maker is not None else servers).slowdown

    verified = sum(run.verified for run in read)
    expected = sum(float(np.sum(1.0 / np.arange(1, len(run.judged) + 1))) for run in read if run.judged)
    return Pilot(
        runs=tuple(run.record.id for run in read),
        spoken=tuple(
            Spoken(
                work_s=choice.work_s / (1.0 + slower(choice) * choice.mean_beside),
                tokens=choice.tokens,
                maker=choice.maker,
            )
            for choice in spoken
        ),
        judged=tuple(judged),
        verified_s=tuple(seconds for run in read for seconds in run.verified_s),
        record_rate=verified / expected if expected else 0.0,
        overheads=overheads([run.gaps for run in read]),
        prompts=_prompts(read),
        servers=servers,
        members=members,
        advice=advice_seen([run.advised for run in read], sum(run.steps for run in read)),
    )


def _servers(read: Sequence[_Read], choices: Sequence[_Choice]) -> ServersSeen:
    """What some completions, all of them or a member's, tell of who made them."""
    slots = [run.server_slots for run in read if run.server_slots is not None]
    slower, most, is_level = slowdown(
        [choice.alike(choice.work_s) for choice in choices], [choice.beside for choice in choices]
    )
    return ServersSeen(
        slots=max(slots, default=None),
        slowdown=slower,
        most=most,
        is_level=is_level,
        tell=all(run.tells for run in read),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """One completion with what was in flight beside it: when it began to be generated, and over its time."""

    work_s: float
    tokens: int | None
    maker: str | None
    beside: float
    mean_beside: float

    def alike(self, seconds: float) -> float:
        """Its time by the token, where tokens are known: long answers are not slow ones."""
        return seconds / self.tokens if self.tokens else seconds


@dataclass(frozen=True, slots=True)
class _Timed:
    """A completion, when it was asked for, in seconds, and who made it."""

    sent: float
    completion: Completion
    maker: str | None

    @property
    def ended(self) -> float:
        return self.completion.created_at.timestamp()


@dataclass(frozen=True, slots=True)
class _Told:
    """What a prompt was counted as: parents that it shows, tokens, those of a cache; and by whom."""

    parents: int
    tokens: int
    cached: int
    maker: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What was found in one run."""

    record: RunRecord
    choices: Sequence[_Choice]
    judged: Sequence[Judged]
    verified: int
    verified_s: Sequence[float]
    gaps: Gaps
    prompts: Sequence[_Told]
    advised: Sequence[Advised]
    steps: int
    server_slots: int | None
    tells: bool


def _read(storage: Storage, record: RunRecord, server_slots: int | None) -> _Read:
    config = from_dict(RunConfig, record.config)
    steps = list(_steps(storage, record.id))
    points = storage.measurements(record.id)
    timed = _timed(steps)
    advised = read_advice(storage, record.id, steps)
    asked = [] if config.adviser.base_url else [(each.sent, each.ended) for each in advised]
    seen = server_slots
    if seen is None and not config.generator.members:  # else they ran at several servers
        seen = _slots_seen(timed, asked, points)
    choices, begun = _choices(timed, asked, seen)
    if asked and not config.generator.members:
        advised = [replace(each, sent=float(at)) for each, at in zip(advised, begun, strict=True)]
    keys = {(step.step.chain, step.step.step) for step in steps}
    second = [
        e
        for e in storage.verifications(record.id)
        if e.durations is not None and (e.key.chain, e.key.step) in keys
    ]
    evaluations = [e for step in steps for e in step.evaluations.values()]
    initial = searched(storage, record.id)
    return _Read(
        record=record,
        choices=choices,
        judged=_judged(evaluations, len(os.sched_getaffinity(0))),
        verified=len(second),
        verified_s=[e.durations.wall_s for e in second if e.durations is not None],
        gaps=gaps_of(
            record,
            steps,
            [*initial, *evaluations, *second],
            answered=answered(advised, overlap=config.overlap),
            overlap=config.overlap,
            generation_slots=_known(record, "generation_slots"),
            evaluation_slots=_known(record, "evaluation_slots") or config.slots.evaluation or 1,
        ),
        prompts=[
            _Told(len(step.step.parents), tokens.prompt, tokens.cached or 0, names.get(index))
            for step in steps
            for names in (makers(step.step.selection),)
            for index, completion in step.completions.items()
            if (tokens := completion.tokens) is not None
            and tokens.prompt is not None
            and completion.forced is None
        ],
        advised=advised,
        steps=len(steps),
        server_slots=seen,
        tells=any(Quantity.SERVER_WAITING in point.values for point in points) or not points,
    )


def _known(record: RunRecord, fact: str) -> int | None:
    found = record.facts.get(fact)
    return found if isinstance(found, int) else None


def _steps(storage: Storage, run: str) -> Iterator[StoredStep]:
    """The first committed steps of a run, chain by chain in turns."""
    chains = [chain.chain for chain in storage.chain_summaries(run)]
    read, number = 0, 1
    while chains and read < MOST_COMPLETIONS:
        going = []
        for chain in chains:
            stored = storage.step(run, chain, number)
            if stored is None or stored.step.state is not StepState.COMMITTED:
                continue
            going.append(chain)
            read += len(stored.completions)
            yield stored
        chains, number = going, number + 1


# The model


def _timed(steps: Sequence[StoredStep]) -> list[_Timed]:
    return [
        _Timed(completion.created_at.timestamp() - completion.latency_s, completion, names.get(index))
        for step in steps
        for names in (makers(step.step.selection),)
        for index, completion in step.completions.items()
        if completion.latency_s is not None
    ]


def _choices(
    timed: Sequence[_Timed], asked: Sequence[tuple[float, float]], server_slots: int | None
) -> tuple[list[_Choice], np.ndarray]:
    """Completions with what ran beside them at the same servers: those of the same member, and questions.

    Returns:
        And when the questions' answers began to be written, where there is one generator.
    """
    found: list[_Choice] = []
    begins = np.array([])
    for maker in dict.fromkeys(each.maker for each in timed):
        own = [each for each in timed if each.maker == maker]
        others = asked if maker is None else []
        sent = np.array([*(each.sent for each in own), *(begin for begin, _ in others)])
        ended = np.array([*(each.ended for each in own), *(end for _, end in others)])
        begun = served(sent, ended, server_slots)
        begins = begun[len(own) :]
        beside, mean_beside = in_flight(begun, ended)
        found += [
            _Choice(
                work_s=max(float(ended[n] - begun[n]), 0.0),
                tokens=each.completion.tokens.completion if each.completion.tokens is not None else None,
                maker=maker,
                beside=float(beside[n]),
                mean_beside=float(mean_beside[n]),
            )
            for n, each in enumerate(own)
        ]
    return found, begins


def _slots_seen(
    timed: Sequence[_Timed], asked: Sequence[tuple[float, float]], points: Sequence[Measurement]
) -> int | None:
    """How many choices the servers ran while others waited there, where that was ever so."""
    if not timed:
        return None
    read_until = max(t.ended for t in timed)
    windows = []
    for point in points:
        values, end = point.values, point.at.timestamp()
        begin = end - values.get(Quantity.WINDOW_S, 0.0)
        waits = values.get(Quantity.SERVER_WAITING, 0.0) >= 1.0 and Quantity.SERVER_RUNNING in values
        if waits and begin < read_until:
            windows.append((begin, end, values[Quantity.SERVER_RUNNING]))
    sent = np.array([*(t.sent for t in timed), *(begin for begin, _ in asked)])
    ended = np.array([*(t.ended for t in timed), *(end for _, end in asked)])
    return slots_seen(sent, ended, windows)


def _prompts(read: Sequence[_Read], maker: str | None = None) -> PromptTokens:
    """How long prompts were: all, or those of a member."""
    found: dict[int, list[int]] = {}
    total = cached = 0
    for told in (told for run in read for told in run.prompts):
        if maker is None or told.maker == maker:
            found.setdefault(told.parents, []).append(told.tokens)
            total += told.tokens
            cached += told.cached
    return PromptTokens(
        by_parents={parents: sum(tokens) / len(tokens) for parents, tokens in found.items()},
        cached_share=min(1.0, cached / total) if total else 0.0,
    )


# Evaluations


def _judged(evaluations: Sequence[Evaluation], cpus: int) -> list[Judged]:
    """What evaluations take with CPUs enough.

    Where more ran at once than there are CPUs and kept them busy, CPUs are what they waited for: then all of their time
    is taken for CPU time, less what they waited.
    """
    timed = [
        (e.started_at.timestamp(), e.finished_at.timestamp(), _cpu_s(e.durations))
        for e in evaluations
        if e.durations is not None and e.finished_at is not None
    ]
    stretch = 1.0
    if timed:
        began, ended = np.array([t[0] for t in timed]), np.array([t[1] for t in timed])
        span = max(float(ended.max() - began.min()), 1e-6)
        if sum(cpu_s for _, _, cpu_s in timed) > _SATURATED * cpus * span:
            _, beside = in_flight(began, ended)
            stretch = max(1.0, (1.0 + float(beside.mean())) / cpus)
    judged = []
    for e in evaluations:
        slot_s = e.durations.wall_s / stretch if e.durations is not None else None
        share = 0.0
        if e.durations is not None and e.durations.wall_s > 0.0:
            share = 1.0 if stretch > 1.0 else _cpu_s(e.durations) / e.durations.wall_s
        judged.append(Judged(slot_s=slot_s, cpu_share=share))
    return judged


def _cpu_s(durations: Durations) -> float:
    """CPU time of an evaluation: its program's, and all that its scorer took beside that."""
    inside = durations.sandbox_s or 0.0
    return min(durations.wall_s, (durations.sandbox_cpu_s or 0.0) + max(0.0, durations.wall_s - inside))

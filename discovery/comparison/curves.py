"""The best score after so many evaluations, of each run of a comparison, read back from storage.

Evaluations are counted in the order of the search, not of the clock: step by step, in each step chain by chain. Chains
are independent, and which of them was faster on a busy machine says nothing of a setting; so the curve of a run is the
same whenever and however often it was interrupted, and all chains have come equally deep at each point of it.

Of a noisy problem what counts are announcements, whose scores were drawn without looking; they are placed at the
evaluations that had finished by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discovery.comparison.plan import Comparison, PlannedRun, Setting
from discovery.comparison.running import Standing
from discovery.errors import UsageError
from discovery.records import Direction
from discovery.storage.base import Storage
from discovery.summary import summarize


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCurve:
    """What one run came to.

    Args:
        run: Its id.
        seed: Its seed.
        best: Best score after 0, 1, ... evaluations; the first is the initial candidate's.
        tokens: Of its prompts and completions.
        failed: Share of its evaluations without a score.
        wall_s: Its wall time, in seconds.
    """

    run: str
    seed: int
    best: NDArray[np.float64]
    tokens: int
    failed: float
    wall_s: float

    @property
    def final(self) -> float:
        """The best score at the end."""
        return float(self.best[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingCurves:
    """The runs of one setting, by seed.

    Args:
        setting: The setting.
        runs: In the order of the seeds, the same ones for all settings.
    """

    setting: Setting
    runs: tuple[RunCurve, ...]

    @property
    def finals(self) -> list[float]:
        """The best score of each seed's run."""
        return [run.final for run in self.runs]

    @property
    def best(self) -> NDArray[np.float64]:
        """One row for each seed, one column for each number of evaluations from 0."""
        length = min(len(run.best) for run in self.runs)
        return np.array([run.best[:length] for run in self.runs])


def read_curves(
    comparison: Comparison, state: Standing, storage: Storage, direction: Direction, *, is_noisy: bool
) -> list[SettingCurves]:
    """The curves of all settings, over the seeds that all of them have finished.

    Args:
        comparison: The plan.
        state: How far it is.
        storage: Where its runs live.
        direction: Which scores are better.
        is_noisy: Whether two scorings of a candidate may differ.

    Raises:
        UsageError: There is no such seed.
    """
    done = {run.id for run in state.finished}
    planned: dict[int, list[PlannedRun]] = {}
    for run in comparison.runs:
        planned.setdefault(run.seed, []).append(run)
    complete = [seed for seed, runs in planned.items() if all(run.id in done for run in runs)]
    if not complete:
        raise UsageError(
            f"comparison {comparison.id} has no seed of which all runs have finished: {len(done)} of "
            f"{len(comparison.runs)} runs have; go on with it first"
        )
    read: dict[str, list[RunCurve]] = {setting.name: [] for setting in comparison.settings}
    for seed in complete:
        for run in planned[seed]:
            curve = _read(run, storage, direction, is_noisy)
            read[run.setting.name].append(curve)
    return [SettingCurves(setting=s, runs=tuple(read[s.name])) for s in comparison.settings]


def _read(run: PlannedRun, storage: Storage, direction: Direction, is_noisy: bool) -> RunCurve:
    summary = summarize(storage, run.id)
    if is_noisy:
        scores: list[float | None] = [None] * summary.evaluations
        for one in storage.announcements(run.id):
            place = min(max(one.evaluations, 1), summary.evaluations) - 1
            if scores and direction.better(one.score, scores[place]):
                scores[place] = one.score
    else:
        found = [(key, score) for key, score in storage.scores(run.id) if not key.is_initial]
        found.sort(key=lambda one: (one[0].step, one[0].chain, one[0].index))
        scores = [score for _, score in found]
    initial = summary.initial_score
    assert initial is not None
    failed = sum(summary.failures.values())
    return RunCurve(
        run=run.id,
        seed=run.seed,
        best=best_so_far(scores, initial, direction),
        tokens=summary.tokens.total,
        failed=failed / summary.evaluations if summary.evaluations else 0.0,
        wall_s=summary.wall_s,
    )


def best_so_far(scores: Sequence[float | None], initial: float, direction: Direction) -> NDArray[np.float64]:
    """Best score after 0, 1, ... evaluations.

    Args:
        scores: Of the evaluations in order; None for a failure.
        initial: The initial candidate's.
        direction: Which scores are better.
    """
    worst = direction.key(initial)
    keys = np.array([worst, *(worst if s is None else direction.key(s) for s in scores)], dtype=np.float64)
    best: NDArray[np.float64] = np.maximum.accumulate(keys)
    return best if direction is Direction.MAXIMIZE else -best

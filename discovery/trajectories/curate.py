"""A filter -> a selection: which steps of which trajectories are trained on. Pure: no texts, no storage, no clock.

What is compared is what one scorer scored: trajectories of one problem *in one version* and direction. Another version
of a problem is another problem here, with a percentage of its own; only the split knows them as one, by their name.

All that is drawn is decided by a hash of the seed and a name. So nothing depends on the order of what is given, and
giving more runs moves nobody to the other side of a split.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from discovery.config import in_range
from discovery.errors import ConfigError
from discovery.trajectories.records import (
    Filter,
    Keep,
    Selected,
    Selection,
    Split,
    StepOutline,
    TrajectoryOutline,
)

T = TypeVar("T")

NOTHING_VALID = "nothing valid was committed"
NOT_IMPROVING = "does not beat the initial candidate"
NOT_DRAWN = "not drawn"


def not_among_top(filter: Filter) -> str:
    """The reason of what the percentage left out."""
    return f"not among the top {filter.top_percent:g} %"


def curated(outlines: Iterable[TrajectoryOutline], filter: Filter) -> Selection:
    """The steps that a filter keeps.

    First come the trajectories (or steps) of each problem that have a score; the best R percent of them are in, at
    least one, rounded up, and all that tie with the last one. Of these, those of a trajectory that does not improve
    are out, where only improving ones are asked for. ``random`` draws as many as then remain of all that may be drawn.

    Args:
        outlines: Of one run or several: replay of earlier rounds is their runs given together, each round's best in
            competition with the others', or see :func:`replayed`. Twice the same counts once.
        filter: What to keep.

    Returns:
        By problem, version, run and chain. Each trajectory that is not in is left out for one reason; with
        ``step``, each step.
    """
    problems: dict[tuple[str, str, str], dict[tuple[str, int], TrajectoryOutline]] = {}
    for outline in outlines:
        of_problem = (outline.problem, outline.problem_version, outline.direction.value)
        problems.setdefault(of_problem, {})[outline.place] = outline
    selected: list[Selected] = []
    left_out = Counter[str]()
    for _, trajectories in sorted(problems.items()):
        ordered = [trajectories[place] for place in sorted(trajectories)]
        selected += _RULES[Keep(filter.keep)](ordered, filter, left_out)
    return Selection(filter=filter, selected=tuple(selected), left_out=_counted(left_out))


def replayed(rounds: Sequence[Selection], *, decay: float = 1.0) -> Selection:
    """Several rounds' selections as one: each round's own best, the older ones at less weight.

    Args:
        rounds: Oldest first, each of runs of its own, one at least.
        decay: What a round's weights are multiplied by for each round after it, above 0 to 1.

    Returns:
        All of them in the order of :func:`curated`, under the filter of the newest.

    Raises:
        ConfigError: There is no round, ``decay`` is out of range, or one trajectory is in two rounds.
    """
    in_range("decay", decay, 1e-6, 1)
    if not rounds:
        raise ConfigError("no round is given; give one selection at least")
    merged: dict[tuple[str, int], Selected] = {}
    left_out = Counter[str]()
    for age, selection in enumerate(reversed(rounds)):
        left_out.update(selection.left_out)
        for chosen in selection.selected:
            if chosen.trajectory.place in merged:
                run, chain = chosen.trajectory.place
                raise ConfigError(
                    f"chain {chain} of run {run} is in two rounds; give each run to one round only"
                )
            merged[chosen.trajectory.place] = dataclasses.replace(chosen, weight=chosen.weight * decay**age)
    ordered = sorted(merged.values(), key=lambda chosen: _order(chosen.trajectory))
    return Selection(filter=rounds[-1].filter, selected=tuple(ordered), left_out=_counted(left_out))


def _counted(left_out: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(left_out.items()) if count}


def split_of(outline: TrajectoryOutline, filter: Filter) -> Split:
    """What a trajectory's rows are for, decided by its name (or its problem's) and the seed alone.

    So the share that is for validation is the one asked for on average only, and of few trajectories it may be none, or
    all.
    """
    name = (outline.problem,) if filter.split_by == "problem" else (outline.run, str(outline.chain))
    is_held = _drawn(filter.seed, "split", *name) < filter.validation_percent / 100
    return Split.VALIDATION if is_held else Split.TRAIN


# Rules: each takes the trajectories of one problem, and counts what it leaves out


def _top_trajectories(
    trajectories: Sequence[TrajectoryOutline], filter: Filter, left_out: Counter[str]
) -> list[Selected]:
    scored = _with_outcome(trajectories, left_out)
    top = _top(scored, _quality, filter.top_percent)
    left_out[not_among_top(filter)] += len(scored) - len(top)
    return [_selected(outline, filter) for outline in _improving(top, filter, left_out)]


def _random_trajectories(
    trajectories: Sequence[TrajectoryOutline], filter: Filter, left_out: Counter[str]
) -> list[Selected]:
    count = len(_top_trajectories(trajectories, filter, Counter()))
    pool = _improving(_with_outcome(trajectories, left_out), filter, left_out)
    by_lot = sorted(pool, key=lambda outline: _drawn(filter.seed, "draw", outline.run, str(outline.chain)))
    left_out[NOT_DRAWN] += len(pool) - count
    return [_selected(outline, filter) for outline in sorted(by_lot[:count], key=_order)]


def _top_steps(
    trajectories: Sequence[TrajectoryOutline], filter: Filter, left_out: Counter[str]
) -> list[Selected]:
    left_out[NOTHING_VALID] += sum(step.score is None for outline in trajectories for step in outline.steps)
    scored = [(outline, step) for outline in trajectories for step in outline.steps if step.score is not None]
    top = _top(scored, lambda each: _key(each[0], each[1].score), filter.top_percent)
    left_out[not_among_top(filter)] += len(scored) - len(top)
    chosen: dict[tuple[str, int], list[StepOutline]] = {}
    for outline, step in top:
        chosen.setdefault(outline.place, []).append(step)
    kept = []
    for outline in (each for each in trajectories if each.place in chosen):
        if filter.improving_only and not outline.improves:
            left_out[NOT_IMPROVING] += len(chosen[outline.place])
        else:
            kept.append(_of_steps(outline, chosen[outline.place], filter))
    return kept


def _everything(
    trajectories: Sequence[TrajectoryOutline], filter: Filter, left_out: Counter[str]
) -> list[Selected]:
    return [_of_steps(each, each.steps, filter) for each in _with_outcome(trajectories, left_out)]


_RULES: Mapping[Keep, Callable[[Sequence[TrajectoryOutline], Filter, Counter[str]], list[Selected]]] = {
    Keep.TRAJECTORY: _top_trajectories,
    Keep.STEP: _top_steps,
    Keep.RANDOM: _random_trajectories,
    Keep.ALL: _everything,
}


def _with_outcome(
    trajectories: Sequence[TrajectoryOutline], left_out: Counter[str]
) -> list[TrajectoryOutline]:
    scored = [outline for outline in trajectories if outline.best_score is not None]
    left_out[NOTHING_VALID] += len(trajectories) - len(scored)
    return scored


def _improving(
    trajectories: Sequence[TrajectoryOutline], filter: Filter, left_out: Counter[str]
) -> list[TrajectoryOutline]:
    kept = [outline for outline in trajectories if outline.improves or not filter.improving_only]
    left_out[NOT_IMPROVING] += len(trajectories) - len(kept)
    return kept


def _top(ranked: Sequence[T], quality: Callable[[T], float], percent: float) -> list[T]:
    """The best of them in the order given: that percentage, rounded up, and all that tie with the last one in."""
    if not ranked:
        return []
    # Less a little, for 7 % of 100 to be 7: as floats their product is above it.
    count = max(1, math.ceil(len(ranked) * percent / 100 - 1e-9))
    last = sorted(map(quality, ranked), reverse=True)[count - 1]
    return [each for each in ranked if quality(each) >= last]


def _selected(outline: TrajectoryOutline, filter: Filter) -> Selected:
    last = outline.best_step if filter.truncate else None
    return _of_steps(outline, [step for step in outline.steps if last is None or step.step <= last], filter)


def _of_steps(outline: TrajectoryOutline, steps: Iterable[StepOutline], filter: Filter) -> Selected:
    return Selected(
        trajectory=outline,
        steps=tuple(step.step for step in steps if step.committed is not None),
        weight=1.0,
        split=split_of(outline, filter),
    )


def _quality(outline: TrajectoryOutline) -> float:
    return _key(outline, outline.best_score)


def _key(outline: TrajectoryOutline, score: float | None) -> float:
    assert score is not None  # only what has one is ranked
    return outline.direction.key(score)


def _order(outline: TrajectoryOutline) -> tuple[str, str, str, int]:
    return (outline.problem, outline.problem_version, outline.run, outline.chain)


def _drawn(seed: int, *names: str) -> float:
    """A number from 0 to below 1 for a name: the same wherever and with whatever else it is drawn."""
    digest = hashlib.sha256("\0".join((str(seed), *names)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48

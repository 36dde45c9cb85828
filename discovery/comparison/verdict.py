"""What a comparison says, in sentences: which setting is recommended, how sure that is, and what beats the baseline.

A sentence claims a difference only where the corrected p is at most 0.05. Where so few seeds were run that no
difference could get there, it says so, and how many would do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from discovery.comparison.finals import ALPHA, BudgetFinals, Contrast, Final
from discovery.comparison.scaling import Scaling

_SURE, _LEANING = 0.9, 0.6
_NAMED = 4
"""So many settings are named in a sentence; of the others, how many there are."""


def recommendation(finals: BudgetFinals) -> str:
    """Which setting is recommended at a budget, and how sure that is.

    Args:
        finals: What the settings came to.
    """
    leader = finals.leader
    share = leader.best_share
    sure = "fairly sure" if share >= _SURE else "leaning" if share >= _LEANING else "unsure"
    said = (
        f"At N = {finals.budget:,}: {leader.name} is recommended ({sure}): it has the best median in "
        f"{_percent(share)} of the resamples of {_seeds(finals.seeds)}."
    )
    rivals = {final.name for final in finals.rivals}
    told = [final for final in finals.finals[1:] if final.name not in rivals]
    if told:
        said += f" It is better than {_named(told)} (corrected p at most {ALPHA:g})."
    if finals.rivals:
        said += f" It cannot be told from {_named(finals.rivals)}."
    return said


def against_baseline(finals: BudgetFinals) -> list[str]:
    """What each setting is against the baseline, the best first; empty without a baseline.

    Args:
        finals: What the settings came to.
    """
    return [
        _against(finals, final, final.against_baseline) for final in finals.finals if final.against_baseline
    ]


def _against(finals: BudgetFinals, final: Final, contrast: Contrast) -> str:
    other = next(f for f in finals.finals if f.name == contrast.other)
    wins, losses = contrast.wins, finals.seeds - contrast.wins - contrast.ties
    medians = f"median {final.median:.6g} against {other.median:.6g}"
    p = f"p = {contrast.p:.2g}" + (
        f", corrected {contrast.corrected:.2g}" if contrast.corrected != contrast.p else ""
    )
    at = f"at {finals.budget:,} evaluations"
    if contrast.is_told and contrast.gain.estimate > 0:
        beats = f"{final.name} beats {other.name} {at}: better in {wins} of {_seeds(finals.seeds)}"
        return f"{beats}, {medians}; {p}.{_passed(final, other)}"
    if contrast.is_told:
        return f"{final.name} loses to {other.name} {at}: worse in {losses} of {_seeds(finals.seeds)}, {medians}; {p}."
    if wins == finals.seeds:
        ahead = f"{final.name} is ahead of {other.name} {at} in all of {_seeds(finals.seeds)}"
        return f"{ahead}, {medians}; {p}: not proof yet.{_passed(final, other)}"
    return (
        f"{final.name} cannot be told from {other.name} {at}: better in {wins}, worse in {losses} of "
        f"{_seeds(finals.seeds)}, {medians}; {p}."
    )


def _passed(final: Final, other: Final) -> str:
    """After how many evaluations a setting's median is better than the other's final one; empty where it never is."""
    median = np.median(final.curves.best, axis=0)
    is_up = final.median > other.median
    better = np.flatnonzero(median > other.median if is_up else median < other.median)
    if final.median == other.median or not len(better):
        return ""
    return f" Its median is better than the final one of {other.name} after {int(better[0]):,} evaluations."


def too_few(finals: BudgetFinals) -> str | None:
    """That no difference could be told with so few seeds, and how many would do; None where one could.

    Args:
        finals: What the settings came to.
    """
    if finals.smallest_p <= ALPHA:
        return None
    single = 2 * 0.5**finals.seeds
    corrected = (
        f", {finals.smallest_p:.3g} corrected for all that are compared"
        if finals.smallest_p != single
        else ""
    )
    return (
        f"Too few seeds to tell: with {finals.seeds} the smallest possible p is {single:.4g}{corrected}. From "
        f"{finals.seeds_needed} seeds on, a difference that every seed shows can be told: --seeds "
        f"{finals.seeds_needed} goes on with these runs and adds the others."
    )


def scaling_said(name: str, scaling: Scaling, budget: int) -> str:
    """What is known of how a setting scales, in a sentence.

    Args:
        name: The setting's.
        scaling: The fit.
        budget: N, where the curve ends.
    """
    if scaling.exponent is None or scaling.doubled is None or scaling.law is None:
        return f"{name}: no power law, since {scaling.why_not}."
    missing = (
        f"the distance from {scaling.known:.6g}"
        if scaling.known is not None
        else "what the score still lacks"
    )
    if not scaling.is_supported:
        return f"{name}: the data support no power law; {scaling.why_not}."
    fit = f"N^-{scaling.exponent.estimate:.2f} [{scaling.exponent.low:.2f} to {scaling.exponent.high:.2f}]"
    ahead, floor = scaling.doubled, scaling.law.floor
    if scaling.known is not None and floor > 0:
        fit += f" to a floor of {floor:.3g}"
    return (
        f"{name}: {missing} falls like {fit}; at {2 * budget:,} evaluations it would be at {ahead.estimate:.6g} "
        f"[{ahead.low:.6g} to {ahead.high:.6g}]."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _seeds(count: int) -> str:
    return f"{count} seeds" if count != 1 else "1 seed"


def _named(finals: Sequence[Final]) -> str:
    names = [final.name for final in finals]
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))

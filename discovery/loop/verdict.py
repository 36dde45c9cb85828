"""Whether a revision helps, by the problems that it never learnt from.

The gain on a problem is the mean of the chains' best scores of the revision, less that of the last one that helped (the
one before, unless all rounds were asked for), in the problem's own direction and in units of the chains' standard
deviation, so that problems of different scales count the same. The gain of a round is the mean over the held-out
problems. A round helps where it is above 0. The interval beside it says how sure that is; it does not decide: a loop
that asked for proof at three seeds would hardly ever make a second round, and a round too many costs time, while its
weights are kept apart and the report says what it brought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from discovery import intervals
from discovery.intervals import Interval, Pair
from discovery.loop.stages import Measured
from discovery.records import Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a revision is worth against the last one that helped.

    Args:
        revision: Its number, from 1.
        against: That of the other one.
        gain: On the held-out problems, in standard deviations of their chains; above 0 is better.
    """

    revision: int
    against: int
    gain: Interval

    @property
    def helps(self) -> bool:
        """Whether the loop goes on with it."""
        return self.gain.estimate > 0

    def __str__(self) -> str:
        what = "helps" if self.helps else "does not help"
        sure = "; the interval holds 0" if self.gain.holds_zero else ""
        return (
            f"revision {self.revision} {what} against revision {self.against} on the held-out problems: "
            f"{self.gain.estimate:+.2f} standard deviations of their chains{_ends(self.gain)}{sure}"
        )


def judged(before: Measured, after: Measured, held_out: Sequence[str]) -> Verdict:
    """Compare a revision with an earlier one.

    Args:
        before: The earlier one.
        after: The revision.
        held_out: The problems that decide, as the plan names them.
    """
    gain = intervals.mean_difference([_pair(before, after, problem) for problem in held_out])
    return Verdict(revision=after.revision, against=before.revision, gain=gain)


def _pair(before: Measured, after: Measured, problem: str) -> Pair:
    old, new = before.chain_bests(problem), after.chain_bests(problem)
    # Where no chain differs from another of its revision, any difference between the two is one whole unit.
    unit = (
        intervals.spread([old, new])
        or abs(intervals.mean(new).estimate - intervals.mean(old).estimate)
        or 1.0
    )
    sign = 1.0 if before.of(problem)[0].better is Direction.MAXIMIZE else -1.0
    return Pair(before=old, after=new, unit=sign * unit)


def _ends(interval: Interval) -> str:
    return "" if interval.low is None else f" [{interval.low:+.2f}, {interval.high:+.2f}]"

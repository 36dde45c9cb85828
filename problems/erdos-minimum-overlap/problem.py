"""Erdos' minimum overlap: a step function on [0, 2] whose overlap with its complement is small at every shift.

The floats that a program returns need not sum to exactly half their number, nor stay at or below 1 once they are scaled
so that they do; both are rounding errors, and both are removed here, not forgiven: what is scored and stored is a step
function that keeps every rule exactly. The exact scorer in ``verify.py`` knows nothing of this.
"""

import math

import numpy as np

from discovery import Invalid, KnownBest, Limits, Reference, Score, problem
from discovery.exact.convolution import step_heights

MOST_HEIGHTS = 100_000
ROUNDING = 1e-9
"""How far the mean of the heights may be from 1/2."""


def draw_step_function(heights, axes):
    """Draw a step function on [0, 2] and its overlap at all shifts."""
    scaled = np.asarray(heights) * (len(heights) / 2 / math.fsum(heights))
    edges = np.linspace(0, 2, len(heights) + 1)
    axes.stairs(scaled, edges, fill=True, color="#9ecae1", edgecolor="#123a5c", label="h")
    found = overlaps(scaled)
    shifts = np.linspace(-2, 2, len(found) + 2)[1:-1]
    axes.plot(shifts, found, color="#c0392b", linewidth=1.2, label="overlap with 1 - h, by shift")
    axes.set_xlim(-2, 2)
    axes.set_ylim(0, 1.05)
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    axes.set_title(f"{len(heights)} steps, largest overlap {found.max():.9f}")


@problem(
    name="erdos-minimum-overlap",
    direction="minimize",
    # No function does better (E. P. White, Erdos' minimum overlap problem, 2023); none is worse than 1, as h <= 1.
    bounds=(0.379005, 1.0),
    limits=Limits(wall_s=30.0),
    scorer_timeout_s=90.0,
    packages=("numpy",),
    known_best=(
        KnownBest(value=0.380868, source="SimpleTES, later release (claimed)"),
        KnownBest(value=0.38087532321772, source="TTT-Discover, 600 steps", exact=True),
        KnownBest(value=0.38092303510845, source="AlphaEvolve, second paper"),
        KnownBest(value=0.3809268534, source="J. K. Haugland, 2016, 51 steps"),
    ),
    references=(
        Reference(
            file="reference.json",
            source="204 steps, symmetric: linear programs in a trust region, from the 51 steps and 102",
            exact="0.38088974876985052213",
        ),
        Reference(
            file="reference-51.json",
            source="the best 51 steps found here, symmetric: Haugland's value to all ten digits known of it",
            exact="0.38092685343308730309",
        ),
    ),
    cost_s=0.004,
    domain="analysis",
    picture=draw_step_function,
)
def score(program):
    given = step_heights(program.call("solve"), most=MOST_HEIGHTS, low=0, high=1)
    heights = np.array(given, dtype=float)
    count, total = len(heights), math.fsum(heights)
    if not abs(total - count / 2) <= ROUNDING * count * (1 - 1e-6):
        raise Invalid(f"the heights sum to {total!r}; expected {count / 2} within 1e-9 of {count}")
    heights, contracted = contracted_to_fit(heights)
    found = overlaps(heights * (count / 2 / math.fsum(heights)))
    worst = int(found.argmax())
    feedback = (
        f"The largest overlap is at shift {worst - count + 1} of {count} steps; "
        f"{int((found > found[worst] - 1e-6).sum())} of {len(found)} shifts are within 1e-6 of it."
    )
    if contracted > ROUNDING / 1000:
        feedback += (
            f" Scaled heights above 1: all were moved towards 1/2, by {contracted:.3g} of their distance."
        )
    return Score(
        value=min(float(found[worst]), 1.0),  # a rounding error of the transforms is above it
        metrics={"steps": count, "worst_shift": worst - count + 1, "contracted": contracted},
        feedback=feedback,
        artifact=heights.tolist(),
    )


def overlaps(heights):
    """The overlap at every shift from ``1 - n`` to ``n - 1``, for heights that sum to n / 2.

    By transforms; they err by less than 1e-11, as heights are at most 1.
    """
    count = len(heights)
    size = 1 << (2 * count - 1).bit_length()
    transformed = np.fft.rfft(heights, size)
    products = np.fft.irfft(np.abs(transformed) ** 2, size)[:count]
    before = np.concatenate([[0.0], np.cumsum(heights)])
    ahead = (before[-1] - before[:count] - products) * (2 / count)
    behind = (before[count:0:-1] - products) * (2 / count)
    return np.concatenate([behind[:0:-1], ahead])


def contracted_to_fit(heights):
    """Heights that are at most 1 once scaled to sum to half their number, and what part they lost.

    Where a scaled height is above 1, all move towards 1/2 in proportion, which leaves their mean at 1/2, until the
    largest is 1, or a rounding error below.
    """
    count = len(heights)
    if fits(heights):
        return heights, 0.0
    scaled = heights * (count / 2 / math.fsum(heights))
    part = 0.5 / (float(scaled.max()) - 0.5)
    for room in (2.0**-50, 2.0**-46, 2.0**-42):
        moved = np.clip(0.5 + (scaled - 0.5) * (part * (1 - room)), 0.0, 1.0)
        if fits(moved):
            return moved, 1 - part * (1 - room)
    raise AssertionError("contracted heights are still above 1; the contraction is wrong")


def fits(heights):
    """Whether no height is above 1 once they sum to half their number, exactly: ``fsum`` errs in no sign."""
    top = float(heights.max())
    return math.fsum([*heights.tolist() * 2, *[-top] * len(heights)]) >= 0

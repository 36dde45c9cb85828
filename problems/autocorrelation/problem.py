"""Three autocorrelation inequalities: how flat can the convolution of a function with itself be?

A solution is a step function on [-1/4, 1/4], given by its heights on steps of equal width. Its convolution with itself
is linear between multiples of that width, so maxima, integrals and norms are finite sums, and nothing is sampled. All
three scores are ratios in which the height's unit cancels.

The quick scorer convolves by transforms of floats. Their error is below ``eps log2(n)`` of the sum of the squared
heights, and by Parseval and Cauchy-Schwarz the largest value of the convolution is at least that sum by ``sqrt(2 n)``:
so the scores err by less than 1e-11 of themselves up to 100,000 heights, signed ones too.
"""

import math

import numpy as np

from discovery import Invalid, KnownBest, Limits, Reference, Score, family, problem
from discovery.exact.convolution import step_heights

MOST_HEIGHTS = 100_000
LARGEST = 1e15
LEAST_SUM = 2.0**-20
"""Of the sum of sizes: signed heights must not cancel beyond it."""


def convolved(heights):
    """The convolution of heights with themselves, of ``2 n - 1`` values."""
    count = 2 * len(heights) - 1
    size = 1 << count.bit_length()
    return np.fft.irfft(np.fft.rfft(heights, size) ** 2, size)[:count]


def first_score(heights, found):
    """The maximum of f * f by the square of the integral of f."""
    return 2 * len(heights) * float(found.max()) / math.fsum(heights) ** 2


def second_score(heights, found):
    """The square of the 2-norm of f * f by its 1-norm and its maximum."""
    here = np.concatenate([[0.0], found])
    there = np.concatenate([found, [0.0]])
    squares = math.fsum(here * here + here * there + there * there)
    return squares / (3 * math.fsum(heights) ** 2 * float(found.max()))


def third_score(heights, found):
    """The largest size of f * f by the square of the integral of f, which may have both signs."""
    total = math.fsum(heights)
    # The exact sign of a difference, since fsum rounds once: |total| 2**20 against the sum of sizes.
    sizes = np.abs(heights)
    signed = np.copysign(1.0, total) * heights / LEAST_SUM
    if math.fsum([*signed, *-sizes]) < 0:
        raise Invalid("the sum of the heights is below 2**-20 of the sum of their sizes, so as good as zero")
    return 2 * len(heights) * float(np.abs(found).max()) / total**2


VARIANTS = {
    "1": {
        "score": first_score,
        "direction": "minimize",
        # A. Cloninger, S. Steinerberger 2017 prove 1.28. No value of f * f is above the square of the sum of heights,
        # so no score is above 2 n; transforms err a little.
        "bounds": (1.28, 2.001 * MOST_HEIGHTS),
        "known_best": (
            KnownBest(value=1.5028609073611405, source="EinsteinArena, April 2026"),
            KnownBest(value=1.502862898255827, source="TTT-Discover, 30,000 steps", exact=True),
            KnownBest(value=1.5032, source="AlphaEvolve, second paper; 1.5053 in the first"),
            KnownBest(value=1.50973, source="Matolcsi, Vinuesa 2010: 0.75486 in their units"),
        ),
        "reference": (
            "600 steps: descents of 100 steps from random starts, refined by linear programs",
            "1.5067424231503876385",
        ),
    },
    "2": {
        "score": second_score,
        "direction": "maximize",
        "bounds": (0.0, 1.0),  # Hoelder's inequality
        "known_best": (
            KnownBest(value=0.96269, source="SimpleTES, arXiv 2604.19341 (claimed); EinsteinArena: 0.96264"),
            KnownBest(value=0.9591797711482711, source="TTT-Discover, 50,000 steps", exact=True),
            KnownBest(value=0.96102, source="AlphaEvolve, second paper; 0.8962 in the first"),
            KnownBest(value=0.88922, source="Matolcsi, Vinuesa 2010"),
        ),
        "reference": ("100 steps: quasi-Newton ascent from random starts", "0.90475426163424830151"),
    },
    "3": {
        "score": third_score,
        "direction": "minimize",
        # The integral of f * f over an interval of length 1 is the square of that of f; and no height cancels further.
        "bounds": (1.0, 2.001 * MOST_HEIGHTS / LEAST_SUM**2),
        "known_best": (
            KnownBest(value=1.4536754655951833, source="SimpleTES, arXiv 2604.19341, 400 steps", exact=True),
            KnownBest(value=1.4540, source="EinsteinArena"),
            KnownBest(value=1.4556427953745406, source="AlphaEvolve"),
            KnownBest(value=1.4581, source="Vinuesa 2009"),
        ),
        "reference": ("200 steps: quasi-Newton descent, then linear programs", "1.4699852469289633698"),
    },
}


def draw_convolution(heights, axes):
    """Draw a step function on [-1/4, 1/4] and its convolution with itself, both by their means."""
    row = np.asarray(heights, dtype=float)
    row = row / (math.fsum(row) / len(row))
    axes.stairs(
        row, np.linspace(-0.25, 0.25, len(row) + 1), fill=True, color="#9ecae1", label="f by its mean"
    )
    found = np.concatenate([[0.0], convolved(row), [0.0]]) * 2 / len(row)
    axes.plot(
        np.linspace(-0.5, 0.5, len(found)), found, color="#c0392b", linewidth=1.2, label="f * f by its mean"
    )
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    axes.set_xlim(-0.5, 0.5)
    axes.set_title(f"{len(row)} steps, f * f at most {found.max():.9f} times its mean")


@family("autocorrelation")
def autocorrelation(variant):
    if variant not in VARIANTS:
        raise ValueError(f"the inequalities are 1, 2 and 3, not {variant!r}")
    which = VARIANTS[variant]
    source, exact = which["reference"]

    @problem(
        name=f"autocorrelation-{variant}",
        variant=variant,
        direction=which["direction"],
        bounds=which["bounds"],
        limits=Limits(wall_s=30.0),
        scorer_timeout_s=90.0,
        packages=("numpy",),
        known_best=which["known_best"],
        references=Reference(file=f"reference-{variant}.json", source=source, exact=exact),
        parameters={"inequality": int(variant)},
        cost_s=0.004,
        domain="analysis",
        picture=draw_convolution,
    )
    def score(program):
        low = -LARGEST if variant == "3" else 0
        given = step_heights(program.call("solve"), most=MOST_HEIGHTS, low=low, high=LARGEST)
        heights = np.array(given, dtype=float)
        # By a power of two, which rounds nothing: squares of tiny heights would be zero.
        scaled = np.ldexp(heights, -int(np.frexp(np.abs(heights).max())[1]))
        found = convolved(scaled)
        value = which["score"](scaled, found)
        sizes = np.abs(found)
        worst = int(sizes.argmax())
        near = int((sizes > sizes[worst] * 0.999).sum())
        feedback = (
            f"f * f is largest at {(worst + 1) / len(heights) / 2 - 0.5:+.6g}; "
            f"{near} of its {len(found)} values are within 0.1 % of that."
        )
        metrics = {"steps": len(heights), "zero_steps": int((heights == 0).sum())}
        return Score(value=value, metrics=metrics, feedback=feedback, artifact=heights.tolist())

    return score

"""A model of the score in few dimensions, for a step straight to where it is best.

Where as many points are known as a round bowl needs, its bottom is solved for. The score is taken to fall with the
squared distance from some optimum: ``score(x) = score(x0) - a (|x - x0|^2 - 2 u.(x - x0))``, which is linear in
``u``, the way to the optimum, and in ``1 / a``. Close points weigh more: far away few scores are quadratic. Some of the
points are left out of the fit and must be predicted; a model that fails at that makes no step. So it costs
little where the landscape is no bowl, and finds the bottom in a few steps where it is one.

Source: the use of quadratic models within evolution strategies follows lq-CMA-ES, N. Hansen, "A Global Surrogate
Assisted CMA-ES", GECCO 2019; the round model and its check are ours.
"""

from __future__ import annotations

import math
import random

import numpy as np

from discovery.generation.family import Floats

_LEFT_OUT = 0.2
"""Share of the points that the model must predict."""
_REACH = 2.0
"""Longest step over the distance of the farthest point."""
_WORST = 0.5
"""Largest error of a prediction, over what a guess without a model makes."""


def identifiable(points: int, dimensions: int) -> bool:
    """Whether so many points beside the best one can tell where the bottom is, and check it."""
    return points * (1.0 - _LEFT_OUT) >= dimensions + 1


def way(offsets: Floats, differences: Floats, rng: random.Random) -> Floats | None:
    """The step to where the model is best.

    Args:
        offsets: Points less the one to start from, one row each.
        differences: Their scores less its own, as keys that grow with quality.
        rng: Draws what is left out, and the regularisation.

    Returns:
        A step, or None where the model says nothing or predicts badly.
    """
    squared = np.einsum("ij,ij->i", offsets, offsets)
    scale = float(np.max(np.abs(differences), initial=0.0))
    kept = [i for i in range(len(squared)) if 0 < squared[i] < math.inf]
    if not (0 < scale < math.inf) or len(kept) < 3:
        return None
    tested = rng.sample(kept, max(1, round(_LEFT_OUT * len(kept))))
    fitted = [i for i in kept if i not in tested]
    farthest = float(squared[kept].max())
    # Unknowns: the way u, and farthest / (a scale).
    design = np.column_stack((2.0 * offsets, -differences / scale * farthest))
    weights = 1.0 / (squared + squared[kept].min())
    solution = _ridge(design[fitted], squared[fitted], weights[fitted], 10.0 ** rng.uniform(-9.0, -2.0))
    if solution is None or not solution[-1] > 0:
        return None
    step, inverse = solution[:-1], solution[-1] * farthest / scale
    predicted = (2.0 * offsets[tested] @ step - squared[tested]) / inverse
    error = np.abs(predicted - differences[tested]).mean()
    guessed = np.abs(differences[tested] - np.median(differences[fitted])).mean()
    if not error <= _WORST * guessed:
        return None
    length, reach = float(np.linalg.norm(step)), _REACH * math.sqrt(farthest)
    if not 0 < length < math.inf:
        return None
    shortened: Floats = step * min(1.0, reach / length)
    return shortened


def _ridge(design: Floats, target: Floats, weights: Floats, ridge: float) -> Floats | None:
    rows = design * weights[:, None]
    norms = np.sqrt(np.einsum("ij,ij->j", rows, rows))
    norms[norms == 0] = 1.0
    rows /= norms
    try:
        dual = np.linalg.solve(rows @ rows.T + ridge * np.eye(len(rows)), target * weights)
    except np.linalg.LinAlgError:
        return None
    solution: Floats = rows.T @ dual / norms
    return solution if bool(np.isfinite(solution).all()) else None

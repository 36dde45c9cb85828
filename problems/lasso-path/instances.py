"""Instances of the lasso path, and the gap that says how far an answer is from the best."""

import struct
from dataclasses import dataclass

import numpy as np

from discovery import Invalid

LAMBDAS = 50
SMALLEST = 1e-2
"""Of the lambdas, as a part of the largest."""
NOISE = 0.1
PER_ROW = 20
"""Entries of a row of a sparse design that are not zero."""
SEED = 732_051_807
"""Of all instances, beside what they are of."""
TOLERANCE = 1e-6
"""How far an objective may be from the best, which is at most 0.5."""
LARGEST = 1e9
"""Of a coefficient."""


@dataclass(frozen=True)
class Case:
    """A kind of instance: its design and its size, and how many of its true coefficients are not zero.

    ``count`` of them are in a run: so many that each kind takes the plain solver about as long as the others.
    """

    design: str
    n: int
    p: int
    support: int
    correlation: float = 0.0
    strength: float = 1.0
    count: int = 1

    @property
    def name(self):
        tail = f" {self.correlation:g}" if self.correlation else ""
        return f"{self.design}{tail} {self.n}x{self.p}"


@dataclass(frozen=True)
class Instance:
    """A design x of shape (n, p), observations y of shape (n,), lambdas from large to small."""

    x: np.ndarray
    y: np.ndarray
    lambdas: np.ndarray

    def packed(self):
        n, p = self.x.shape
        sizes = struct.pack("<iii", n, p, len(self.lambdas))
        return sizes + b"".join(part.astype("<f8").tobytes() for part in (self.x, self.y, self.lambdas))


CASES = (
    Case("gaussian", 60, 200, 10, count=5),
    Case("gaussian", 250, 40, 4, count=8),
    Case("gaussian", 40, 200, 10, count=2),
    Case("sparse", 150, 100, 4, strength=2.0, count=7),
    Case("sparse", 100, 150, 6, strength=2.0, count=5),
    Case("dense solution", 80, 120, 24, count=3),
    Case("correlated", 100, 120, 6, 0.5, count=8),
    Case("correlated", 100, 100, 5, 0.9, count=4),
)


def instance(case, *seed):
    """The instance of a case that a seed of whole numbers makes; observations have mean square 1."""
    rng = np.random.default_rng([SEED, *seed])
    x = design(case, rng)
    w = np.zeros(case.p)
    w[rng.choice(case.p, case.support, replace=False)] = case.strength * rng.standard_normal(case.support)
    y = x @ w + NOISE * rng.standard_normal(case.n)
    y /= np.sqrt(np.mean(y**2))
    largest = np.abs(x.T @ y).max() / case.n
    return Instance(x, y, largest * np.geomspace(1.0, SMALLEST, LAMBDAS))


def design(case, rng):
    """A random design of the case's kind."""
    z = rng.standard_normal((case.n, case.p))
    if case.design == "sparse":
        kept = np.argsort(rng.random((case.n, case.p)), axis=1)[:, :PER_ROW]
        x = np.zeros((case.n, case.p))
        np.put_along_axis(x, kept, np.take_along_axis(z, kept, axis=1), axis=1)
        deviation = x.std(axis=0)
        return x / np.where(deviation > 0, deviation, 1.0)
    if case.correlation:
        # Columns j and k have the correlation rho^|j-k|.
        new = np.sqrt(1 - case.correlation**2)
        for j in range(1, case.p):
            z[:, j] = case.correlation * z[:, j - 1] + new * z[:, j]
    return z


def gaps(instance, w):
    """For each lambda, an upper bound of what the objective at w is above the best.

    The dual point is the residual, scaled as is best of what is feasible: any feasible one bounds the best from below.

    Args:
        instance: Of n observations, p coefficients, L lambdas.
        w: Coefficients, shape (p, L), finite.
    """
    n = len(instance.y)
    y = instance.y[:, None]
    residual = y - instance.x @ w
    squares, products = np.sum(residual**2, axis=0), np.sum(residual * y, axis=0)
    objective = squares / (2 * n) + instance.lambdas * np.sum(np.abs(w), axis=0)
    steepest = np.max(np.abs(instance.x.T @ residual), axis=0)
    most = n * instance.lambdas / np.maximum(steepest, np.finfo(float).tiny)
    scale = np.clip(products / np.maximum(squares, np.finfo(float).tiny), -most, most)
    return objective - (2 * scale * products - scale**2 * squares) / (2 * n)


def read_paths(output, instances):
    """The coefficients that a program wrote for each of its instances, shapes (p, L).

    Raises:
        Invalid: They are too few or too many, or not finite, or beyond all reason.
    """
    sizes = [instance.x.shape[1] * len(instance.lambdas) for instance in instances]
    wanted = 8 * sum(sizes)
    if len(output) != wanted:
        raise Invalid(f"wrote {len(output)} bytes; expected {wanted}: 8 for each coefficient at each lambda")
    numbers = np.frombuffer(output, dtype="<f8")
    if not np.all(np.isfinite(numbers)):
        raise Invalid(f"coefficient {int(np.argmin(np.isfinite(numbers)))} of the output is not finite")
    if not np.all(np.abs(numbers) <= LARGEST):
        raise Invalid(f"coefficient {int(np.argmax(np.abs(numbers)))} of the output is beyond {LARGEST:g}")
    parts = np.split(numbers, np.cumsum(sizes)[:-1])
    return [
        part.reshape(len(instance.lambdas), -1).T for part, instance in zip(parts, instances, strict=True)
    ]


def check(instances, paths, names):
    """Hold every answer of a run to the tolerance; the largest gap of all.

    Raises:
        Invalid: One is further from the best than that; says which one, and by how much.
    """
    worst = 0.0
    for k, (each, path, name) in enumerate(zip(instances, paths, names, strict=True)):
        found = gaps(each, path)
        if not np.all(found <= TOLERANCE):
            first = int(np.argmin(found <= TOLERANCE))
            raise Invalid(
                f"problem {k} ({name}), lambda {first} of {len(found)}: the duality gap is {found[first]:.3g}; "
                f"at most {TOLERANCE:g} is accepted"
            )
        worst = max(worst, float(found.max()))
    return worst

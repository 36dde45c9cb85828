"""Matrices of order 29 with entries of 1 and -1 and the largest determinant, in whole numbers.

The determinant is a whole number of 70 bits, so no float decides anything: fraction-free elimination on Python's
integers takes milliseconds, and a singular matrix has the determinant 0 exactly.
"""

from discovery import Invalid, KnownBest, Limits, Reference, Score, problem
from discovery.exact import integer_rows

ORDER = 29
FULL = 342 * 7**12 * 2**28
"""What determinants are divided by, and the least value that is not known to be out of reach."""


def draw(artifact, axes):
    """The matrix, dark where it is -1."""
    axes.imshow(artifact, cmap="gray", vmin=-1.5, vmax=1.2, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


@problem(
    name="maximal-determinant-29",
    # Barba 1933: no determinant of odd order n exceeds sqrt(2n - 1) (n - 1)^((n - 1) / 2), 1.0817 of FULL at 29.
    bounds=(0.0, 1.0818),
    limits=Limits(wall_s=10.0),
    packages=("numpy",),
    known_best=KnownBest(
        value=320 / 342,
        source="W. Orrick and B. Solomon, table of maximal determinants: 320 * 7^12 * 2^28; also SimpleTES, "
        "arXiv 2604.19341",
    ),
    references=Reference(
        file="reference.json",
        source="the record's determinant, rebuilt: blocks with constant sums of rows, and a symmetry of order 9",
        exact="0.93567251461988304094",
    ),
    cost_s=0.03,
    domain="combinatorics",
    picture=draw,
)
def score(program):
    rows = integer_rows(program.call("solve"), "row", least=ORDER, most=ORDER, width=ORDER, low=-1, high=1)
    for i, row in enumerate(rows):
        if 0 in row:
            raise Invalid(f"row {i}, value {row.index(0)} is 0; expected 1 or -1")
    size = abs(determinant(rows))
    return Score(
        value=size / FULL,
        metrics={"largest_overlap": largest_overlap(rows)},
        feedback=f"The determinant is {size} in size"
        + (" (the matrix is singular)." if not size else f"; the best known is {320 * 7**12 * 2**28}."),
        artifact=rows,
    )


def determinant(rows):
    """By fraction-free elimination. Source: E. H. Bareiss, Mathematics of Computation 22, 1968."""
    left = [list(row) for row in rows]
    sign, before = 1, 1
    for step in range(len(left) - 1):
        pivot = next((i for i in range(step, len(left)) if left[i][step]), None)
        if pivot is None:
            return 0
        if pivot != step:
            left[step], left[pivot], sign = left[pivot], left[step], -sign
        top = left[step]
        for i in range(step + 1, len(left)):
            row, first = left[i], left[i][step]
            left[i] = [
                0 if j <= step else (top[step] * row[j] - first * top[j]) // before for j in range(len(row))
            ]
        before = top[step]
    return sign * left[-1][-1]


def largest_overlap(rows):
    """The largest size of a product of two rows; 1 at best, as their length is odd."""
    return max(
        abs(sum(a * b for a, b in zip(row, other, strict=True)))
        for i, row in enumerate(rows)
        for other in rows[:i]
    )

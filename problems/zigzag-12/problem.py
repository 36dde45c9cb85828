"""A zigzag of 12 digits: one size of a family that a very small model can work on."""

from discovery import KnownBest, Limits, Score, problem
from discovery.sequences import digits, zigzag

DIGITS = 12


@problem(
    name="zigzag-12",
    bounds=(0.0, 1.0),
    limits=Limits(wall_s=5.0),
    known_best=KnownBest(value=1.0, source="by construction: 0, 9, 0, 9 and so on", exact=True),
    domain="synthetic",
)
def score(program):
    row = digits(program.call("solve"), DIGITS)
    found = zigzag(row)
    return Score(value=found.value, metrics={"turns": found.turns}, artifact=list(row))

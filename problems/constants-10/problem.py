"""Ten hidden constants to find: the cheapest real search, for tests and benchmarks.

The landscape is unimodal and separable, so greed is right on it and every evaluation counts.
The scorer costs microseconds: what a run takes beside them is the system's own cost.
"""

import math

from discovery import Invalid, KnownBest, Limits, Score, problem

# Drawn once, uniformly from [-5, 5], four decimals.
HIDDEN = (4.2504, -2.1066, 3.2555, -3.5229, 3.8038, -0.3249, 2.8121, -1.0247, 2.1403, 4.2222)
LARGEST = 1000


@problem(
    name="constants-10",
    bounds=(0.0, 1.0),
    limits=Limits(wall_s=5.0),
    known_best=KnownBest(value=1.0, source="by construction: all ten constants found", exact=True),
    domain="synthetic",
)
def score(program):
    values = _numbers(program.call("solve"))
    error = math.fsum((a - b) ** 2 for a, b in zip(values, HIDDEN, strict=True))
    return Score(
        value=1.0 / (1.0 + error),
        metrics={"squared_error": error},
        feedback=f"The squared error is {error!r}.",
        artifact=values,
    )


def _numbers(data):
    if hasattr(data, "tolist"):
        data = data.tolist()
    if not isinstance(data, list):
        raise Invalid(f"solve() returned a {type(data).__name__}; expected a list of {len(HIDDEN)} numbers")
    if len(data) != len(HIDDEN):
        raise Invalid(f"solve() returned {len(data)} values; expected {len(HIDDEN)} numbers")
    for index, value in enumerate(data):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Invalid(f"value {index} is a {type(value).__name__}; expected a number")
        # Written so that NaN fails it too.
        if not -LARGEST <= value <= LARGEST:
            raise Invalid(f"value {index} is not between {-LARGEST} and {LARGEST}")
    return [float(value) for value in data]

"""The bundled problems: their initial candidates, references, bounds, and wrong solutions."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from discovery.errors import Invalid
from discovery.plugins import load_problem
from discovery.program import Program

FOLDER = Path(__file__).parents[3] / "problems"
PACKINGS = ("circle-packing-26", "circle-packing-32")
ZIGZAGS = {f"zigzag-{count}": count for count in (8, 12, 16, 20, 24)}


class Returns:
    """A channel whose program returns one value, whatever is called."""

    def __init__(self, value):
        self.value = value
        self.called = []

    def call(self, function, args, kwargs, timeout_s):
        self.called.append(function)
        return self.value

    def run(self, args, stdin, timeout_s):
        raise AssertionError("these problems call functions")


def scored(problem, value):
    channel = Returns(value)
    score = problem.checked(problem.scorer(Program("", channel)))
    assert channel.called == [problem.settings.entry]
    assert problem.in_bounds(score.value)
    json.dumps([dict(score.metrics), dict(score.private), score.artifact], allow_nan=False)
    return score


def initial(problem):
    names = {}
    exec(problem.initial, names)
    return names[problem.settings.entry]()


def reference(name):
    return json.loads((FOLDER / name / "reference.json").read_text())


@pytest.mark.parametrize("name", [*PACKINGS, "constants-10", *ZIGZAGS])
def test_the_initial_candidate_is_valid_and_far_from_the_best(name):
    problem = load_problem(name)
    solution = initial(problem)
    assert initial(problem) == solution
    best = max(known.value for known in problem.settings.known_best)
    assert 0 < scored(problem, solution).value < 0.75 * best
    assert problem.frame.blocks >= 1
    assert "import numpy" not in problem.initial


@pytest.mark.parametrize(
    ("name", "least"),
    [(PACKINGS[0], 2.63), (PACKINGS[1], 2.93), ("constants-10", 1.0), *((name, 1.0) for name in ZIGZAGS)],
)
def test_the_reference_is_valid_and_not_above_the_best_known(name, least):
    problem = load_problem(name)
    score = scored(problem, reference(name))
    assert least <= score.value <= max(known.value for known in problem.settings.known_best)
    assert score.metrics.get("shrunk_by", 0.0) == 0.0
    # What is stored scores the same again.
    assert scored(problem, score.artifact).value == score.value


@pytest.mark.parametrize("name", PACKINGS)
def test_no_packing_is_above_the_declared_bound(name):
    problem = load_problem(name)
    count = int(name[-2:])
    assert problem.settings.bounds == (0.0, math.sqrt(count / math.pi))
    assert scored(problem, [[0.5, 0.5, 0.0]] * count).value == 0.0


@pytest.mark.parametrize("name", PACKINGS)
def test_overlap_gains_nothing(name):
    problem = load_problem(name)
    rows = reference(name)
    honest = scored(problem, rows).value
    for inflation in (1e-15, 1e-13, 1e-12, 1e-9, 1e-7, 4e-7):
        cheat = scored(problem, [[x, y, r + inflation] for x, y, r in rows])
        assert cheat.value <= honest + 1e-13
        assert cheat.metrics["shrunk_by"] > 0
        assert ("shrunk" in cheat.feedback) == (cheat.metrics["shrunk_by"] > 1e-12)
    with pytest.raises(Invalid, match="at most 1e-06 is shrunk away"):
        scored(problem, [[x, y, r + 1e-3] for x, y, r in rows])


@pytest.mark.parametrize("name", PACKINGS)
def test_wrong_packings_are_rejected(name):
    problem = load_problem(name)
    rows = reference(name)
    wrong = [
        [*rows, [0.5, 0.5, 0.0]],
        rows[:-1],
        np.array(rows)[:, :2],
        np.array(rows).ravel(),
        [[str(v) for v in row] for row in rows],
        {"circles": rows},
        [[x, y, -r] for x, y, r in rows],
        [[x, y, True] for x, y, _ in rows],
        [[x, y, 10**400] for x, y, _ in rows],
        [[x + 1.0, y, r] for x, y, r in rows],
        [[x, y, 1.0] for x, y, _ in rows],
        sum(r for _, _, r in rows),
        None,
    ]
    for data in wrong:
        with pytest.raises(Invalid):
            scored(problem, data)


def test_all_constants_found_score_one():
    score = scored(load_problem("constants-10"), np.array(reference("constants-10")))
    assert score.value == 1.0
    assert score.metrics["squared_error"] == 0.0


def test_the_constants_score_is_what_the_statement_says():
    problem = load_problem("constants-10")
    off = reference("constants-10")
    off[3] += 0.5
    off[7] -= 1.0
    assert scored(problem, off).value == pytest.approx(1 / (1 + 1.25), rel=1e-12)


def test_the_statement_tells_no_constant():
    problem = load_problem("constants-10")
    for constant in reference("constants-10"):
        assert str(abs(constant)) not in problem.statement + problem.initial


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "returned a NoneType"),
        ("0123456789", "returned a str"),
        ([0.0] * 9, "returned 9 values"),
        ([0.0] * 11, "returned 11 values"),
        ([0.0] * 9 + ["4"], "value 9 is a str"),
        ([0.0] * 9 + [True], "value 9 is a bool"),
        ([[0.0]] * 10, "value 0 is a list"),
        ([math.nan] * 10, "value 0 is not between"),
        ([0.0] * 9 + [1e200], "value 9 is not between"),
        ([-(10**400)] * 10, "value 0 is not between"),
        (np.zeros((2, 5)), "returned 2 values"),
        (np.zeros(10, dtype=bool), "value 0 is a bool"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_constants_are_rejected_with_the_reason(data, reason):
    with pytest.raises(Invalid, match=reason):
        scored(load_problem("constants-10"), data)


def test_there_is_one_zigzag_of_each_size_and_they_differ_in_that_only():
    told = {name: load_problem(name) for name in ZIGZAGS}
    for name, count in ZIGZAGS.items():
        problem = told[name]
        assert problem.name == name
        assert problem.statement.replace(str(count), "N") == told["zigzag-8"].statement.replace("8", "N")
        assert len(initial(problem)) == len(reference(name)) == count
        with pytest.raises(Invalid, match=f"returned {count + 1} values; expected {count} digits"):
            scored(problem, [0] * (count + 1))


def test_a_zigzag_counts_what_the_statement_says():
    problem = load_problem("zigzag-8")
    # Steps: +2 counts, -1 counts, -3 does not turn, 0 is level, +5 follows a level one, -5 counts, +9 counts.
    score = scored(problem, [2, 4, 3, 0, 0, 5, 0, 9])
    assert score.value == (4 + 1 + 25 + 81) / (7 * 81)
    assert score.metrics == {"turns": 4}

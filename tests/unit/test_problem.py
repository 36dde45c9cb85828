"""Declaring problems: limits, defaults, what a scorer may return, and all faults at once."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.blocks import START
from discovery.declared import Feature, KnownBest, Limits, Objective, Repeats
from discovery.errors import ProblemError
from discovery.problem import DeclarationError, problem
from discovery.program import Program, ProgramOutput
from discovery.records import Direction, Score

SIZE = Feature("size", 0, 1)
INITIAL = "def solve():\n    return 1\n"


def declare(scorer=lambda program: 0.0, **changes):
    return problem(**{"name": "toy", "statement": "Do it.", "initial": INITIAL, **changes})(scorer)


def faults_of(**changes):
    with pytest.raises(DeclarationError) as caught:
        declare(**changes)
    return caught.value.faults


def test_a_declaration_has_its_defaults():
    toy = declare()
    assert (toy.name, toy.statement, toy.initial) == ("toy", "Do it.", INITIAL)
    assert toy.direction is Direction.MAXIMIZE
    assert toy.settings.limits == Limits()
    assert toy.path.name == "test_problem.py"
    assert toy.frame.blocks == 0
    assert toy.settings.deterministic


def test_lists_and_single_values_are_taken_as_tuples():
    known = KnownBest(value=1.0, source="someone")
    toy = declare(known_best=known, packages=["numpy"], command=["sh", "{program}"], bounds=[0, None])
    assert toy.settings.known_best == (known,)
    assert toy.settings.packages == ("numpy",)
    assert toy.settings.command == ("sh", "{program}")
    assert toy.settings.bounds == (0, None)
    assert declare(known_best=[known, known]).settings.known_best == (known, known)


@pytest.mark.parametrize(
    "name", ["wall_s", "memory_bytes", "processes", "file_bytes", "result_bytes", "cpu_s"]
)
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "1", True, [1]], ids=repr)
def test_a_limit_is_a_positive_number(name, value):
    with pytest.raises(ProblemError, match=f"limit {name} is"):
        Limits(**{name: value})


@pytest.mark.parametrize("name", ["memory_bytes", "processes", "file_bytes", "output_bytes", "result_bytes"])
def test_what_the_kernel_counts_is_whole(name):
    with pytest.raises(ProblemError, match=f"limit {name} is 2000000000.0; .* whole number"):
        Limits(**{name: 2e9})


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        (Limits(), 10),
        (Limits(wall_s=0.1), 1),
        (Limits(wall_s=2.1), 3),
        (Limits(cpu_s=0.2), 1),
        (Limits(wall_s=1, cpu_s=7.5), 8),
        (Limits(wall_s=1, cpu_s=4), 4),
    ],
)
def test_cpu_seconds_are_whole_for_the_kernel(limits, seconds):
    assert limits.cpu_limit_s == seconds
    assert type(limits.cpu_limit_s) is int


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "Not Good"}, "the name is 'Not Good'; use lower-case letters, digits and dashes"),
        ({"name": "toy\n"}, "the name is"),
        ({"direction": "up"}, "direction is 'up'; use 'maximize' or 'minimize'"),
        ({"statement": " \n"}, "the statement is empty; say what is asked"),
        ({"initial": ""}, "the initial is empty; write a program"),
        (
            {"initial": {"x": 1}},
            "the initial is of type dict; give one text, or leave it out for a file",
        ),
        (
            {"initial": f"# {START}\n"},
            "the initial candidate's markers: an EVOLVE-BLOCK-START is never closed",
        ),
        ({"entry": "not a name"}, "entry is 'not a name'; it must be the name of a function"),
        ({"bounds": (1, 0)}, "bounds is (1, 0); it must be (lowest, highest) with the lower first"),
        ({"bounds": (0, math.nan)}, "bounds is (0, nan)"),
        ({"bounds": (False, 1)}, "bounds is (False, 1)"),
        ({"bounds": 3}, "bounds is 3"),
        ({"limits": {"wall_s": 1}}, "limits is {'wall_s': 1}; it must be a Limits(...)"),
        ({"language": ""}, "language is ''"),
        ({"command": "python x"}, "command is 'python x'; it must be a list of words or None"),
        ({"command": []}, "command is []"),
        ({"packages": "numpy"}, "packages is 'numpy'; it must be a list of package names"),
        ({"deterministic": 1}, "deterministic is 1; it must be True or False"),
        ({"scorer_timeout_s": 0}, "scorer_timeout_s is 0; it must be a positive number of seconds"),
        ({"scorer_timeout_s": math.inf}, "scorer_timeout_s is inf"),
        ({"known_best": 2.0}, "known_best is 2.0; it must be a KnownBest(...) or a list of them"),
        ({"domain": 1}, "domain is 1"),
        ({"picture": "no"}, "picture is 'no'"),
        ({"features": ["size"]}, "features is ['size']; it must be a Feature(...) or a list of them"),
        ({"features": [SIZE, Feature("size", 2, 3)]}, "features is [Feature(name='size', "),
        ({"objectives": SIZE}, "objectives is Feature("),
        ({"warm_start": "yes"}, "warm_start is 'yes'; it must be True or False"),
        ({"warm_start": True, "language": "text"}, "there is a warm_start, and nothing runs"),
        ({"warm_start": True, "schema": {}}, "there is a warm_start, and nothing runs"),
        ({"bound": (0, 1)}, "unknown setting 'bound'; known: bounds, build"),
    ],
)
def test_a_fault_is_named_with_its_fix(changes, says):
    (fault,) = faults_of(**changes)
    assert fault.startswith(says)


def test_features_and_objectives_are_one_or_several():
    cost = Objective("cost", "minimize")
    settings = declare(features=SIZE, objectives=[cost]).settings
    assert (settings.features, settings.objectives) == ((SIZE,), (cost,))
    assert declare().settings.features == declare().settings.objectives == ()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Feature("", 0, 1), "feature '': the name must be that of a metric"),
        (lambda: Feature("a", 1, 1), "its range is 1 to 1; give two numbers, the lower first"),
        (lambda: Feature("a", 0, math.inf), "its range is 0 to inf"),
        (lambda: Feature("a", 0, 1, bins=1), "bins is 1; it must be a whole number from 2 to 1000"),
        (lambda: Objective(3), "objective 3: it must be the name of a metric"),
        (lambda: Objective("a", "down"), "its direction is 'down'; use 'maximize' or 'minimize'"),
    ],
)
def test_a_wrong_feature_or_objective_says_what_to_give(make, says):
    with pytest.raises(ProblemError) as caught:
        make()
    assert says in str(caught.value)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(2, 1000))
def test_bins_divide_a_features_range_evenly_and_take_in_what_lies_beyond(value, bins):
    feature = Feature("a", -1.0, 3.0, bins=bins)
    place = feature.bin(value)
    assert 0 <= place < bins
    width = 4 / bins
    assert place == 0 or value >= -1 + place * width - 1e-9
    assert place == bins - 1 or value <= -1 + (place + 1) * width + 1e-9
    assert Feature("a", -1e308, 1e308, bins=bins).bin(0.0) == bins // 2


def test_all_faults_are_found_at_once_and_the_rest_still_stands():
    with pytest.raises(DeclarationError, match=r"^problem 'B A D': the name is .* \(and 2 more") as caught:
        declare(name="B A D", direction="up", bounds=5, entry="pack")
    assert len(caught.value.faults) == 3
    assert caught.value.partial.settings.entry == "pack"
    assert caught.value.partial.settings.bounds == (None, None)


def beside(folder, scorer="def score(program):\n    return 0.0\n", **changes):
    """Declare in a file of its own, so that texts are looked for beside it."""
    path = folder / "problem.py"
    path.write_text(scorer)
    space = {"__name__": "plugin"}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return declare(space["score"], **{"statement": None, "initial": None, **changes})


def test_texts_are_read_from_beside_the_file(tmp_path):
    (tmp_path / "statement.md").write_text("Größer ist besser.", encoding="utf-8")
    (tmp_path / "initial.py").write_text(INITIAL)
    toy = beside(tmp_path)
    assert toy.statement == "Größer ist besser."
    assert toy.initial == INITIAL
    assert toy.path == (tmp_path / "problem.py").resolve()


def test_texts_that_are_missing_doubled_or_unreadable_are_faults(tmp_path):
    (tmp_path / "statement.md").write_bytes(b"\xff\xfe")
    (tmp_path / "initial.py").write_text(INITIAL)
    (tmp_path / "initial.c").write_text("int main() {}")
    with pytest.raises(DeclarationError) as caught:
        beside(tmp_path)
    statement, initial = caught.value.faults
    assert "statement.md cannot be read" in statement
    assert initial == "several files match initial.*: initial.c, initial.py; keep one"
    (tmp_path / "statement.md").unlink()
    with pytest.raises(DeclarationError, match=r"no statement: there is no statement\.md beside"):
        beside(tmp_path, initial=INITIAL)


def test_the_version_changes_with_statement_initial_and_scorer_and_nothing_else(tmp_path):
    def version(**changes):
        return beside(tmp_path, **{"statement": "s", "initial": INITIAL, **changes}).version

    first = version()
    assert version() == first
    (tmp_path / "initial.py").write_text("x = 1")
    (tmp_path / "notes.txt").write_text("x")
    assert version() == first
    changed = {version(statement="t"), version(initial="y = 1\n")}
    (tmp_path / "helper.py").write_text("x = 1")
    changed.add(version())
    (tmp_path / "helper.py").write_text("x = 2")
    changed.add(version())
    (tmp_path / "data-rows.csv").write_text("1,2")
    changed.add(version())
    (tmp_path / "data-rows.csv").write_text("1,3")
    changed.add(version())
    (tmp_path / "prompt.md").write_text("<!-- user -->")
    assert beside(tmp_path, statement="s", initial=INITIAL).template == "<!-- user -->"
    changed.add(version())
    assert len(changed | {first}) == 8


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.array(2.0), np.array([2])]
)
def test_a_scorer_may_return_any_number(value):
    for result in (value, Score(value=value)):
        scored = declare().checked(result)
        assert type(scored.value) is float
        assert scored.value == 2.0


def test_a_score_keeps_all_that_came_with_it():
    score = Score(value=1, metrics={"a": 1}, private={"b": 2}, feedback="good", artifact=[1])
    assert declare().checked(score) == score


@pytest.mark.parametrize("value", [None, "2", True, np.bool_(True), [2], 2j, {"value": 1}], ids=repr)
def test_a_scorer_may_return_nothing_else(value):
    for result in (value, Score(value=value)):
        with pytest.raises(ProblemError, match="return a float or a Score"):
            declare().checked(result)


@pytest.mark.parametrize("feedback", [5, ["a"], b"a"])
def test_feedback_is_text(feedback):
    with pytest.raises(ProblemError, match="as feedback; give text"):
        declare().checked(Score(value=1.0, feedback=feedback))


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        ((None, None), [-1e308, 0.0, 1e308], []),
        ((0, 1), [0.0, 0.5, 1.0], [-1e-300, 1.0000001]),
        ((None, 1), [-1e308, 1.0], [1.1]),
        ((0, None), [0.0, 1e308], [-0.1]),
    ],
)
def test_bounds_include_their_ends_and_never_what_is_not_finite(bounds, inside, outside):
    toy = declare(bounds=bounds)
    assert all(toy.in_bounds(value) for value in inside)
    assert not any(toy.in_bounds(value) for value in [*outside, math.nan, math.inf, -math.inf])


class Recorder:
    def __init__(self):
        self.asked = []

    def call(self, *asked):
        self.asked.append(asked)
        return "returned"

    def run(self, *asked):
        self.asked.append(asked)
        return ProgramOutput(stdout="", stderr="", exit_code=0, wall_s=0.0, cpu_s=None)


def test_a_program_passes_on_what_it_is_asked():
    channel = Recorder()
    program = Program("source", channel)
    assert program.source == "source"
    assert program.call("solve", 1, [2], timeout_s=3.0, n=4) == "returned"
    assert program.run(["a"], stdin="é", timeout_s=5.0).exit_code == 0
    program.run()
    assert channel.asked == [
        ("solve", (1, [2]), {"n": 4}, 3.0),
        (("a",), "é".encode(), 5.0),
        ((), b"", None),
    ]


def test_a_baseline_of_its_own_is_read_from_beside_the_file_and_counts_in_the_version(tmp_path):
    (tmp_path / "statement.md").write_text("Fast.")
    (tmp_path / "initial.py").write_text(INITIAL)
    (tmp_path / "good.py").write_text("def solve():\n    return 2\n")
    shipped = Repeats(count=3, baseline="good.py")
    toy = beside(tmp_path, repeats=shipped)
    assert toy.compared_with == "def solve():\n    return 2\n"
    assert beside(tmp_path, repeats=Repeats(count=3, baseline=True)).compared_with == INITIAL
    (tmp_path / "good.py").write_text("def solve():\n    return 3\n")
    assert beside(tmp_path, repeats=shipped).version != toy.version
    (tmp_path / "good.py").unlink()
    with pytest.raises(DeclarationError) as caught:
        beside(tmp_path, repeats=shipped)
    assert "good.py cannot be read" in caught.value.faults[0]
    with pytest.raises(ProblemError, match="the name of a program's file"):
        Repeats(baseline="")

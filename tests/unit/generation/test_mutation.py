import ast
import math
import random
import statistics
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.generation import edits
from discovery.generation.base import ParentView
from discovery.generation.mutation import _WEIGHTS, Mutation
from discovery.generation.sketch import sketch
from discovery.records import INITIAL, CandidateKey, Direction

TWO_BLOCKS = """\
SEED = 12345
# EVOLVE-BLOCK-START
A = [1, 0.5, -2.0]
# EVOLVE-BLOCK-END
LIMIT = 99.5


def solve(x):
    # EVOLVE-BLOCK-START
    y = x * 2.0 + A[0]
    z = max(y, 3.0)
    if z < 4 and y > -1.5:
        z = z - 1.0
    return z
    # EVOLVE-BLOCK-END
"""
POINTS = """\
# EVOLVE-BLOCK-START
POINTS = [
    (0.5, 0.5, 1.0),
    (0.25, 0.5, 1.0),
    (0.5, 0.75, 2.0),
    (0.125, 0.5, 1.5),
]
HEIGHTS = [0.5, 0.5, 1.0, 1.5, 2.5, 3.5, 4.5]


def solve():
    total = sum(HEIGHTS)
    return total + sum(max(point) for point in POINTS)
# EVOLVE-BLOCK-END
"""
ZEROS = (
    "# EVOLVE-BLOCK-START\ndef solve():\n    return [\n"
    + "        0.0,\n" * 10
    + "    ]\n# EVOLVE-BLOCK-END\n"
)


def parent(source, score=1.0, key=INITIAL):
    return ParentView(key=key, source=source, score=score, metrics={})


def trail_of(*pairs):
    """Views of programs with their scores, one step after the other."""
    return tuple(
        parent(source, score, CandidateKey(0, step, 0)) for step, (source, score) in enumerate(pairs, 1)
    )


def zeros_with(values):
    return ZEROS.replace("        0.0,\n" * 10, "".join(f"        {value!r},\n" for value in values))


@settings(deadline=None)
@given(seeds=st.lists(st.integers(0, 2**63), min_size=12, max_size=12, unique=True))
def test_programs_stay_framed_new_and_valid(problem_of, seeds):
    problem = problem_of(TWO_BLOCKS)
    mutation = Mutation(problem)
    family = [TWO_BLOCKS]
    for seed in seeds:
        parents = tuple(parent(source) for source in reversed(family[-3:]))
        text, operator = mutation.propose(parents, seed)
        assert operator
        assert text != parents[0].source
        frame = problem.frame
        assert frame.fill(frame.contents(text)) == text
        ast.parse(text)
        family.append(text)


@given(seed=st.integers(0, 2**48), order=st.permutations(range(5)))
def test_equal_seeds_give_equal_programs_whatever_came_before(problem_of, seed, order):
    parents = (parent(TWO_BLOCKS), parent(TWO_BLOCKS.replace("0.5", "0.75")))
    fresh = {i: Mutation(problem_of(TWO_BLOCKS)).propose(parents, seed + i) for i in range(5)}
    used = Mutation(problem_of(TWO_BLOCKS))
    assert {i: used.propose(parents, seed + i) for i in order} == fresh


@pytest.mark.parametrize("source", ["return x\n", "\n", "", "x\n\n\n"])
def test_a_program_without_anything_to_change_still_changes(problem_of, source):
    initial = f"# EVOLVE-BLOCK-START\n{source}# EVOLVE-BLOCK-END\n"
    mutation = Mutation(problem_of(initial, language="text"))
    family = initial
    for seed in range(5):
        text, _ = mutation.propose((parent(family),), seed)
        assert text != family
        assert text.startswith("# EVOLVE-BLOCK-START\n" + source.rstrip("\n"))
        family = text


def test_a_program_without_markers_changes_as_a_whole(problem_of):
    initial = "def solve():\n    return 0.5\n"
    texts = {Mutation(problem_of(initial)).propose((parent(initial),), seed)[0] for seed in range(50)}
    assert initial not in texts
    assert len(texts) > 40


def test_every_operator_is_drawn_where_it_has_something_to_go_by(problem_of):
    mutation = Mutation(problem_of(POINTS))
    rng = random.Random(0)
    numbers = sketch(POINTS, "python")
    variants = [
        numbers.with_numbers([repr(literal.value + rng.gauss(0, 0.1)) for literal in numbers.literals])
        for _ in range(17)
    ]
    parents = (
        parent(variants[0], 100.0),
        parent(variants[1], 99.0),
        parent(POINTS.replace("sum", "max"), 98.0),
    )
    trail = trail_of(*((source, float(score)) for score, source in enumerate(variants[2:])))
    drawn = {mutation.propose(parents, seed, trail)[1] for seed in range(600)}
    assert drawn == {*_WEIGHTS} - {"modelled"}
    alone = {mutation.propose(parents[:1], seed)[1] for seed in range(300)}
    assert alone == {"wide", "nudged", "relocated", "swapped", "raised", "edit"}


@given(seed=st.integers(0, 2**48), count=st.integers(0, 16), order=st.permutations(range(4)))
def test_equal_trails_give_equal_programs_whatever_came_before(problem_of, seed, count, order):
    rng = random.Random(seed)
    shown = [(zeros_with([rng.gauss(0, 1) for _ in range(10)]), rng.random()) for _ in range(count)]
    parents, trail = (parent(ZEROS, 0.9),), trail_of(*shown)
    fresh = {i: Mutation(problem_of(ZEROS)).propose(parents, seed + i, trail) for i in range(4)}
    used = Mutation(problem_of(ZEROS))
    used.propose((*parents, *trail), seed)
    assert {i: used.propose(parents, seed + i, trail) for i in order} == fresh


@pytest.mark.parametrize("direction", Direction)
def test_learns_nothing_from_what_is_better_than_the_parents(problem_of, direction):
    mutation = Mutation(problem_of(ZEROS, direction=direction))
    sign = 1.0 if direction is Direction.MAXIMIZE else -1.0
    better = trail_of(*((zeros_with([100.0 + i] * 10), sign * (2.0 + i)) for i in range(16)))
    worse = trail_of(*((zeros_with([100.0 + i] * 10), sign * (-2.0 - i)) for i in range(16)))
    plain = [mutation.propose((parent(ZEROS, sign),), seed) for seed in range(40)]
    assert [mutation.propose((parent(ZEROS, sign),), seed, better) for seed in range(40)] == plain
    assert [mutation.propose((parent(ZEROS, sign),), seed, worse) for seed in range(40)] != plain


@pytest.mark.parametrize(
    "values", [[1e308] * 10, [-1e308, 1e308] * 5, [10**400] * 10, [1e-320] * 10], ids=str
)
def test_numbers_at_the_edges_of_floats(problem_of, values):
    mutation = Mutation(problem_of(ZEROS))
    trail = trail_of(*((zeros_with([*values[:i], *([0.5] * (10 - i))]), 0.1 * i) for i in range(10)))
    for seed in range(200):
        text, _ = mutation.propose((parent(zeros_with(values), 2.0), parent(ZEROS, 1.5)), seed, trail)
        ast.parse(text)
        assert "inf" not in text
        assert "nan" not in text


def test_steps_are_as_narrow_as_those_that_succeeded(problem_of):
    mutation = Mutation(problem_of(POINTS))
    numbers = len(sketch(POINTS, "python").literals)

    def moved(count):
        """How many numbers a proposal changes after steps that each changed so many."""
        trail = []
        values = [literal.value for literal in sketch(POINTS, "python").literals]
        for step in range(10):
            values = [v + 0.01 if (i - step) % numbers < count else v for i, v in enumerate(values)]
            trail.append((sketch(POINTS, "python").with_numbers([repr(v) for v in values]), float(step)))
        views = trail_of(*trail)
        names = [mutation.propose(views[-1:], seed, views)[1] for seed in range(300)]
        return sum(name in ("nudged", "relocated", "swapped", "wide") for name in names)

    assert moved(1) > 1.5 * moved(numbers)


def test_steps_have_the_size_of_the_parents_distance(problem_of):
    mutation = Mutation(problem_of(ZEROS))
    scales = []
    for distance in (1.0, 1e-3):
        other = ZEROS.replace("0.0", repr(distance))
        steps = []
        for seed in range(300):
            text, operator = mutation.propose((parent(ZEROS), parent(other)), seed)
            if operator == "adapted":
                steps += [abs(x.value) for x in sketch(text, "python").literals if x.value]
        scales.append(statistics.median(steps))
    assert 300 < scales[0] / scales[1] < 3000


@pytest.mark.parametrize("direction", Direction)
def test_mostly_changes_the_best_parent_shown(problem_of, direction):
    mutation = Mutation(problem_of(ZEROS, direction=direction))
    far = ZEROS.replace("0.0", "500.0")
    main, other = parent(ZEROS, 1.0), parent(far, 2.0)
    near_other = 0
    for seed in range(200):
        text, operator = mutation.propose((main, other), seed)
        if operator == "wide":
            near_other += statistics.median(x.value for x in sketch(text, "python").literals) > 400
    wide = sum(mutation.propose((main, other), seed)[1] == "wide" for seed in range(200))
    assert wide > 10
    assert near_other / wide > 0.7 if direction is Direction.MAXIMIZE else near_other == 0


def test_literals_stay_readable(problem_of):
    mutation = Mutation(problem_of(ZEROS))
    other = ZEROS.replace("0.0", "0.01")
    texts = [mutation.propose((parent(ZEROS), parent(other)), seed)[0] for seed in range(100)]
    digits = [len(number) for text in texts for number in text.split() if number[0].isdigit()]
    assert statistics.mean(digits) < 10


def test_finds_ten_constants(problem_of):
    """The search figure in small: greedy on the three best, four candidates a step, a quarter of its evaluations."""
    errors = []
    for run in range(3):
        hidden = [math.sin(37.0 * run + 11.0 * i) * 5 for i in range(10)]
        errors.append(search(Mutation(problem_of(ZEROS)), hidden, run))
    assert statistics.median(errors) <= 1e-4


def search(mutation, hidden, run, steps=62):
    def score(source):
        values = [literal.value for literal in sketch(source, "python").literals]
        if len(values) != 10:
            return -1.0
        return 1.0 / (1.0 + sum((a - b) ** 2 for a, b in zip(values, hidden, strict=True)))

    best = [parent(ZEROS, score(ZEROS))]
    for step in range(1, steps + 1):
        trail = tuple(sorted(best, key=lambda view: view.key))
        for i in range(4):
            text, _ = mutation.propose(tuple(best[:3]), run * 10_000 + step * 10 + i, trail)
            best.append(parent(text, score(text), CandidateKey(0, step, i)))
        best = sorted({view.score: view for view in best}.values(), key=lambda view: -view.score)[:16]
    return 1.0 / best[0].score - 1.0


def test_cheap(problem_of):
    body = "".join(f"    x{i} = {i}.5 * math.sin(x{i - 1} + {i}) # {i}\n" for i in range(1, 56))
    source = f"import math\n# EVOLVE-BLOCK-START\ndef solve(x0):\n{body}    return x55\n# EVOLVE-BLOCK-END\n"
    mutation = Mutation(problem_of(source))
    parents = [parent(source)]
    started = time.process_time()
    for seed in range(200):
        text, _ = mutation.propose(tuple(parents[-3:]), seed, tuple(parents[-16:]))
        parents.append(parent(text, float(seed), CandidateKey(0, seed + 1, 0)))
    assert (time.process_time() - started) / 200 < 0.006  # CHEAP


def test_no_parent(problem_of):
    with pytest.raises(ValueError, match="at least one parent"):
        Mutation(problem_of()).propose((), 1)


def test_recombination_takes_blocks_and_lines():
    mine, theirs = ("a = 1\nb = 1\n", "c = 1\n"), ("a = 2\nb = 2\n", "c = 2\n")
    found = {edits.recombined(mine, theirs, "python", random.Random(seed)) for seed in range(200)}
    assert ("a = 2\nb = 2\n", "c = 1\n") in found
    assert ("a = 1\nb = 2\n", "c = 1\n") in found
    assert edits.recombined(mine, mine, "python", random.Random(0)) is None
    assert edits.recombined(("a\n",), ("a\nb\n",), "python", random.Random(0)) is None


def test_edits_swap_move_and_keep_the_syntax():
    text = "x = a + b\ny = x * 2\nif x < y and True:\n    y = min(x, y)\n"
    found = {edits.edited((text,), "python", random.Random(seed)) for seed in range(300)}
    texts = {texts[0] for texts in found if texts is not None}
    for expected in (
        "x = a - b",
        "x <= y",
        "x < y or True",
        "and False",
        "max(x, y)",
        "y = x * 2\nx = a + b",
    ):
        assert any(expected in text for text in texts), expected
    assert all(edits.parses(text) for text in texts)


def test_blocks_inside_functions_are_checked_as_such():
    assert edits.parses("    return x\n")
    assert not edits.parses("    return x +\n")

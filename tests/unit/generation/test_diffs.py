"""Edits do what they say or fail: they are never put where they do not belong."""

import difflib
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from discovery.generation.diffs import MOST_BLOCKS, EditsFailed, edited, holds_edits
from discovery.generation.windows import MOST_PLACES

PROGRAM = """\
import math


def area(radius):
    # The usual formula.
    return math.pi * radius**2


def solve():
    total = 0.0
    for radius in (1.0, 2.0, 3.0):
        total += area(radius)
    return total
"""
LINES = st.sampled_from(
    [
        "",
        "a = 1",
        "b = 2",
        "    a = 1",
        "    return a",
        "def f():",
        "\tx",
        "for i in range(3):",
        "    pass  ",
        "c",
    ]
    + [f"{' ' * (i % 5)}name_{i} = {i * i}" for i in range(12)]
)
PROGRAMS = st.lists(LINES, min_size=1, max_size=14)


def block(search, replace):
    return "\n".join(["<<<<<<< SEARCH", *search, "=======", *replace, ">>>>>>> REPLACE"])


def count(lines, part):
    return sum(lines[at : at + len(part)] == part for at in range(len(lines) - len(part) + 1))


def blocks_between(first, second):
    """Blocks that turn one program into another, each with as many lines around as make it the only place."""
    lines, shift, found = list(first), 0, []
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            continue
        start, end = a + shift, b + shift
        before = after = 0
        while True:
            search = lines[start - before : end + after]
            if any(line.strip() for line in search) and count(lines, search) == 1:
                break
            if start - before == 0 and end + after == len(lines):
                return None
            before, after = min(start, before + 1), min(len(lines) - end, after + 1)
        head, tail = lines[start - before : start], lines[end : end + after]
        found.append((search, [*head, *second[c:d], *tail]))
        lines[start:end] = second[c:d]
        shift += (d - c) - (b - a)
    assert lines == second
    return found


def fails(program, text, match=None, **more):
    with pytest.raises(EditsFailed, match=match) as caught:
        edited(program, text, **more)
    return caught.value


@given(first=PROGRAMS, second=PROGRAMS)
def test_the_edits_between_two_programs_give_the_second(first, second):
    found = blocks_between(first, second)
    assume(found)
    text = "Some words.\n\n" + "\n\nMore words.\n".join(block(*each) for each in found)
    assert edited("\n".join(first) + "\n", text) == "\n".join(second) + "\n"


@given(
    program=PROGRAMS,
    data=st.data(),
    replace=st.lists(LINES, max_size=4),
    spaces=st.integers(0, 4),
    indent=st.sampled_from(["", "  ", "\t"]),
    first=st.none() | st.integers(1, 30),
    blank=st.integers(0, 2),
)
def test_near_misses_are_mended_or_refused_and_never_misapplied(
    program, data, replace, spaces, indent, first, blank
):
    start = data.draw(st.integers(0, len(program) - 1))
    end = data.draw(st.integers(start + 1, len(program)))
    search = program[start:end]
    assume(search[0].strip() and search[-1].strip() and count(program, search) == 1 and search != replace)

    def given_as(lines):
        shown = [indent + line if line.strip() else line for line in lines]
        return shown if first is None else [f"{first + i}: {line}" for i, line in enumerate(shown)]

    wanted = [line + " " * spaces for line in given_as(search)]
    text = block([*[""] * blank, *wanted], [*[""] * blank, *given_as(replace)])
    expected = [*program[:start], *replace, *program[end:]]
    try:
        made = edited("\n".join(program) + "\n", text)
    except EditsFailed:
        return
    # Blank lines come back as they were given: with nothing but what the number leaves of them.
    assert [line.rstrip() for line in made.split("\n")[:-1]] == [line.rstrip() for line in expected]


@given(program=PROGRAMS, search=st.lists(LINES, min_size=1, max_size=5), replace=st.lists(LINES, max_size=3))
def test_what_is_applied_is_the_replacement_in_one_place(program, search, replace):
    """Whatever is taken for the place: as many lines are gone as were searched, and all others are as they were."""
    mark = ["mark = 'a line that nothing else holds'", *replace]
    try:
        made = edited("\n".join(program) + "\n", block(search, mark)).split("\n")[:-1]
    except EditsFailed:
        return
    places = [at for at, line in enumerate(made) if line.strip() == mark[0]]
    assert len(places) == 1
    at = places[0]
    assert [line.strip() for line in made[at : at + len(mark)]] == [line.strip() for line in mark]
    gone = len(program) - (len(made) - len(mark))
    assert 0 < gone <= len(search)
    assert made[:at] == program[:at]
    assert made[at + len(mark) :] == program[at + gone :]


@pytest.mark.parametrize(
    ("begin", "middle", "end"),
    [
        ("<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"),
        ("<<<<<<< search:", "=======", ">>>>>>> replace"),
        ("  <<<<<<<< ORIGINAL", "  ========", "  >>>>>>>> UPDATED"),
        ("<<<<<<<", "=======", ">>>>>>>"),
        ("------- SEARCH", "=======", "+++++++ REPLACE"),
        ("```python\n<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE\n```"),
        ("<<<<<<< SEARCH\n```python", "```\n=======\n```python", "```\n>>>>>>> REPLACE"),
    ],
)
def test_markers_as_models_write_them(begin, middle, end):
    text = f"I change it.\n{begin}\n    total = 0.0\n{middle}\n    total = 1.0\n{end}\nDone."
    assert holds_edits(text)
    assert edited(PROGRAM, text) == PROGRAM.replace("total = 0.0", "total = 1.0")


@pytest.mark.parametrize(
    ("search", "replace", "made"),
    [
        (["total = 0.0"], ["total = 1.0", "extra = 2.0"], "    total = 1.0\n    extra = 2.0\n"),
        (["        total = 0.0  "], ["        total = 1.0"], "    total = 1.0\n"),
        (["10 |     total = 0.0"], ["10 |     total = 1.0"], "    total = 1.0\n"),
        (["", "    total = 0.0", ""], ["", "    total = 1.0", ""], "    total = 1.0\n"),
        (["    total = 0.0"], [], ""),
    ],
)
def test_what_is_mended(search, replace, made):
    assert edited(PROGRAM, block(search, replace)) == PROGRAM.replace("    total = 0.0\n", made)


def test_a_line_remembered_a_little_wrong_is_found_where_one_place_is_like_it():
    search = ["def area(radius):", "    # The usual formula", "    return math.pi * radius**2"]
    made = edited(PROGRAM, block(search, ["def area(radius):", "    return 3.0 * radius**2"]))
    assert "def area(radius):\n    return 3.0 * radius**2\n\n\ndef solve" in made
    twice = PROGRAM + PROGRAM.replace("formula.", "formula!")
    fails(twice, block(search, ["x = 1"]), r"is like the program in 2 places \(lines 4, 17\)")


def test_likeness_does_not_bridge_another_indentation():
    search = ["def area(radius):", "  # The usual formula.", "    return math.pi * radius**2"]
    fails(PROGRAM, block(search, ["x = 1"]), "is nowhere in the program; line 4 of the program is `def area")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("No block at all.", "no SEARCH/REPLACE block"),
        (block(["    gone = 1"], ["x = 1"]), "begins with `gone = 1`, is nowhere"),
        (block([""], ["x = 1"]), "is empty"),
        (block([], ["x = 1"]), "is empty"),
        (block(["    total = 0.0"], ["    total = 0.0"]), "change nothing"),
        (block(["def solve():", "    ...", "    return total"], ["x = 1"]), "leaves lines out"),
        (block(["    total = 0.0"], ["    # ... existing code ...", "    x = 1"]), "leaves lines out"),
        (
            block(["    total = 0.0"], ["    total = 1.0", "    # rest of the code unchanged"]),
            "leaves lines out",
        ),
        ("<<<<<<< SEARCH\na = 1\n>>>>>>> REPLACE", "no line ======="),
        ("<<<<<<< SEARCH\na = 1\n=======\n", "no line >>>>>>> REPLACE"),
        ("<<<<<<< SEARCH\na = 1\n<<<<<<< SEARCH\nb\n", "before the next one begins"),
        ("\n".join([block(["    total = 0.0"], ["    total = 1.0"])] * 2), "block 2 of 2: its SEARCH"),
        ("\n".join([block(["import math"], ["import os"])] * (MOST_BLOCKS + 1)), f"{MOST_BLOCKS} at most"),
        (block(["1: import math", "2: "], ["1: import os", "x"]), "line numbers"),
    ],
)
def test_what_is_refused(text, match):
    fails(PROGRAM, text, match)


def test_several_places_are_refused_whatever_mends_them():
    program = "def f():\n    x = 1\ndef g():\n    x = 1\n"
    for search in (["    x = 1"], ["    x = 1  "], ["x = 1"], ["        x = 1"]):
        fails(program, block(search, ["    x = 2"]), r"stands in 2 places \(lines 2, 4\)")
    fails("x = 1\n" * (MOST_PLACES + 5), block(["x = 1"], ["x = 2"]), f"in more than {MOST_PLACES} places")


def test_a_cut_answer_is_refused_although_a_block_was_whole():
    whole = block(["    total = 0.0"], ["    total = 1.0"])
    failed = fails(
        PROGRAM, f"{whole}\n<<<<<<< SEARCH\nimport", "cut off at the token limit inside block 2", is_cut=True
    )
    assert failed.detail is None
    assert "total = 1.0" in edited(PROGRAM, whole, is_cut=True)


def test_a_replacement_that_cannot_be_indented_back_is_refused():
    fails(PROGRAM, block(["        total = 0.0"], ["x = 1"]), "indent both as the program")


def test_a_divider_in_the_text_is_no_matter_where_only_one_reading_fits():
    text = "Title\n=======\nwords\n"
    assert (
        edited(text, block(["words"], ["more", "=======", "words"]))
        == "Title\n=======\nmore\n=======\nwords\n"
    )
    fails(text, block(["Title", "======="], ["Other", "======="]), "read in two ways")


def test_a_stub_is_no_ellipsis():
    made = edited(PROGRAM, block(["import math"], ["import math", "class A:", "    ..."]))
    assert made.startswith("import math\nclass A:\n    ...\n")


def test_each_block_is_applied_to_what_the_ones_before_have_made():
    text = block(["import math"], ["import os"]) + "\n" + block(["import os"], ["import sys"])
    assert edited(PROGRAM, text) == PROGRAM.replace("import math", "import sys")


def test_the_failure_tells_what_was_sought_and_what_is_near():
    failed = fails(
        PROGRAM, block(["    total = 0.0", "    for radius in (1.0,):"], ["x"]), "line 10 of the program"
    )
    assert "SEARCH:\n    total = 0.0" in failed.detail
    assert (
        "The program from line 10 on:\n    total = 0.0\n    for radius in (1.0, 2.0, 3.0):" in failed.detail
    )


BLANKS = " " * 100_000
HOSTILE = {
    "blanks": (PROGRAM, block([BLANKS + "x"], [BLANKS])),
    "marker and blanks": (PROGRAM, "<<<<<<<" + BLANKS + "x\n" * 1000),
    "newlines": (PROGRAM, block(["\n" * 100_000, "x"], ["\n" * 100_000])),
    "begins": (PROGRAM, "<<<<<<< SEARCH\n" * 20_000),
    "dividers": (PROGRAM, "<<<<<<< SEARCH\n" + "=======\n" * 20_000 + ">>>>>>> REPLACE"),
    "many blocks, nowhere": (
        "x = 1\ny = 2\n" * 10_000,
        "\n".join([block(["x = 1", "z = 3"], ["y"])] * MOST_BLOCKS),
    ),
    "one line everywhere": ("x = 1\n" * 50_000, block(["x = 1\n" * 20_000 + "y"], ["y"])),
    "long lines": ("a" * 100_000 + "\nb\n", block(["a" * 99_999 + "b", "b", "c"], ["y"])),
    "alike": (
        "\n".join(f"value_{i % 60} = {'ab' * 40}{i}" for i in range(6000)),
        block(
            [
                f"value_{i % 60} = {'ba' * 40}{i}" if i % 3 else f"value_{i % 60} = {'ab' * 40}{i}"
                for i in range(3000)
            ],
            ["y"],
        ),
    ),
    "numbers": (PROGRAM, block([f"{i}: {BLANKS[:50]}" for i in range(1, 3000)], ["x"])),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_end_fast(name):
    program, text = HOSTILE[name]
    began = time.process_time()
    failed = fails(program, text)
    assert time.process_time() - began < 3.0
    assert len(str(failed)) < 600

"""Answers to prompts of several files, as models write them."""

import time

import pytest

from discovery.blocks import START
from discovery.bundle import BundleFrame, bundled, unbundled
from discovery.generation.multifile import assembled
from discovery.records import FailureKind

MAIN = "from geometry import area\n\ndef solve():\n    return area(2)\n"
GEOMETRY = "def area(side):\n    return side * side\n"
SOURCE = bundled({"main.py": MAIN, "geometry.py": GEOMETRY, "lib/data.txt": "1\n"})
FREE = BundleFrame.of(SOURCE)
BETTER = "def area(side):\n    return side ** 3\n"
EDIT = "<<<<<<< SEARCH\n    return side * side\n=======\n    return side ** 3\n>>>>>>> REPLACE"
MARKED = "# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\n"


def made(text, frame=FREE, main=SOURCE, *, is_cut=False):
    found = assembled(frame, text, main, is_cut=is_cut)
    assert isinstance(found, str), found
    return unbundled(found)


def failed(text, kind, frame=FREE, main=SOURCE, *, is_cut=False):
    found = assembled(frame, text, main, is_cut=is_cut)
    assert not isinstance(found, str), found
    assert found.kind is kind, found
    return found.message


@pytest.mark.parametrize(
    "answer",
    [
        "Think.\n\n```python geometry.py\n{}```\n",
        "```python:geometry.py\n{}```",
        '```python title="geometry.py"\n{}```',
        "```{{.python file=geometry.py}}\n{}```",
        "```geometry.py\n{}```",
        "`geometry.py`:\n\n```python\n{}```",
        "**geometry.py**\n```python\n{}```",
        "### File: geometry.py\n\n```\n{}```",
        "Here is the new `geometry.py`:\n```python\n{}```\nIt is 3.5 times better, e.g. here.",
        "```python ./geometry.py\n{}",
        "```bash\nls main.py\n```\n```python geometry.py\nold = 1\n```\nBetter:\n```python geometry.py\n{}```",
    ],
)
def test_whole_files(answer):
    assert made(answer.format(BETTER)) == {**unbundled(SOURCE), "geometry.py": BETTER}


def test_a_comment_names_a_file():
    text = "# geometry.py\n" + BETTER
    assert made(f"```python\n{text}```")["geometry.py"] == text


def test_several_whole_files():
    found = made(
        f"```python main.py\n{MAIN}x = 1\n```\n\n```python geometry.py\n{BETTER}```\n```lib/data.txt\n2\n```"
    )
    assert found == {"main.py": MAIN + "x = 1\n", "geometry.py": BETTER, "lib/data.txt": "2\n"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (f"```python area.py\n{BETTER}```", "no file 'area.py'"),
        (f"**area.py**\n```python\n{BETTER}```", "no file 'area.py'"),
        (f"```python lib/geometry.py\n{BETTER}```", "no file 'lib/geometry.py'"),
        (f"```python\n{BETTER}```", "says which file"),
        (BETTER, "no fenced code block"),
        (f"```python geometry.py\n{GEOMETRY}```", "changes nothing"),
    ],
)
def test_answers_that_give_no_files(answer, said):
    assert said in failed(answer, FailureKind.NO_PROGRAM)


def test_a_cut_answer_gives_nothing():
    assert "cut off" in failed(f"```python geometry.py\n{BETTER}", FailureKind.NO_PROGRAM, is_cut=True)


@pytest.mark.parametrize(
    "answer",
    [
        f"geometry.py\n{EDIT}",
        f"Change `geometry.py`:\n\n```python\n{EDIT}\n```",
        f"```python geometry.py\n{EDIT}\n```",
        f"geometry.py\n```\n{EDIT}\n```",
        EDIT.replace("SEARCH", "SEARCH geometry.py"),
        f"Now:\n```python main.py\n{MAIN}\n```\nand\n\n**geometry.py**\n\n{EDIT}",
    ],
)
def test_edits(answer):
    assert made(answer) == {**unbundled(SOURCE), "geometry.py": BETTER}


def test_edits_of_several_files_and_of_one_in_turn():
    second = "<<<<<<< SEARCH\ndef area(side):\n=======\ndef area(side=1):\n>>>>>>> REPLACE"
    other = "<<<<<<< SEARCH\n    return area(2)\n=======\n    return area(3)\n>>>>>>> REPLACE"
    found = made(f"geometry.py\n{EDIT}\n{second}\n\nmain.py\n{other}")
    assert found["geometry.py"] == BETTER.replace("side)", "side=1)")
    assert found["main.py"] == MAIN.replace("area(2)", "area(3)")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (EDIT, "block 1 does not say which file"),
        (f"main.py\n{EDIT}", "main.py: the SEARCH/REPLACE block"),
        (f"area.py\n{EDIT}", "no file 'area.py'"),
        (f"geometry.py\n{EDIT.removesuffix('>>>>>>> REPLACE')}", "geometry.py: block 1"),
        ("\n".join([f"geometry.py\n{EDIT}"] * 65), "65 SEARCH/REPLACE blocks"),
    ],
)
def test_edits_that_fail(answer, said):
    assert said in failed(answer, FailureKind.EDIT)


def test_what_is_frozen_stays():
    source = bundled({"main.py": MAIN, "geometry.py": MARKED})
    frame = BundleFrame.of(source)
    whole = made(
        f"```python main.py\nevil\n```\n```python geometry.py\n{MARKED.replace('1', '2')}```", frame, source
    )
    assert whole == {"main.py": MAIN, "geometry.py": MARKED.replace("1", "2")}
    # The only file that may change needs no name.
    assert made("```python\nx = 3\n```", frame, source)["geometry.py"] == MARKED.replace("1", "3")
    edit = "<<<<<<< SEARCH\nx = 1\n=======\nx = 4\n>>>>>>> REPLACE"
    assert made(edit, frame, source)["geometry.py"] == MARKED.replace("1", "4")
    assert "may change" in failed("```python main.py\nevil\n```", FailureKind.NO_PROGRAM, frame, source)
    two = bundled({"main.py": MARKED, "geometry.py": MARKED + MARKED})
    message = failed("```python geometry.py\nx = 5\n```", FailureKind.BLOCKS, BundleFrame.of(two), two)
    assert message.startswith("geometry.py: ")


def test_a_header_in_a_file_is_a_line_like_any_other():
    text = f"=== main.py ===\n# {START}\n"
    free = bundled({"main.py": "a\n", "notes.md": "b\n"})
    assert made(f"```notes.md\n{text}```", BundleFrame.of(free), free)["notes.md"] == text


@pytest.mark.parametrize(
    "line",
    [
        "<<<<<<< SEARCH" + " " * 300_000 + "!",
        " " * 300_000 + "<<<<",
        "```python " + "a." * 100_000 + "!",
        "a./" * 100_000,
    ],
)
def test_hostile_lines_take_time_in_proportion(line):
    started = time.process_time()
    assembled(FREE, f"{line}\n```\nx\n```\n{line}\n{EDIT}\n", SOURCE, is_cut=False)
    assert time.process_time() - started < 2

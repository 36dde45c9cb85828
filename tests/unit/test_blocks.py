"""EVOLVE-BLOCKs: whatever is proposed, the frozen text stays as it was written."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from discovery.blocks import END, START, BlocksMissing, Frame
from discovery.errors import ProblemError

INITIAL = f"""import math
# {START}
def inner():
    return 1
# {END}
def solve():
    return inner()
"""

odd_lines = st.sampled_from(
    ["", "x = 1", "\tx", "import math", f"# {START}", f"# {END}", "def solve():", '"""', "x = '''", "}"]
)
# All that str.splitlines takes for the end of a line, and the two that editors write.
ends = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", ""])
chunks = st.tuples(odd_lines | st.text(max_size=8), ends).map("".join)
any_text = st.lists(chunks, max_size=12).map("".join)
unmarked = any_text.filter(lambda text: START not in text and END not in text)


@st.composite
def marked(draw):
    """A program with well-formed markers, any text around them and any line ends."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        for text, marker in ((draw(unmarked), START), (draw(unmarked), END)):
            parts += [text, "" if not text or text.endswith("\n") else newline, f"// {marker}", newline]
    return "".join(parts) + draw(unmarked)


def frame_of(source):
    """The frame, where the text around the marker lines does not make a marker of its own."""
    try:
        return Frame.of(source)
    except ProblemError:
        assume(False)


@given(marked(), any_text | marked())
def test_what_is_enforced_has_the_frozen_frame_and_nothing_else(initial, text):
    frame = frame_of(initial)
    try:
        program = frame.enforce(text)
    except BlocksMissing:
        return
    assert Frame.of(program) == frame
    assert frame.enforce(program) == program
    rest = program
    for fixed, content in zip(frame.fixed, (*frame.contents(program), ""), strict=True):
        assert rest.startswith(fixed + content)
        rest = rest[len(fixed + content) :]
    assert rest == ""


@given(marked())
def test_contents_and_fill_are_inverse(source):
    frame = frame_of(source)
    contents = frame.contents(source)
    assert len(contents) == frame.blocks >= 1
    assert frame.fill(contents) == source
    assert frame.enforce(source) == source


@given(marked(), st.data())
def test_texts_that_are_filled_in_come_out_with_their_last_line_ended(initial, draws):
    frame = frame_of(initial)
    texts = tuple(draws.draw(unmarked) for _ in range(frame.blocks))
    ended = tuple(text if not text or text.endswith("\n") else text + "\n" for text in texts)
    assert frame.contents(frame.fill(texts)) == ended


@given(unmarked, any_text)
def test_a_program_without_markers_evolves_as_a_whole(initial, text):
    frame = Frame.of(initial)
    assert frame.blocks == 0
    assert frame.enforce(text) == text


def test_frozen_text_that_a_proposal_changed_is_put_back():
    frame = Frame.of(INITIAL)
    proposal = INITIAL.replace("return 1", "return 2").replace("return inner()", "return 10**9")
    assert frame.enforce(proposal) == INITIAL.replace("return 1", "return 2")


def test_text_around_the_markers_of_a_proposal_is_dropped():
    frame = Frame.of(INITIAL)
    assert frame.enforce(f"Sure!\n# {START}\nx = 1\n# {END}\nprint('bye')") == INITIAL.replace(
        "def inner():\n    return 1\n", "x = 1\n"
    )


def test_several_blocks_keep_their_order():
    initial = f"a\n# {START} one\n1\n# {END}\nb\n# {START} two\n2\n# {END}\nc"
    frame = Frame.of(initial)
    assert frame.contents(initial) == ("1\n", "2\n")
    assert frame.fill(("x", "")) == f"a\n# {START} one\nx\n# {END}\nb\n# {START} two\n# {END}\nc"


def test_windows_line_ends_of_frame_and_block_are_each_kept():
    frame = Frame.of(INITIAL.replace("\n", "\r\n"))
    program = frame.enforce(INITIAL.replace("return 1", "return 2"))
    assert "    return 2\n# " in program
    assert program.startswith("import math\r\n# ")
    assert program.endswith("    return inner()\r\n")


@pytest.mark.parametrize("odd", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_frame_never_merges_with_the_start_of_a_block(odd):
    frame = Frame.of(f"# {START}{odd}1\n# {END}\n")
    assert Frame.of(frame.enforce(f"# {START}\n\nx = 1\n# {END}\n")) == frame


def test_a_block_without_a_last_newline_does_not_swallow_the_marker():
    assert Frame.of(INITIAL).fill(("# note",)).count(f"# note\n# {END}\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def inner():\n    return 2\n",
        f"# {START}\nx = 1\n",
        f"x = 1\n# {END}\n",
        f"# {END}\nx\n# {START}\n",
        f"# {START}\n# {START}\n# {END}\n# {END}\n",
        f"# {START}\n1\n# {END}\n# {START}\n2\n# {END}\n",
        f"# {START}\nx = '{END}'\n# {END}\n",
        f"# {START}\nx = '{START}'\n# {END}\n",
        f"x = '''\n# {START}\n1\n# {END}\n'''\n" * 2,
    ],
)
def test_markers_that_do_not_fit_are_refused(text):
    with pytest.raises(BlocksMissing):
        Frame.of(INITIAL).enforce(text)


@pytest.mark.parametrize("edge", ["", "\n", "\n\n"])
def test_a_single_block_is_found_by_the_frozen_lines_around_it(edge):
    bare = "import math\ndef inner():\n    return 2\ndef solve():\n    return inner()\n"
    assert Frame.of(INITIAL).enforce(edge + bare.rstrip("\n") + edge) == INITIAL.replace(
        "return 1", "return 2"
    )


def test_frozen_lines_do_not_help_where_several_blocks_could_be_meant():
    initial = f"a\n# {START}\n1\n# {END}\nb\n# {START}\n2\n# {END}\nc\n"
    with pytest.raises(BlocksMissing, match="0 EVOLVE-BLOCK regions, the initial one has 2"):
        Frame.of(initial).enforce("a\n1\nb\n2\nc\n")


def test_frozen_lines_that_overlap_are_not_both_found_in_one():
    with pytest.raises(BlocksMissing):
        Frame.of(f"same\n# {START}\nx\n# {END}\nsame\n").enforce("same\n")


def test_a_block_with_no_frozen_lines_takes_the_whole_text():
    assert Frame.of(f"# {START}\nx\n# {END}\n").enforce("\ny\n\n") == f"# {START}\ny\n# {END}\n"


@pytest.mark.parametrize(
    ("initial", "says"),
    [
        (f"# {START}\nx\n", "never closed"),
        (f"x\n# {END}\n", "line 2.*without"),
        (f"# {START}\n\n# {START}\n# {END}\n", "line 3.*inside an open block"),
        (f"# {START}\n# {END}\n# {END}\n", "line 3.*without"),
    ],
)
def test_a_malformed_initial_candidate_is_refused_with_its_line(initial, says):
    with pytest.raises(ProblemError, match=says):
        Frame.of(initial)


@pytest.mark.parametrize("contents", [(), ("a", "b")])
def test_a_wrong_number_of_texts_is_refused(contents):
    for frame in (Frame.of(INITIAL), Frame.of("x = 1\n")):
        with pytest.raises(ValueError):
            frame.fill(contents)

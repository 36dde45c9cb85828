import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.generation.extract import code_blocks, extract
from discovery.generation.prompt import fenced
from discovery.records import Failure, FailureKind

PROSE = st.text(st.characters(exclude_characters="`~\r", exclude_categories=["Cs"]), max_size=80).filter(
    lambda text: "EVOLVE" not in text
)
BODIES = st.lists(
    st.sampled_from(["x = 1", "", "    y = '```'", "# ```", "```", "~~~", '"""', "def a():", "    pass"]),
    max_size=8,
).map(lambda lines: "".join(line + "\n" for line in lines))


def with_block(framed, body):
    return framed.replace("    return [0.0, 1.5, -2.25]\n", "    return 1\n" + body)


@given(before=PROSE, body=BODIES, after=PROSE)
def test_a_safely_fenced_program_comes_back_whole(problem_of, completion_of, framed, before, body, after):
    program = with_block(framed, body)
    text = f"{before}\n\n{fenced(program, 'python')}\n\n{after}"
    assert extract(completion_of(text), problem_of()) == program


@given(before=PROSE, body=BODIES)
def test_windows_newlines(problem_of, completion_of, framed, before, body):
    program = with_block(framed, body)
    text = f"{before}\n{fenced(program, 'python')}\n".replace("\n", "\r\n")
    assert extract(completion_of(text), problem_of()) == program


PIECES = st.lists(
    st.sampled_from(
        ["```\n", "```python\n", "~~~\n", "x = 1\n", "# EVOLVE-BLOCK-START\n", "# EVOLVE-BLOCK-END\n"]
    ),
    max_size=12,
).map("".join)


@given(text=st.none() | st.text(max_size=300) | PIECES)
def test_anything_gives_a_program_or_a_typed_failure(problem_of, completion_of, text):
    for finish_reason in ("stop", "length", "abort", None):
        found = extract(completion_of(text, finish_reason=finish_reason), problem_of())
        if isinstance(found, Failure):
            assert found.kind in (FailureKind.NO_PROGRAM, FailureKind.BLOCKS)
            assert found.message
        else:
            frame = problem_of().frame
            assert frame.fill(frame.contents(found)) == found
            assert found.startswith("import math\n\n# EVOLVE-BLOCK-START\n")


def test_text_outside_the_blocks_is_put_back(problem_of, completion_of, framed):
    answer = framed.replace("import math", "import os").replace("return solve()", "return 10**9")
    assert extract(completion_of(f"```python\n{answer}```"), problem_of()) == framed


def test_missing_markers(problem_of, completion_of):
    found = extract(completion_of("```python\ndef solve():\n    return 1\n```"), problem_of())
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.BLOCKS
    assert "EVOLVE-BLOCK" in found.message


@pytest.mark.parametrize(
    ("text", "finish_reason", "reasoning", "words"),
    [
        (None, "length", "hm", "cut off at the token limit while reasoning"),
        (None, "length", None, "cut off at the token limit before any text"),
        (None, "stop", None, "no text (finish reason stop)"),
        ("  \n", "stop", None, "no text"),
        ("def solve", "abort", None, "aborted"),
        (None, "abort", None, "aborted"),
        ("I would change the number.", "stop", None, "no fenced code block"),
        ("First, let me think", "length", None, "before any code block"),
        ("```python\ndef solve():\n    return", "length", None, "inside its code block"),
        ("```python\nold = 1\n```\nNow:\n```python\ndef solve():\n", "length", None, "inside its code block"),
        ("```python\n\n```", "stop", None, "empty"),
    ],
)
def test_no_program_says_why(problem_of, completion_of, text, finish_reason, reasoning, words):
    completion = completion_of(text, finish_reason=finish_reason, reasoning=reasoning)
    found = extract(completion, problem_of("def solve():\n    return 0\n"))
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.NO_PROGRAM
    assert words in found.message


FREE = "def solve():\n    return 0\n"


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\ndef solve(): return 1\n```", "def solve(): return 1\n"),
        ("```\ndef solve(): return 1\n```", "def solve(): return 1\n"),
        ("~~~py\ndef solve(): return 1\n~~~", "def solve(): return 1\n"),
        ("````Python\ndef solve(): return 1\n````", "def solve(): return 1\n"),
        ("```python title=x\ndef solve(): return 1\n```", "def solve(): return 1\n"),
        # The later of two programs; and the program rather than the example that follows it.
        (
            "```python\ndef solve(): return 1\n```\n```python\ndef solve(): return 2\n```",
            "def solve(): return 2\n",
        ),
        (
            "```python\ndef solve(): return 1\n```\nUse:\n```python\nprint(solve())\n```",
            "def solve(): return 1\n",
        ),
        (
            "```python\ndef solve(): return 1\n```\n```bash\npython solve.py\n```",
            "def solve(): return 1\n",
        ),
        # Within a list, with its indentation.
        (
            "1. So:\n   ```python\n   def solve():\n       return 1\n   ```",
            "def solve():\n    return 1\n",
        ),
        # A last fence that is not closed, of an answer that ended by itself.
        ("```python\ndef solve(): return 1\n", "def solve(): return 1\n"),
        # The token limit hit the closing words only.
        ("```python\ndef solve(): return 1\n```\nThis is bet", "def solve(): return 1\n"),
        # No fence at all.
        ("def solve():\n    return 1", "def solve():\n    return 1\n"),
        # A block that was never closed before the next one.
        ("```python\nx = 1\n\n```python\ndef solve(): return 1\n```", "def solve(): return 1\n"),
    ],
)
def test_which_block_is_the_program(problem_of, completion_of, text, program):
    finish_reason = "length" if text.endswith("bet") else "stop"
    assert extract(completion_of(text, finish_reason=finish_reason), problem_of(FREE)) == program


def test_bare_fences_in_a_program_with_markers(problem_of, completion_of, framed):
    program = with_block(framed, '    """\n```\nexample\n```\n    """\n')
    assert extract(completion_of(f"Here:\n```python\n{program}```\nDone."), problem_of()) == program


def test_a_nested_block_in_a_program(problem_of, completion_of):
    program = 'def solve():\n    """\n```text\nexample\n```\n    """\n    return 1\n'
    assert extract(completion_of(f"```python\n{program}```\n"), problem_of(FREE)) == program


def test_the_text_of_the_mutation_generator_is_the_program(problem_of, completion_of, framed):
    program = with_block(framed, "# ```python\n")
    assert extract(completion_of(program, generator="mutation"), problem_of()) == program


def test_other_languages(problem_of, completion_of):
    initial = '#include <cstdio>\nint main() { puts("0"); }\n'
    problem = problem_of(initial, language="c++", command=("run",))
    answer = initial.replace("0", "1")
    assert extract(completion_of(f"```cpp\n{answer}```"), problem) == answer
    assert extract(completion_of(answer), problem) == answer
    assert isinstance(extract(completion_of("No idea."), problem), Failure)


def test_lone_surrogates_are_refused(problem_of, completion_of):
    found = extract(completion_of("```python\ndef solve(): return '\ud800'\n```"), problem_of(FREE))
    assert isinstance(found, Failure)
    assert "Unicode" in found.message


@given(st.lists(st.sampled_from(["```", "```python", "~~~", "````", "x", "  ```", "```a`b"]), max_size=20))
def test_code_blocks_cover_every_reading(lines):
    text = "\n".join(lines)
    for nested in (False, True):
        blocks = code_blocks(text, nested=nested)
        assert all(block.closed for block in blocks[:-1])
        starts = [block.start for block in blocks]
        assert starts == sorted(set(starts))


@pytest.mark.parametrize(
    "text",
    [
        "```python\ndef solve():\n    return 1\n```\nagain\n" * 4000,
        "```\n~~~x\n```\n" * 4000,
        "~~~\nx\n~~~~\n" * 4000,
        "``` a" + " " * 100_000 + "b\n",
    ],
    ids=["repeated", "reopened", "widest", "spaces"],
)
def test_an_answer_that_repeats_itself_is_read_at_once(problem_of, completion_of, text):
    """As models do that got stuck; each took half a minute, in which the whole run stood still."""
    started = time.process_time()
    extract(completion_of(text), problem_of())
    assert time.process_time() - started < 2


# Edits

EDIT = "<<<<<<< SEARCH\n    return 1\n=======\n    return 2\n>>>>>>> REPLACE\n"
MAIN = "def solve():\n    return 1\n"


def test_edits_are_applied_to_the_main_parent(problem_of, completion_of):
    assert extract(completion_of(EDIT), problem_of(FREE), main=MAIN) == "def solve():\n    return 2\n"


@pytest.mark.parametrize(
    ("text", "finish", "message"),
    [
        (EDIT.replace("return 1", "return 7"), "stop", "is nowhere in the program"),
        (EDIT.replace("return 2", "return 1"), "stop", "change nothing"),
        (EDIT[:-17], "length", "cut off"),
        (f"```python\n{MAIN}```\n", "stop", "changes nothing"),
        ("```python\n    return 5\n```\n", "stop", "no SEARCH/REPLACE block"),
        (f"```python\n{FREE}```\n```python\n{FREE}```\n", "stop", "no SEARCH/REPLACE block"),
        (f"```python\n{FREE}```\n", "length", "no SEARCH/REPLACE block"),
    ],
)
def test_a_failed_edit_is_a_failure_of_its_own_kind(problem_of, completion_of, text, finish, message):
    found = extract(completion_of(text, finish_reason=finish), problem_of(FREE), main=MAIN)
    assert found.kind is FailureKind.EDIT
    assert message in found.message


def test_a_whole_program_is_taken_where_edits_were_asked_for(problem_of, completion_of):
    answer = "def solve():\n    return 9\n"
    assert extract(completion_of(f"All new.\n```python\n{answer}```"), problem_of(FREE), main=MAIN) == answer
    in_c = problem_of("int main() { return 0; }\n", language="c", command=("{program}",))
    half, little = "int main() { }\n", "return 3;\n"
    assert extract(completion_of(f"```c\n{half}```"), in_c, main=MAIN) == half
    assert extract(completion_of(f"```c\n{little}```"), in_c, main=MAIN).kind is FailureKind.EDIT


def test_edits_cannot_change_what_is_frozen(problem_of, completion_of, framed):
    block = "<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE\n"
    frozen = block.format("import math", "import os")
    found = extract(completion_of(frozen), problem_of(), main=framed)
    assert found.kind is FailureKind.EDIT
    assert "between the EVOLVE-BLOCK lines" in found.message
    inside = block.format("    return [0.0, 1.5, -2.25]", "    return [1.0]")
    made = extract(completion_of(frozen + inside), problem_of(), main=framed)
    assert made == framed.replace("[0.0, 1.5, -2.25]", "[1.0]")
    marker = block.format("# EVOLVE-BLOCK-END", "# gone")
    assert extract(completion_of(marker), problem_of(), main=framed).kind is FailureKind.BLOCKS

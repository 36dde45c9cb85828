import ast
import io
import time
import tokenize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.generation.sketch import sketch, tokens

LINES = st.lists(
    st.sampled_from(
        [
            "x = [1, -2.5, +3e-4, .5, 1_000]",
            "y = x[0] - 3.0 + x[-1] * -2 ** 2 - 1",
            "for i in range(10): pass",
            "def f(a=-1): return -7 if a else 2.",
            "s = '9 9' + \"8\" + f'{seven}'",
            "t = '''",
            '6 \'\'\' + """5"""',
            "# 4",
            "z = 0x1F + 3j + v1 + 1.e5",
            "w = (-1, -(2), not -3)",
            "q = a[1:2] @ b3 // 4",
        ]
    ),
    max_size=10,
).map("\n".join)


def shown(text, language="python"):
    found = sketch(text, language)
    return [text[literal.start : literal.end] for literal in found.literals]


def test_numbers_inside_formatted_strings_are_text():
    assert shown("s = f'{7} and {8:.2f}' + str(9)") == ["9"]


@given(LINES)
def test_finds_the_numbers_that_the_tokenizer_finds(text):
    try:
        expected = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, IndentationError):
        return
    plain = [
        t.string
        for t in expected
        if t.type == tokenize.NUMBER and t.string[-1] != "j" and "x" not in t.string
    ]
    assert [number.lstrip("+-") for number in shown(text)] == plain


@given(LINES | st.text(max_size=100))
def test_taken_apart_and_put_together(text):
    for language in ("python", "c++"):
        found = sketch(text, language)
        assert found.with_numbers(shown(text, language)) == text
        assert len(found.skeleton) == len(found.literals) + 1


@given(LINES, st.floats(-10, 10), st.integers(-10, 10))
def test_other_numbers_keep_the_skeleton_and_the_syntax(text, real, whole):
    found = sketch(text, "python")
    other = found.with_numbers(
        [repr(real) if isinstance(literal.value, float) else str(whole) for literal in found.literals]
    )
    try:
        ast.parse(text)
    except SyntaxError:
        return
    ast.parse(other)
    assert len(sketch(other, "python").literals) == len(found.literals)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("x - 3.0", ["3.0"]),
        ("x = -3.0", ["-3.0"]),
        ("[1, -2]", ["1", "-2"]),
        ("return -7", ["-7"]),
        ("f(-1)", ["-1"]),
        ("a[-1] - 2", ["-1", "2"]),
        ("x ** -2", ["-2"]),
        ("'a' - 1", ["1"]),
    ],
)
def test_a_unary_minus_belongs_to_its_number(text, numbers):
    assert shown(text) == numbers


def test_values():
    found = sketch("[1_000, -2.5e3, .5, +3]", "python")
    assert [literal.value for literal in found.literals] == [1000, -2500.0, 0.5, 3]
    assert [type(literal.value) for literal in found.literals] == [int, float, float, int]


def test_what_only_counts():
    found = sketch("x[0] + x[-1] + [5] + range(10) + y ** 2 + 3 + 4.0", "python")
    assert [literal.value for literal in found.literals if literal.counts] == [0, -1, 10, 2]


def test_a_number_that_turns_positive_does_not_stick_to_a_word():
    assert sketch("return-7", "python").with_numbers(["6"]) == "return 6"


def test_a_number_that_turns_negative_does_not_stick_to_an_operator():
    assert sketch("x-7", "c").with_numbers(["-6"]) == "x- -6"


def test_languages_of_c_s_family():
    text = "#define N 10\nfloat f(){ return 1.0f*x-2u; /* 3 */ } // 4\nlet a = 5_f64 - -2.5; // '6'"
    assert shown(text, "rust") == ["1.0", "2", "5", "-2.5"]


def test_binary_operators():
    found = tokens("-x + y * -1 # - 2", "python")
    assert [(t.text, t.binary) for t in found if t.text in "+-*"] == [
        ("-", False),
        ("+", True),
        ("*", True),
        ("-", False),
    ]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("/* " * 40_000, "cpp"),
        ('"' + '\\"' * 40_000, "python"),
        ("'" + "\\'" * 40_000, "rust"),
        ("1" * 5000, "python"),
    ],
    ids=["comments", "quotes", "ticks", "digits"],
)
def test_a_text_that_is_made_to_be_slow_is_not(text, language):
    """Each of the first three took a minute."""
    started = time.process_time()
    assert sketch(text, language).literals == ()
    tokens(text, language)
    assert time.process_time() - started < 2

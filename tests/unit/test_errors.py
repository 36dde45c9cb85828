"""The error tree, and the boundary that attributes what third-party code raises."""

import asyncio
import inspect
import re

import pytest

from discovery import errors
from discovery.errors import Invalid, ProblemError, ProgramFailed, UsageError, boundary

KINDS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]


def drawn():
    """Name to parent's name, as the docstring draws the tree."""
    above, tree = [], {}
    for line in errors.__doc__.split("::", 1)[1].splitlines():
        match = re.match(r"    ((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+)(?: \((\w+)\))?(?:  |$)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        above[depth:] = [match[2]]
        tree[match[2]] = (above[depth - 1] if depth else None, match[3])
    return tree


def test_the_tree_is_as_it_is_drawn():
    tree = drawn()
    assert set(tree) == {kind.__name__ for kind in KINDS}
    for kind in KINDS:
        parent, builtin = tree[kind.__name__]
        bases = [base.__name__ for base in kind.__bases__]
        assert bases == [name for name in (parent or "Exception", builtin) if name]


@pytest.mark.parametrize(
    "raised", [ValueError("odd"), KeyError("k"), RecursionError(), MemoryError()], ids=repr
)
def test_a_boundary_wraps_what_escapes_and_keeps_the_cause(raised):
    with pytest.raises(ProblemError) as caught, boundary("loading 'x'", ProblemError):
        raise raised
    assert str(caught.value) == f"loading 'x': {type(raised).__name__}: {raised}"
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize(
    "raised",
    [UsageError("ours"), Invalid("ours"), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()],
    ids=repr,
)
def test_a_boundary_lets_our_errors_and_exits_pass_unchanged(raised):
    with pytest.raises(type(raised)) as caught, boundary("loading", ProblemError):
        raise raised
    assert caught.value is raised


def test_a_boundary_that_nothing_crosses_does_nothing():
    with boundary("loading", ProblemError):
        value = 1
    assert value == 1


def test_errors_carry_what_they_are_made_of():
    assert Invalid("two circles overlap").reason == str(Invalid("two circles overlap"))
    failed = ProgramFailed("crashed", "it raised", "Traceback")
    assert (failed.kind, failed.message, failed.detail, str(failed)) == (
        "crashed",
        "it raised",
        "Traceback",
        "it raised",
    )
    assert ProgramFailed("timeout", "slow").detail is None

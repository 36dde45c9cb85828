"""What a format is: a name, the library that it is for, and how a sample becomes rows of it.

Contract of every format:

- A sample gives zero or more rows of plain JSON. Where it gives none, ``left_out`` says why. Nothing is guessed: what
  is not known is left out, null where the library takes that, or ``""`` where the format's own docstring says so.
- Every row has the fields that ``columns`` declares, and no others. Arrow makes one structure of all values of a field,
  fills what is missing with null (on which some chat templates fail), and gives up where a key first shows up after
  10 MB. So the export's card tells ``datasets`` the types, and a field in which keys may be missing is JSON there.
- Every row says its :attr:`Sample.origin`, unless the library refuses fields that it does not know; then the export
  keeps the origins in a file of their own.
- A row holds text, never token ids: what was forced upon a model is told to those who train on ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from discovery.errors import ConfigError
from discovery.records import Json
from discovery.trajectories.records import Sample, Split

Row = dict[str, Json]

TEXT = "dtype: string"
NUMBER = "dtype: float64"
TRUTH = "dtype: bool"
TEXTS = "list: string"
JSON = "dtype: json"
MESSAGES = "list: json"
"""What a field of a row holds, as the card of a data set says it in YAML; messages in which keys may be missing."""


def data_file(split: Split) -> str:
    """Name of the file of a split's rows."""
    return f"{split}.jsonl"


def struct(**fields: str) -> str:
    """A field with fields of its own, each of a type that ``datasets`` knows."""
    return "struct:" + _fields(fields)


def structs(**fields: str) -> str:
    """A list of such."""
    return "list:" + _fields(fields)


def _fields(fields: Mapping[str, str]) -> str:
    return "".join(f"\n- name: {name}\n  dtype: {kind}" for name, kind in fields.items())


TURNS = structs(role="string", content="string")
"""Messages of which each has these two keys, and no others."""
ORIGIN = struct(run="string", problem="string", problem_version="string", chain="int64", step="int64")
"""Where a row is from."""

PAIRS = (1, 64)
"""Fewest and most worse siblings of a step that a preference format takes."""


class Reasoning(StrEnum):
    """Where a model's reasoning goes."""

    THINKING = "thinking"
    """A key ``thinking`` of the message: gpt-oss's chat template."""
    CONTENT = "reasoning_content"
    """A key ``reasoning_content`` of the message: the chat templates of Qwen 3, GLM, DeepSeek and others."""
    INLINE = "inline"
    """Into the text, before the answer, between ``<think>`` and ``</think>``."""
    OMIT = "omit"
    """Nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user may decide about rows.

    Args:
        reasoning: Where reasoning goes; None takes the format's own place.
        pairs: At most so many worse siblings of a step stand against its committed attempt, 1 to 64.
    """

    reasoning: Reasoning | None = None
    pairs: int = 4

    def __post_init__(self) -> None:
        if not PAIRS[0] <= self.pairs <= PAIRS[1]:
            raise ConfigError(f"pairs is {self.pairs}; it must be from {PAIRS[0]} to {PAIRS[1]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What rows are made with, beside their sample.

    Args:
        reasoning: Where reasoning goes.
        pairs: As in :class:`Options`.
        problems: Name of a run to what loads its problem (see :func:`discovery.plugins.load_problem`).
    """

    reasoning: Reasoning
    pairs: int
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one sample gives.

    Args:
        rows: Plain JSON each.
        left_out: What it does not give, by reason.
    """

    rows: tuple[Row, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


def nothing(reason: str) -> Made:
    """No row, and why."""
    return Made(left_out={reason: 1})


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write rows.

    Args:
        name: What ``--format`` calls it.
        library: What it is for.
        about: One line: what a row holds.
        page: Where the library documents it.
        columns: The fields of its rows, each to one of the types above.
        make: A sample to its rows.
        reasonings: Where reasoning may go; the first is where it goes unless said.
        has_pairs: Whether :attr:`Options.pairs` counts.
        origin: The field of a row that says its origin; None where rows cannot.
        note: What one has to know to use it, for the card; empty for nothing.
        files: The splits that have rows, to further files of the export's folder: name to text.
    """

    name: str
    library: str
    about: str
    page: str
    columns: Mapping[str, str]
    make: Callable[[Sample, Context], Made]
    reasonings: tuple[Reasoning, ...] = (Reasoning.OMIT, Reasoning.INLINE)
    has_pairs: bool = False
    origin: str | None = "origin"
    note: str = ""
    files: Callable[[tuple[Split, ...]], Mapping[str, str]] | None = None

    def context(self, options: Options, problems: Mapping[str, str]) -> Context:
        """What its rows are made with.

        Args:
            options: The user's.
            problems: Name of a run to what loads its problem.

        Raises:
            ConfigError: Reasoning cannot go there in this format.
        """
        reasoning = options.reasoning if options.reasoning is not None else self.reasonings[0]
        if reasoning not in self.reasonings:
            raise ConfigError(
                f"reasoning is {str(reasoning)!r}, for which {self.name} has no place; "
                f"give one of: {', '.join(self.reasonings)}"
            )
        return Context(reasoning=reasoning, pairs=options.pairs, problems=problems)

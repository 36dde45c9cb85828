"""Numbers that a model names in an answer: which of the candidates it was shown, in which order.

What it is asked to write is said here, beside what reads it. Reading is lenient about form and strict about content:
what was not shown is ignored, what is named twice counts once, and an answer without the word that was asked for,
which is not a bare list either, names nothing.
"""

from __future__ import annotations

import re

WORD = "ANSWER"
_LABELLED = re.compile(rf"^[^\w\n]*{WORD}\W*?[:=]\s*(.*)$", re.IGNORECASE | re.MULTILINE)
_BARE = re.compile(r"[\s\d,;>\[\]().#]+")
_NUMBER = re.compile(r"(?<![\d.-])\d{1,6}(?![\d.]*\d)")
_MOST_CHARACTERS = 20_000


def instruction(count: int) -> str:
    """How the answer is to be written.

    Args:
        count: How many numbers it is to name at most.
    """
    which = "one number" if count == 1 else f"at most {count} numbers"
    return (
        f"Think briefly. Then end with one line: the word {WORD}, a colon, and {which} of programs with commas "
        f"between them, as in `{WORD}: 3, 1`."
    )


def named(answer: str | None, shown: int) -> tuple[int, ...]:
    """What an answer names.

    Args:
        answer: What the model said; None where it said nothing.
        shown: How many it was shown, numbered from 1.

    Returns:
        Positions from 0, each once, in the order in which they are named; empty where it names none.
    """
    if answer is None:
        return ()
    text = answer[-_MOST_CHARACTERS:]
    labelled = _LABELLED.findall(text)
    if labelled:
        said = labelled[-1]
    elif _BARE.fullmatch(text):
        said = text
    else:
        return ()
    numbers = (int(number) for number in _NUMBER.findall(said))
    return tuple(dict.fromkeys(number - 1 for number in numbers if 1 <= number <= shown))

"""Small changes to the text of EVOLVE-BLOCKs, other than to their numbers.

They are rare beside numeric steps: most break a program or change nothing. For Python a changed text must
still parse; the texts are this package's own doing, so parsing them here is safe.
"""

from __future__ import annotations

import ast
import random
import textwrap
import warnings

from discovery.generation.sketch import tokens

Texts = tuple[str, ...]

_SWAPS: tuple[tuple[str, ...], ...] = (
    ("+", "-", "*", "/"),
    ("<", "<=", ">", ">="),
    ("==", "!="),
    ("+=", "-="),
    ("*=", "/="),
    ("and", "or"),
    ("True", "False"),
    ("min", "max"),
    ("sin", "cos"),
    ("floor", "ceil", "round"),
    ("sqrt", "log1p", "abs"),
)
_PARTNERS = {word: group for group in _SWAPS for word in group}
_BINARY_ONLY = frozenset("+-*/")


def edited(mine: Texts, language: str, rng: random.Random) -> Texts | None:
    """One small structural change.

    Args:
        mine: The program's blocks.
        language: Only Python's lines are moved, and its texts checked.
        rng: Draws the change.

    Returns:
        New texts, or None when the change drawn is not possible.
    """
    texts = list(mine)
    which = rng.randrange(len(texts))
    if language != "python" or rng.random() < 0.6:
        changed = _swapped(texts[which], language, rng)
    else:
        changed = _moved(texts[which], rng)
    if changed is None or (language == "python" and not parses(changed)):
        return None
    texts[which] = changed
    return tuple(texts)


def recombined(mine: Texts, theirs: Texts, language: str, rng: random.Random) -> Texts | None:
    """Blocks, or lines where blocks have equally many, of two programs.

    Args:
        mine: Blocks of the main parent.
        theirs: Blocks of the other one, as many.
        language: Python's texts are checked.
        rng: Draws which.

    Returns:
        New texts, or None when the two have nothing to exchange.
    """
    differing = [i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b]
    if not differing:
        return None
    texts = list(mine)
    if len(mine) > 1 and rng.random() < 0.5:
        for i in rng.sample(differing, rng.randint(1, len(differing))):
            texts[i] = theirs[i]
        return tuple(texts)
    which = rng.choice(differing)
    ours, others = mine[which].splitlines(keepends=True), theirs[which].splitlines(keepends=True)
    if len(ours) != len(others):
        return None
    share = rng.uniform(0.2, 0.8)
    lines = [b if rng.random() < share else a for a, b in zip(ours, others, strict=True)]
    texts[which] = "".join(lines)
    if language == "python" and not parses(texts[which]):
        return None
    return tuple(texts)


def spaced(texts: Texts, rng: random.Random) -> Texts:
    """The same program with one more blank line at the end of a block: the last resort."""
    which = rng.randrange(len(texts))
    return tuple(
        text.rstrip("\n") + "\n" * (_ends(text) + 1) if i == which else text for i, text in enumerate(texts)
    )


def parses(text: str) -> bool:
    """Whether a block is Python, on its own or as the inside of a function."""
    for attempt in (text, f"def _():\n{textwrap.indent(textwrap.dedent(text), ' ')}\n pass\n"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(attempt)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return True
    return False


def _ends(text: str) -> int:
    return max(1, len(text) - len(text.rstrip("\n")))


def _swapped(text: str, language: str, rng: random.Random) -> str | None:
    places = [
        token
        for token in tokens(text, language)
        if token.text in _PARTNERS and (token.binary or token.text not in _BINARY_ONLY)
    ]
    if not places:
        return None
    token = rng.choice(places)
    partner = rng.choice([word for word in _PARTNERS[token.text] if word != token.text])
    return text[: token.start] + partner + text[token.start + len(token.text) :]


def _moved(text: str, rng: random.Random) -> str | None:
    """A simple statement swapped with the next one, copied or dropped."""
    lines = text.splitlines(keepends=True)
    simple = [i for i, line in enumerate(lines) if _is_simple(line)]
    if not simple:
        return None
    i = rng.choice(simple)
    choice = rng.random()
    if choice < 0.5:
        if i + 1 not in simple or _indent(lines[i]) != _indent(lines[i + 1]):
            return None
        lines[i], lines[i + 1] = lines[i + 1], lines[i]
    elif choice < 0.75:
        lines.insert(i, lines[i])
    else:
        del lines[i]
    return "".join(lines)


def _is_simple(line: str) -> bool:
    code = line.strip()
    return (
        code[:1].isidentifier()
        and code[-1:] not in ":,([{\\"
        and all(code.count(a) == code.count(b) for a, b in ("()", "[]", "{}"))
        and not code.startswith(("def ", "class ", "return", "import ", "from ", "else", "elif ", "@"))
        and ("=" in code or "(" in code)
    )


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())

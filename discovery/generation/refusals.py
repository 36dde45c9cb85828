"""What a server means by refusing a request: its words to a finding and a fix.

Servers say it in prose. The forms here are those of vLLM 0.32 and of the versions before it, looked up in its sources
and seen from a running one, and of the OpenAI API; words that fit none are shown as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from discovery.config import EFFORTS

HARMONY_EFFORTS = ("low", "medium", "high")
"""What gpt-oss knows; vLLM says so only when it refuses some of the others."""

_NUMBER = r"(\d[\d,]*)"
_CONTEXT = re.compile(rf"(?:maximum context length (?:is |of |\()|max_model_len ?= ?){_NUMBER}")
_PROMPT = re.compile(
    rf"{_NUMBER} in the messages|(?:has|contains) (?:at least )?{_NUMBER} input tokens|Input length \({_NUMBER}\)"
)
_NO_ROOM = re.compile(r"max_tokens must be at least 1, got (?:0|-\d+)")
_SUPPORTED = re.compile(r"[Ss]upported values are:? ([\w', and]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a server says of its context when a request does not fit.

    Args:
        context: Tokens of prompt and completion together; None where it does not say.
        prompt: Tokens of the prompt; None where it does not say.
    """

    context: int | None
    prompt: int | None

    def left_of(self, wanted: int) -> int | None:
        """The most tokens that a completion may have, if that is fewer than were wanted; None where none are left."""
        left = 0 if self.context is None else self.context - (self.prompt or 0)
        return left if 0 < left < wanted else None


def room(words: str) -> Room | None:
    """What is said of the context; None where it is not the matter.

    Args:
        words: The server's.
    """
    context, prompt = _CONTEXT.search(words), _PROMPT.search(words)
    if context is None and _NO_ROOM.search(words) is None:
        return None
    if context is not None and "characters" in words and prompt is None:
        return Room(context=_whole(context), prompt=_whole(context))
    return Room(context=_whole(context), prompt=_whole(prompt))


def full(url: str, words: str, prompt: int | None, context: int | None) -> str:
    """The message for people when a prompt does not fit.

    Args:
        url: The server's.
        words: Its own.
        prompt: Tokens of the prompt, if it says.
        context: Tokens of its context, if it says.
    """
    size = "is too long" if prompt is None else f"has {prompt:,} tokens"
    takes = "" if context is None else f", which takes {context:,} with the answer"
    return (
        f"the prompt {size} for {url}{takes} ({words}); fewer --parents, a shorter statement or a server with a "
        "longer --max-model-len would help"
    )


def objected(words: str, fields: Iterable[str]) -> str | None:
    """The first of some fields that the words name, as a word of its own.

    Args:
        words: The server's.
        fields: Names.
    """
    return next((field for field in fields if re.search(rf"\b{re.escape(field)}\b", words)), None)


def known_efforts(words: str) -> str | None:
    """Which reasoning efforts exist, where the words are about them.

    Args:
        words: The server's.

    Returns:
        Their names with commas; None where efforts are not the matter.
    """
    if "reasoning_effort" not in words:
        return None
    said = _SUPPORTED.search(words)
    named = [effort for effort in EFFORTS if said and re.search(rf"\b{effort}\b", said[1])]
    if not named:
        named = list(HARMONY_EFFORTS if "armony" in words else EFFORTS)
    return ", ".join(named)


def _whole(match: re.Match[str] | None) -> int | None:
    number = next((group for group in match.groups() if group), None) if match else None
    return int(number.replace(",", "")) if number else None

"""What the fake model server says: replies, the tokens that make them, and the ways in which it can go wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from discovery.blocks import END, START
from discovery.generation.prompt import IMPROVE
from discovery.generation.sketch import sketch
from discovery.reflection import ADVISES
from discovery.selection.order import WORD
from discovery.testing.vocabulary import Vocabulary


class Trouble(StrEnum):
    """How to answer one chat request wrongly."""

    NONE = "none"
    """Properly, after all; to let a request pass before the next trouble."""
    UNAVAILABLE = "unavailable"
    """503, as vLLM when its queue is full."""
    TOO_MANY = "too_many"
    """429 with a Retry-After of 7 seconds."""
    SERVER_ERROR = "server_error"
    """500."""
    BAD_REQUEST = "bad_request"
    """400."""
    REFUSED = "refused"
    """The connection is closed without a byte."""
    STALLED = "stalled"
    """The request is taken, and nothing is ever sent."""
    STALLED_MIDWAY = "stalled_midway"
    """As above, after the first choice is complete."""
    HALF = "half"
    """The connection breaks after the first choice is complete."""
    CUT = "cut"
    """The stream ends properly as HTTP, after the first choice is complete, not saying that it is whole."""
    GARBAGE = "garbage"
    """An event that is not JSON."""
    ERROR_EVENT = "error_event"
    """An event that reports an internal error."""
    LATE_REFUSAL = "late_refusal"
    """An event that refuses a field, after the first choice is complete."""
    NOT_STREAMED = "not_streamed"
    """One JSON document."""
    ABORTED = "aborted"
    """Every choice is aborted, with the partial text it had."""
    ABORTED_ONE = "aborted_one"
    """The first choice is aborted, the others are whole."""
    SHORT = "short"
    """One choice, however many were asked for."""
    EMPTY = "empty"
    """No choice."""
    NO_CONTENT = "no_content"
    """All tokens went into reasoning: no content, finish reason ``length``."""
    NO_FINISH = "no_finish"
    """Choices without a finish reason."""
    NO_USAGE = "no_usage"
    """No usage at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one choice says.

    Args:
        text: Its content; None for none.
        reasoning: Its reasoning; None for none.
        finish_reason: Why it ends.
    """

    text: str | None
    reasoning: str | None = None
    finish_reason: str = "stop"


Answerer = Callable[[list[dict[str, Any]], int], Reply]
"""From a request's messages and a choice's seed to what it says."""


def advice(prompt: str, seed: int) -> Reply:
    """An answer in the form that the adviser's questions ask for: two programs of those shown, or what was learned."""
    rng = random.Random(seed)
    shown = len(re.findall(r"^# Program \d+$", prompt, re.MULTILINE))
    if shown:
        places = rng.sample(range(1, shown + 1), min(2, shown))
        return Reply(text=f"The newest are worth it.\n\n{WORD}: {', '.join(map(str, places))}")
    tried = rng.choice(("a step up", "a step down", "a long leap", "a small correction"))
    return Reply(
        text=f"APPROACH: It takes {tried} in one number.\nINSIGHT: Sign {seed % 1000} decides how far to go."
    )


def perturbed(messages: list[dict[str, Any]], seed: int) -> Reply:
    """The program that the prompt asks to improve with one of its numbers changed, in a fenced block."""
    prompt = messages[-1]["content"]
    if messages[0]["content"].startswith(ADVISES):
        return advice(prompt, seed)
    blocks = re.findall(r"^(`{3,})(\w*)\n(.*?)^\1$", prompt, re.DOTALL | re.MULTILINE)
    if not blocks:
        return Reply(text="There is no program here.")
    asked = re.search(rf"^{IMPROVE} (\d+)", prompt, re.MULTILINE)
    fence, language, program = blocks[int(asked[1]) - 1 if asked else -1]
    start = program.find("\n", program.find(START)) + 1 if START in program else 0
    end = program.rfind("\n", 0, program.find(END)) + 1 if END in program else len(program)
    part = sketch(program[start:end], language or "python")
    rng = random.Random(seed)
    numbers = [part.text[literal.start : literal.end] for literal in part.literals]
    places = [i for i, literal in enumerate(part.literals) if isinstance(literal.value, float)]
    if places:
        place = rng.choice(places)
        change = rng.gauss(0.0, 10.0 ** rng.uniform(-3.0, 0.5))
        numbers[place] = repr(round(part.literals[place].value + change, 6))
    changed = program[:start] + part.with_numbers(numbers) + program[end:]
    return Reply(text=f"One number changed.\n\n{fence}{language}\n{changed}{fence}\n")


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a choice.

    Args:
        id: Its id.
        text: Its text as the model writes it.
        part: Which part of the message it belongs to: ``content``, ``reasoning``, or none for a marker.
    """

    id: int
    text: str
    part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A choice as a row of tokens.

    Args:
        tokens: All of them.
        finish_reason: Why it ends.
        stop_reason: The stop string that ended it, if one did.
    """

    tokens: tuple[Token, ...]
    finish_reason: str | None
    stop_reason: str | None = None

    def parts(self, pieces: int, interval: int | None, body: Mapping[str, Any]) -> list[Sequence[Token]]:
        """Cut as it is streamed; at least one part, which may be empty.

        Args:
            pieces: So many about equal ones, where there is no interval.
            interval: As vLLM does: the first token alone, then so many at once, or as many as the request wants.
            body: The request.
        """
        size = len(self.tokens)
        if interval is None:
            cuts = [size * i // pieces for i in range(pieces + 1)]
        else:
            cuts = [0, *range(1, size, max(interval, int(body.get("stream_interval") or 1))), size]
        return [self.tokens[a:b] for a, b in pairwise(cuts) if a < b] or [()]


def disturbed(reply: Reply, trouble: Trouble, *, is_first: bool) -> Reply:
    """What a choice says under a trouble.

    Args:
        reply: What it would say.
        trouble: Of its request.
        is_first: Whether it is the first choice.
    """
    if trouble is Trouble.NO_CONTENT:
        return Reply(text=None, reasoning="Let me think about it", finish_reason="length")
    if trouble is Trouble.ABORTED or (trouble is Trouble.ABORTED_ONE and is_first):
        text = (reply.text or "")[: len(reply.text or "") // 2]
        return Reply(text=text, reasoning=reply.reasoning, finish_reason="abort")
    return reply


def written(
    reply: Reply,
    vocabulary: Vocabulary,
    body: Mapping[str, Any],
    *,
    room: int,
    is_opened: bool = False,
    pad: int = 0,
) -> Written:
    """The tokens of a reply, as far as the request lets it come.

    Args:
        reply: What the model would say.
        vocabulary: Its tokens.
        body: The request: ``stop``, ``max_tokens``.
        room: Tokens that the context leaves.
        is_opened: Whether the prompt holds everything up to the answer already.
        pad: Fill the answer up to so many tokens; 0 does not.
    """
    parts: list[tuple[str, str]] = []
    if reply.reasoning is not None and not is_opened:
        parts += [(vocabulary.opens_reasoning, ""), (reply.reasoning, "reasoning")]
        if reply.text is not None:
            parts.append((vocabulary.opens_answer, ""))
    parts.append((reply.text or "", "content"))
    if reply.finish_reason == "stop":
        parts.append((vocabulary.end, ""))
    tokens = [token for text, part in parts for token in _tokens(text, part, vocabulary)]
    if pad > len(tokens):
        filler = _tokens("word" * (pad - len(tokens)), "content", vocabulary)
        place = next((i for i, token in enumerate(tokens) if token.part == "content"), len(tokens))
        tokens = [*tokens[:place], *filler, *tokens[place:]]
    stopped = _stopped(tokens, body.get("stop"))
    if stopped is not None:
        tokens, stop = stopped
    most = min(room, int(body.get("max_completion_tokens") or body.get("max_tokens") or room))
    if len(tokens) > most:
        return Written(tokens=_cut(tokens[:most], vocabulary), finish_reason="length")
    if stopped is not None:
        return Written(tokens=tuple(tokens), finish_reason="stop", stop_reason=stop)
    return Written(tokens=tuple(tokens), finish_reason=reply.finish_reason)


def _tokens(text: str, part: str, vocabulary: Vocabulary) -> list[Token]:
    ids = vocabulary.encode(text)
    return [Token(i, vocabulary.decode((i,)), part) for i in ids]


def _stopped(tokens: list[Token], stop: Any) -> tuple[list[Token], str] | None:
    """What is left of tokens in which a stop string turns up, wherever it does; it is left out of the texts."""
    stops = [stop] if isinstance(stop, str) else list(stop or ())
    text = ""
    for count, token in enumerate(tokens, start=1):
        text += token.text
        for found in stops:
            place = text.find(found)
            if place >= 0:
                kept = tokens[:count]
                left = len(text) - place
                for at in range(count - 1, -1, -1):
                    shorter = kept[at].text[: max(0, len(kept[at].text) - left)]
                    left -= len(kept[at].text) - len(shorter)
                    kept[at] = Token(kept[at].id, shorter, kept[at].part)
                    if left <= 0:
                        break
                return kept, found
    return None


def _cut(tokens: list[Token], vocabulary: Vocabulary) -> tuple[Token, ...]:
    """Tokens that were cut off. vLLM streams the beginning of a harmony header as content."""
    if vocabulary.style == "harmony" and tokens and not tokens[-1].part:
        last = len(tokens) - 1
        while last and not tokens[last].text.startswith("<|"):
            last -= 1
        if tokens[last].text in ("<|start|>", "<|channel|>"):
            tokens = [*tokens[:last], *(Token(t.id, t.text, "content") for t in tokens[last:])]
    return tuple(tokens)

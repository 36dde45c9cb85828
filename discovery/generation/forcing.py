"""Forced answers: when a model has reasoned and not answered, and with which tokens it is made to answer.

A reasoning model that spends its tokens before its answer has cost all and given nothing. Its tokens are not lost,
though: the prompt's ids, the completion's, and the few tokens that end reasoning and open the answer are the prompt of
a second, plain completion, which is the answer (token forcing, as in SimpleTES). The two are one completion; which of
its tokens are ours is recorded, and they have no log-probability, since the model did not draw them.

Whether there was an answer is read off the token ids, not off the texts: vLLM streams the start of a header that was
cut off (``<|start|>``) as content. Which tokens open an answer depends on the model's vocabulary, never on its name:

- harmony (gpt-oss): the special tokens of harmony and its two words have the ids that they have in its published
  vocabulary; a server's tokenizer must read those ids as the right text. Text would not do: tokenizers without merges
  split the words.
- ``</think>``: where that is one token.

What is already there of the opening, at the end of the tokens or of the prompt, is not put in twice. A stop token that
ended the reasoning is taken out: the model never sees it before its answer, so neither may training. A stop string
stays, tokens have no seam there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from discovery.generation.stream import Choice
from discovery.records import TokenUsage

HARMONY = "<|end|><|start|>assistant<|channel|>final<|message|>"
HARMONY_IDS = (200007, 200006, 173781, 200005, 17196, 200008)
"""The ids of :data:`HARMONY` in the o200k_harmony vocabulary."""
THINK = "</think>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a model must have written before its answer.

    Args:
        ids: The tokens that end reasoning and open the answer.
        answers: Those of them that are there whenever an answer is: the first two side by side, a third somewhere
            after them (harmony may have more words in the header: ``final <|constrain|>json``).
        ends: Tokens that end an answer and that the server may not take for its end by itself.
    """

    ids: tuple[int, ...]
    answers: tuple[int, ...]
    ends: tuple[int, ...] = ()

    def is_in(self, ids: Sequence[int]) -> bool:
        """Whether an answer was opened somewhere in a completion's tokens."""
        begin, end = self.answers[:2], self.answers[2:]
        for place in range(len(ids)):
            if tuple(ids[place : place + len(begin)]) == begin:
                return not end or end[0] in ids[place:]
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """A choice that gets an answer.

    Args:
        choice: What the model gave of itself.
        prompt: Ids of the prompt's tokens.
        kept: Those of the choice's tokens that stay.
        inserted: Ours.
        has_text: Whether the choice's text is the beginning of its answer.
    """

    choice: Choice
    prompt: tuple[int, ...]
    kept: tuple[int, ...]
    inserted: tuple[int, ...]
    has_text: bool

    @property
    def request(self) -> tuple[int, ...]:
        """The second request's prompt."""
        return (*self.prompt, *self.kept, *self.inserted)

    @property
    def span(self) -> tuple[int, int]:
        """First and past-the-last position of our tokens among the completion's."""
        return len(self.kept), len(self.kept) + len(self.inserted)

    def with_answer(self, answer: Choice) -> Choice:
        """The one choice that both requests make.

        Both requests are paid for, so both count: the second's prompt tokens, ours among them, are prompt tokens.
        """
        first = self.choice
        ids = logprobs = None
        if answer.token_ids is not None:
            ids = (*self.kept, *self.inserted, *answer.token_ids)
        if first.logprobs is not None and answer.logprobs is not None and ids is not None:
            drawn = first.logprobs[: len(self.kept)]
            logprobs = (*drawn, *(None,) * len(self.inserted), *answer.logprobs)
        begun = (first.text or "") if self.has_text else ""
        return replace(
            answer,
            index=first.index,
            text=begun + (answer.text or "") or None,
            reasoning=first.reasoning,
            tokens=_sum(first.tokens, answer.tokens),
            token_ids=ids,
            logprobs=logprobs,
            misaligned=first.misaligned or answer.misaligned,
        )


def harmony_opening() -> Opening:
    """The opening of harmony."""
    end, start, _, channel, final, message = HARMONY_IDS
    return Opening(ids=HARMONY_IDS, answers=(channel, final, message), ends=(end, start))


def think_opening(think: int) -> Opening:
    """The opening of models that end reasoning with one token."""
    return Opening(ids=(think,), answers=(think,))


def forced(choice: Choice, prompt: tuple[int, ...] | None, opening: Opening) -> Forced | None:
    """What to ask for where a choice reasoned and did not answer; None where it did, or nothing can be done.

    Args:
        choice: Complete.
        prompt: Ids of the prompt's tokens, where known.
        opening: Of the model's vocabulary.
    """
    ids = choice.token_ids
    if prompt is None or ids is None or not may_lack_answer(choice):
        return None
    if opening.is_in(ids):
        has_text = bool((choice.text or "").strip())
        if has_text or choice.finish_reason == "stop":
            return None
        return Forced(choice=choice, prompt=prompt, kept=ids, inserted=(), has_text=True)
    if choice.reasoning is None and opening.answers[0] not in ids:
        return None
    if choice.finish_reason == "stop" and choice.stop_string is None:
        ids = ids[:-1]
    there = _overlap((*prompt, *ids)[-len(opening.ids) :], opening.ids)
    return Forced(choice=choice, prompt=prompt, kept=ids, inserted=opening.ids[there:], has_text=False)


def may_lack_answer(choice: Choice) -> bool:
    """Whether it is worth finding out how the model opens an answer; an answer of some length needs no look."""
    if choice.finish_reason not in ("length", "stop"):
        return False
    text = (choice.text or "").strip()
    return not text or (choice.finish_reason == "length" and text.startswith("<|"))


def answer_seed(seed: int) -> int:
    """The seed of the second request, from that of the choice: 48 bits of its SHA-256.

    The choice's own would draw the answer with the same random numbers as its first tokens.
    """
    digest = hashlib.sha256(f"forced answer {seed}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


def _overlap(end: tuple[int, ...], opening: tuple[int, ...]) -> int:
    """How many of the opening's first tokens are the last ones already."""
    return next((n for n in range(len(opening), 0, -1) if end[-n:] == opening[:n]), 0)


def _sum(first: TokenUsage | None, second: TokenUsage | None) -> TokenUsage | None:
    if first is None or second is None:
        return first or second
    return TokenUsage(
        prompt=_plus(first.prompt, second.prompt),
        completion=_plus(first.completion, second.completion),
        reasoning=_plus(first.reasoning, second.reasoning),
        cached=_plus(first.cached, second.cached),
    )


def _plus(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else first + second

"""A model and the decoding of one request's choices: all together, each drawn by a generator of its own.

What a choice says depends on the request alone: on its prompt, its sampling, the number of choices and its seed. The
prompt is read once; its keys and values are then copied for each choice. A choice that has ended leaves the batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discovery.errors import UsageError, boundary
from discovery.training.base import quiet
from discovery.training.engine.asked import Asked, Sampling

if TYPE_CHECKING:
    from torch import Generator, Tensor

_DRAWS = 256
"""Random numbers that are drawn at once for a choice."""
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some tokens of a choice.

    Args:
        index: Of the choice.
        text: What they add to its text.
        ids: Their ids; of the last piece, the token that ended it among them.
        logprobs: Their log-probabilities under the model as it is, before temperature.
        names: Their own texts.
        finish_reason: Why it ended, ``stop`` or ``length``; None where it goes on.
        stop_reason: The text or the token of the request that ended it; None for the model's own end.
    """

    index: int
    text: str
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    names: tuple[str, ...]
    finish_reason: str | None = None
    stop_reason: str | int | None = None


@dataclass(slots=True)
class _Open:
    """A choice that is being decoded."""

    index: int
    draws: Generator
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    drawn: list[float] = field(default_factory=list)
    told: int = 0
    """Tokens that went out in pieces."""
    text: str = ""
    """What went out."""
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    cut: int | None = None
    """Characters of its text before the text that ended it."""


class Decoder:
    """A causal language model of the transformers package on the processor.

    Args:
        folder: Of the model.
        context: Longest prompt with a choice, in tokens; None for the model's own.
        threads: Of one operation.

    Raises:
        UsageError: It cannot be loaded.
    """

    def __init__(self, folder: Path, *, context: int | None = None, threads: int = 1) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        quiet()
        torch.set_num_threads(threads)
        with boundary(f"loading {folder}", UsageError):
            self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
        if self._tokenizer.chat_template is None:
            raise UsageError(f"{folder} has no chat template; give its tokenizer one: chat_template.jinja")
        own = int(getattr(self._model.config, "max_position_embeddings", 0) or 2048)
        if context is not None and context > own:
            raise UsageError(f"--max-model-len {context}: {folder} has {own} positions; take no more")
        self.context = context or own
        self._ends = _ends(folder, self._tokenizer.eos_token_id)
        self._names: dict[int, str] = {}

    def prompt(
        self, messages: Sequence[Mapping[str, Any]], more: Mapping[str, Any] | None = None
    ) -> tuple[int, ...]:
        """The ids of a prompt, by the model's chat template.

        Args:
            messages: Of the prompt.
            more: Further arguments of the template.

        Raises:
            UsageError: The template refuses the messages.
        """
        with boundary("the model's chat template", UsageError):
            text = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=True,
                **(more or {}),
            )
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(
        self,
        request: Asked,
        prompt: Sequence[int],
        room: int,
        put: Callable[[Piece], None],
        is_gone: Callable[[], bool],
    ) -> None:
        """Decode the choices of a request.

        Args:
            request: What was asked.
            prompt: Ids of its prompt.
            room: Most tokens of a choice.
            put: Told each piece.
            is_gone: Whether nobody waits for it any more; asked before each step.
        """
        import torch

        going = [
            _Open(index, torch.Generator().manual_seed(request.seed + index))
            for index in range(request.count)
        ]
        with torch.inference_mode():
            read = self._model(input_ids=torch.tensor([list(prompt)]), use_cache=True, logits_to_keep=1)
            cache, logits = read.past_key_values, read.logits[:, -1].expand(request.count, -1)
            if request.count > 1:
                cache.batch_repeat_interleave(request.count)
            while not is_gone():
                tokens, logprobs = _drawn(logits, request.sampling, going)
                for choice, token, logprob in zip(going, tokens.tolist(), logprobs.tolist(), strict=True):
                    self._take(choice, token, logprob, request, room)
                    if choice.finish_reason or len(choice.ids) - choice.told >= request.interval:
                        put(self._piece(choice))
                rows = [row for row, choice in enumerate(going) if choice.finish_reason is None]
                if not rows:
                    return
                if len(rows) < len(going):
                    cache.batch_select_indices(torch.tensor(rows))
                    tokens, going = tokens[rows], [going[row] for row in rows]
                logits = self._model(input_ids=tokens[:, None], past_key_values=cache, use_cache=True).logits[
                    :, -1
                ]

    def _take(self, choice: _Open, token: int, logprob: float, request: Asked, room: int) -> None:
        choice.ids.append(token)
        choice.logprobs.append(logprob)
        if token in self._ends and not request.ignore_end:
            choice.finish_reason = "stop"
        elif token in request.stop_ids:
            choice.finish_reason, choice.stop_reason = "stop", token
        elif request.stop and (found := _first(self._text(choice.ids), request.stop)) is not None:
            choice.finish_reason = "stop"
            choice.cut, choice.stop_reason = found
        elif len(choice.ids) >= room:
            choice.finish_reason = "length"

    def _piece(self, choice: _Open) -> Piece:
        """What of a choice has not gone out yet; of its text, not what may still become another character."""
        ids = tuple(choice.ids[choice.told :])
        text = self._text(choice.ids)[: choice.cut]
        if choice.finish_reason is None:
            text = text.rstrip(_UNFINISHED)
        new, choice.text = text[len(choice.text) :], max(text, choice.text, key=len)
        logprobs, choice.told = tuple(choice.logprobs[choice.told :]), len(choice.ids)
        return Piece(
            index=choice.index,
            text=new,
            ids=ids,
            logprobs=logprobs,
            names=tuple(self._name(token) for token in ids),
            finish_reason=choice.finish_reason,
            stop_reason=choice.stop_reason,
        )

    def _text(self, ids: Sequence[int]) -> str:
        return str(
            self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    def _name(self, token: int) -> str:
        if token not in self._names:
            self._names[token] = str(self._tokenizer.decode([token]))
        return self._names[token]


def _drawn(logits: Tensor, sampling: Sampling, going: Sequence[_Open]) -> tuple[Tensor, Tensor]:
    """A token for each row of logits, and its log-probability before temperature and cuts."""
    import torch

    logprobs = torch.log_softmax(logits.float(), dim=-1)
    if sampling.temperature == 0:
        tokens = logprobs.argmax(dim=-1)
    else:
        weights = torch.softmax(logits.double() / sampling.temperature, dim=-1)
        weights = _cut(weights, sampling)
        sums = weights.cumsum(dim=-1)
        # Below the whole sum, so that what has no weight is never drawn, at the end least of all.
        places = torch.tensor([[_draw(choice)] for choice in going], dtype=torch.float64) * sums[:, -1:]
        tokens = torch.searchsorted(sums, places, right=True).squeeze(1)
        last = weights.shape[1] - 1 - (weights.flip(1) > 0).int().argmax(dim=1)
        tokens = torch.minimum(tokens, last)
    return tokens, logprobs.gather(1, tokens[:, None]).squeeze(1)


def _cut(weights: Tensor, sampling: Sampling) -> Tensor:
    """Weights without what ``top_k`` and ``top_p`` leave out."""
    import torch

    if 0 < sampling.top_k < weights.shape[1]:
        least = weights.topk(sampling.top_k, dim=-1).values[:, -1:]
        weights = torch.where(weights < least, 0.0, weights)
    if sampling.top_p < 1:
        ordered, order = weights.sort(dim=-1, descending=True)
        before = ordered.cumsum(dim=-1) - ordered
        ordered = torch.where(before >= sampling.top_p * ordered.sum(dim=-1, keepdim=True), 0.0, ordered)
        weights = torch.zeros_like(weights).scatter(1, order, ordered)
    return weights


def _draw(choice: _Open) -> float:
    """The next random number of a choice, 0 to below 1."""
    if not choice.drawn:
        import torch

        drawn: list[float] = torch.rand(_DRAWS, generator=choice.draws, dtype=torch.float64).tolist()
        choice.drawn = drawn[::-1]
    return choice.drawn.pop()


def _first(text: str, stops: Sequence[str]) -> tuple[int, str] | None:
    """Where the first of some texts begins in another, and which it is."""
    found = [(place, stop) for stop in stops if (place := text.find(stop)) >= 0]
    return min(found) if found else None


def _ends(folder: Path, own: int | None) -> frozenset[int]:
    """Tokens that end an answer: the tokenizer's, and those of ``generation_config.json``."""
    told: Any = None
    path = folder / "generation_config.json"
    if path.is_file():
        told = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    listed = told if isinstance(told, list) else [told]
    return frozenset(token for token in (*listed, own) if isinstance(token, int))

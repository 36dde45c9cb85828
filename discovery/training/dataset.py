"""From a row of an export to token ids: the prompt as a server would have made it, and what is learned after it.

A row's text is what the model's own chat template makes of its messages. The prompt is the template with the
generation prompt, which must be how the whole begins: else the model would be trained on another prompt than it is
asked with, and the row is refused. Only what comes after is learned, the end of the turn included. Nothing is ever cut:
a row that is too long is left out and counted.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discovery.errors import UsageError, boundary

THINKING = "thinking"
"""Key of an answer's reasoning in gpt-oss's template and in our rows."""
_REASONING_KEYS = (THINKING, "reasoning_content")
TOO_LONG = "longer than max_tokens"
NO_KEY = "reasoning dropped: the chat template has no place for it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One row as the model sees it.

    Args:
        ids: Token ids of the prompt and what follows.
        learned: Position of the first that is learned; all after it are, too.
        weight: What the row weighs in the loss, above 0.
    """

    ids: tuple[int, ...]
    learned: int
    weight: float

    @property
    def learned_tokens(self) -> int:
        """How many tokens are learned."""
        return len(self.ids) - self.learned


@dataclass(frozen=True, slots=True, kw_only=True)
class Encodings:
    """Rows as the model sees them.

    Args:
        rows: Those that are used.
        left_out: How many are not, by reason; and how many lost something, likewise.
    """

    rows: tuple[Encoded, ...]
    left_out: Mapping[str, int]


def encode_rows(tokenizer: Any, rows: Iterable[Mapping[str, Any]], *, max_tokens: int) -> Encodings:
    """Rows of format ``trl-sft`` as token ids.

    Args:
        tokenizer: The model's, with its chat template.
        rows: ``prompt``, ``completion``, and ``weight`` where it is not 1.
        max_tokens: Longest row.

    Raises:
        UsageError: A row cannot be learned from; names it by its origin.
    """
    require_template(tokenizer)
    found: list[Encoded] = []
    left_out: Counter[str] = Counter()
    for number, row in enumerate(rows, 1):
        encoded, is_dropped = encode_row(tokenizer, row, number)
        if len(encoded.ids) > max_tokens:
            left_out[TOO_LONG] += 1
            continue
        left_out[NO_KEY] += is_dropped
        found.append(encoded)
    return Encodings(rows=tuple(found), left_out={reason: n for reason, n in left_out.items() if n})


def require_template(tokenizer: Any) -> None:
    """Refuse a tokenizer that does not say how messages become text.

    Raises:
        UsageError: It has no chat template.
    """
    if not tokenizer.chat_template:
        raise UsageError(
            f"{tokenizer.name_or_path} has no chat template, so nothing says how it reads messages; "
            "train the instruction-tuned model, or save a template with its tokenizer"
        )


def _text_pair(
    tokenizer: Any, row: Mapping[str, Any], answer: Sequence[Mapping[str, Any]]
) -> tuple[str, str]:
    """The prompt's text and the whole text of a row.

    Args:
        tokenizer: With its chat template.
        row: Its ``prompt``, and ``chat_template_kwargs`` where it has some.
        answer: The messages after the prompt.
    """
    extra = row.get("chat_template_kwargs") or {}
    prompt = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True, **extra)
    whole = tokenizer.apply_chat_template([*row["prompt"], *answer], tokenize=False, **extra)
    return prompt, whole


def encode_row(tokenizer: Any, row: Mapping[str, Any], number: int) -> tuple[Encoded, bool]:
    """A row as token ids, and whether it has reasoning that is not among them.

    Args:
        tokenizer: With its chat template.
        row: ``prompt``, ``completion``, and ``weight`` where it is not 1.
        number: Its place, for messages.

    Raises:
        UsageError: It cannot be learned from.
    """
    where = f"row {number} ({json.dumps(row.get('origin'))})"
    with boundary(f"{where} in the chat template of {tokenizer.name_or_path}", UsageError):
        return _encode(tokenizer, row, where)


def _encode(tokenizer: Any, row: Mapping[str, Any], where: str) -> tuple[Encoded, bool]:
    weight = row.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise UsageError(f"{where} has weight {weight!r}; expected a finite number above 0")
    prompt, rest, is_dropped = _texts(tokenizer, row, where)
    asked = _ids(tokenizer, prompt)
    ids = _ids(tokenizer, prompt + rest)
    if ids[: len(asked)] != asked:  # a token would span the boundary, where a server never makes one
        ids = asked + _ids(tokenizer, rest)
    end = tokenizer.eos_token_id
    if end is not None and end not in ids[len(asked) :]:
        ids.append(end)
    return Encoded(ids=tuple(ids), learned=len(asked), weight=float(weight)), is_dropped


def _texts(tokenizer: Any, row: Mapping[str, Any], where: str) -> tuple[str, str, bool]:
    """A row's prompt, what is learned after it, and whether the reasoning is not in that.

    Templates drop without a word what they do not know, so what they made is looked at: the answer must be in it, and
    the reasoning is given under each key until it is.
    """
    try:
        answer = [dict(message) for message in row["completion"]]
        content = str(answer[-1]["content"] or "").strip()
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UsageError(f"{where} has no messages under `completion`; export as trl-sft") from error
    if not content:
        raise UsageError(f"{where} has no completion to learn; export again")
    said = [answer[-1].pop(key, None) for key in _REASONING_KEYS]
    reasoning = str(next((text for text in said if text), "")).strip()
    for key in (*_REASONING_KEYS, None) if reasoning else (None,):
        given = [*answer[:-1], {**answer[-1], key: reasoning}] if key else answer
        prompt, whole = _text_pair(tokenizer, row, given)
        rest = whole[len(prompt) :]
        if whole.startswith(prompt) and (key is None or reasoning in rest):
            break
    else:
        raise UsageError(
            f"{where}: the chat template does not begin the whole with the prompt that the model is asked with; "
            f"the prompt ends in {prompt[-40:]!r}"
        )
    if content not in rest:
        raise UsageError(f"{where}: the chat template drops the answer; it makes {rest[:80]!r} of it")
    return prompt, rest, bool(reasoning) and key is None


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def collate(rows: Sequence[Encoded], padding: int) -> Mapping[str, Any]:
    """A batch of rows as tensors, padded at their ends.

    Args:
        rows: The rows.
        padding: Id to pad with; masked everywhere.

    Returns:
        ``input_ids`` and ``attention_mask`` (rows x tokens), ``labels`` (the same, -100 where nothing is learned),
        ``weights`` (rows, float32).
    """
    import torch

    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), padding, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    labels = torch.full((len(rows), longest), -100, dtype=torch.long)
    for place, row in enumerate(rows):
        length = len(row.ids)
        ids[place, :length] = torch.tensor(row.ids)
        mask[place, :length] = 1
        labels[place, row.learned : length] = ids[place, row.learned : length]
    weights = torch.tensor([row.weight for row in rows], dtype=torch.float32)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "weights": weights}

"""The fake model's tokens: four characters each, the special ones of harmony or of ``</think>`` models as one.

Ids are hashes of the texts, so they are alike everywhere and can be read back by whoever wrote them. The special ones
have the ids that they have in gpt-oss.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

SPECIAL = {
    "<|return|>": 200002,
    "<|channel|>": 200005,
    "<|start|>": 200006,
    "<|end|>": 200007,
    "<|message|>": 200008,
    "<|call|>": 200012,
}
WORDS = {"assistant": 173781, "final": 17196, "analysis": 35644}
"""Words of harmony's headers, which are one token each."""
THINK = {"<|start|>": 300006, "<|end|>": 300007, "<|message|>": 300008, "<think>": 300020, "</think>": 300021}
_FIRST, _COUNT = 1_000_000, 8_000_000
_WIDTH = 4
_known: dict[int, str] = {}
_MESSAGE = re.compile(r"<\|start\|>(\w+)<\|message\|>(.*?)<\|end\|>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A way to make tokens of texts.

    Args:
        style: How the model marks its reasoning: ``harmony`` or ``think``.
    """

    style: str = "harmony"

    @property
    def special(self) -> dict[str, int]:
        """Tokens that texts of the model leave out."""
        return SPECIAL if self.style == "harmony" else THINK

    @property
    def end(self) -> str:
        """The token that ends everything."""
        return "<|return|>" if self.style == "harmony" else "<|end|>"

    @property
    def opens_reasoning(self) -> str:
        """What comes before reasoning."""
        return "<|channel|>analysis<|message|>" if self.style == "harmony" else "<think>"

    @property
    def opens_answer(self) -> str:
        """What comes between reasoning and answer."""
        if self.style == "harmony":
            return "<|end|><|start|>assistant<|channel|>final<|message|>"
        return "</think>"

    def encode(self, text: str) -> tuple[int, ...]:
        """The tokens of a text, special ones read as such."""
        return _encoded(text, self.style)

    def decode(self, ids: Iterable[int], *, skip_special: bool = False) -> str:
        """The text of tokens; what no text had is left out."""
        names = {i: "" if skip_special else name for name, i in self.special.items()}
        words = {i: word for word, i in WORDS.items()} if self.style == "harmony" else {}
        return "".join(names[i] if i in names else words.get(i) or _known.get(i, "") for i in ids)

    def prompt(self, messages: Sequence[dict[str, Any]]) -> str:
        """Messages as the model reads them."""
        said = [f"<|start|>{m['role']}<|message|>{m['content']}<|end|>" for m in messages]
        return "".join(said) + "<|start|>assistant"

    def messages(self, prompt: str) -> tuple[list[dict[str, Any]], bool]:
        """The inverse of :meth:`prompt`, and whether the model's answer is opened at the end of it already."""
        *_, last = prompt.rpartition("<|start|>assistant")
        found = [{"role": role, "content": content} for role, content in _MESSAGE.findall(prompt)]
        found = [m for m in found if m["role"] != "assistant"] or [{"role": "user", "content": prompt}]
        opening = "<|channel|>final<|message|>" if self.style == "harmony" else "</think>"
        return found, opening in last


@lru_cache(maxsize=8192)
def _encoded(text: str, style: str) -> tuple[int, ...]:
    special = SPECIAL if style == "harmony" else THINK
    ids: list[int] = []
    for part in re.split("(" + "|".join(map(re.escape, special)) + ")", text):
        if part in special:
            ids.append(special[part])
        elif style == "harmony" and part in WORDS:
            ids.append(WORDS[part])
        else:
            ids += [_id_of(part[start : start + _WIDTH]) for start in range(0, len(part), _WIDTH)]
    return tuple(ids)


def _id_of(chunk: str) -> int:
    number = _FIRST + zlib.crc32(chunk.encode("utf-8", "surrogatepass")) % _COUNT
    while _known.setdefault(number, chunk) != chunk:
        number = _FIRST + (number + 1 - _FIRST) % _COUNT
    return number

"""A tokenizer for small models, made from the texts that they are to read.

Byte-level, so that any text comes back whole. A line is one word here, so that what all prompts have in common takes
few tokens; a line that sets a digit (``h[3] = 7``) is one as well, and becomes one token: to change a program is then
to look up one token and to say another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from discovery.records import Message

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, BOS, END, ASSISTANT = "<|pad|>", "<|bos|>", "<|end|>", "<|assistant|>"
_SPECIAL = (PAD, BOS, "<|system|>", "<|user|>", ASSISTANT, END)
_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_WORDS = r"\n *\w+\[\d+\] = \d|-?\d+\.\d+(?:e-?\d+)?|\d|\n+[^\d\n]*|[^\d\n]+"
"""A line that sets a digit, a number with a point, a digit, and the text between those, line by line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A token that sets a digit.

    Args:
        token: Its id.
        place: Which digit.
        digit: To what.
    """

    token: int
    place: int
    digit: int


class Words:
    """A tokenizer that was just made.

    Args:
        made: The library's.
    """

    def __init__(self, made: Tokenizer) -> None:
        self._made = made

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return int(self._made.get_vocab_size())

    def id(self, special: str) -> int:
        """The id of a special token."""
        return int(self._made.token_to_id(special) or 0)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, in which no special token is looked for."""
        return list(self._made.encode(text).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        return str(self._made.decode(list(ids)))

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a prompt, as the chat template has them."""
        found = [self.id(BOS)]
        for message in messages:
            found += [self.id(f"<|{message.role}|>"), *self.encode(message.content), self.id(END)]
        return [*found, self.id(ASSISTANT)]

    def save(self, folder: Path) -> None:
        """Write it with its chat template, as the transformers package and vLLM read it."""
        from transformers import PreTrainedTokenizerFast

        fast = PreTrainedTokenizerFast(
            tokenizer_object=self._made,
            pad_token=PAD,
            bos_token=BOS,
            eos_token=END,
            clean_up_tokenization_spaces=False,
        )
        fast.chat_template = _TEMPLATE
        fast.save_pretrained(folder)


def words_of(texts: Iterable[str], size: int) -> Words:
    """Make a tokenizer.

    Args:
        texts: What it is to read; what is frequent there becomes one token.
        size: Most tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    return Words(made)


def rows(words: Words, lines: Mapping[tuple[int, int], str]) -> tuple[Row, ...]:
    """The tokens that set digits.

    Args:
        words: The tokenizer.
        lines: Place and digit to the line that sets it, newline first.

    Raises:
        ValueError: A line is more than one token.
    """
    found = []
    for (place, digit), line in lines.items():
        ids = words.encode(line)
        if len(ids) != 1:
            raise ValueError(f"{line!r} is {len(ids)} tokens; give it more often when the tokenizer is made")
        found.append(Row(token=ids[0], place=place, digit=digit))
    return tuple(found)

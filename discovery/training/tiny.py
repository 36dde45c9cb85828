"""A generator that can be trained on a laptop: a small Llama, its tokenizer and what it knows, made here from nothing.

It answers prompts of the problems in :data:`~discovery.training.lessons.FAMILY` with valid programs that stay near the
program to be improved, and it does not know what scores well. So a run with it gets somewhere, slowly, and what it
finds can be trained on.

It is taught (:mod:`discovery.training.pupil`) for about a minute of one core. Two choices matter more than sizes do:

- Rotary positions with a large base, and wide initial weights. Of the 32 dimensions of a head, most then turn too
  little within a prompt to disturb a look-up by content.
- What sets a digit is one token, and begins as the sum of a vector of its place and one of its digit: what is learnt of
  one row holds for the others at once.

The same seed gives the same weights on the same machine: one thread, and every draw from the seed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from discovery.errors import UsageError
from discovery.generation.weights import fingerprint, read_weights
from discovery.training import lineage
from discovery.training.base import quiet, require_libraries
from discovery.training.config import TrainConfig
from discovery.training.lessons import DIGITS, ROW, Teacher, family, number_of_parents
from discovery.training.pupil import RATE, Pupil
from discovery.training.tokens import BOS, END, PAD, Words, rows, words_of

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

METHOD = "new-tiny"
"""What a lineage says of weights that were made here from nothing."""
BASE = "nothing"

_VOCABULARY = 1536
_CONTEXT = 4096
_HIDDEN, _LAYERS, _HEADS, _KV_HEADS, _HEAD = 64, 2, 4, 2, 32
_ROPE_BASE = 1e6
_SPREAD = 0.1
"""Standard deviation of the initial weights."""
_TEXTS = 400
"""Lessons that the tokenizer is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schooling:
    """How long a model is taught.

    Args:
        repeating: Steps of the first stage.
        lessons: Steps of the second.
        examined: Answers to prompts of each problem that are looked at in the end, at least 8.
    """

    repeating: int = 200
    lessons: int = 700
    examined: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiny:
    """A model that was made.

    Args:
        folder: Where it is.
        parameters: How many it has.
        vocabulary: How many tokens.
        context_tokens: Longest prompt with its answer.
        prompt_tokens: Name of each problem to the longest prompt seen, with three parents.
        valid: Name of each problem to the share of answers that are programs with the right number of digits.
        kept: Name of each problem to the share of digits in those which are the main parent's.
        seconds: Processor time that it took.
    """

    folder: Path
    parameters: int
    vocabulary: int
    context_tokens: int
    prompt_tokens: Mapping[str, int]
    valid: Mapping[str, float]
    kept: Mapping[str, float]
    seconds: float


def make_tiny(
    folder: Path,
    *,
    seed: int = 0,
    schooling: Schooling | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Tiny:
    """Make a model and teach it.

    Args:
        folder: Where to; must not be there, or be empty. It gets its content when all is done, at once.
        seed: Of its weights and of all that it is shown.
        schooling: How long it is taught; None for as long as it needs.
        tell: Told in one line how far it is.

    Raises:
        UsageError: The folder holds something.
        MissingComponent: A library is missing.
    """
    require_libraries()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; name a new folder")
    quiet()
    schooling = schooling or Schooling()
    began_s = time.process_time()
    rng = random.Random(seed)
    teachers = family()
    words = _words(teachers, rng)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place, _one_thread(seed):
        half = Path(place) / "model"
        pupil = Pupil(_untaught(words, _lines(teachers)), words, teachers, rng, tell)
        pupil.repeat(schooling.repeating)
        pupil.learn(schooling.lessons)
        answered = {each.problem.name: pupil.examined(each, schooling.examined) for each in teachers}
        pupil.model.save_pretrained(half)
        words.save(half)
        made = Tiny(
            folder=folder,
            parameters=sum(each.numel() for each in pupil.model.parameters()),
            vocabulary=words.size,
            context_tokens=_CONTEXT,
            prompt_tokens={name: each.prompt_tokens for name, each in answered.items()},
            valid={name: each.valid for name, each in answered.items()},
            kept={name: each.kept for name, each in answered.items()},
            seconds=time.process_time() - began_s,
        )
        lineage.write(half, _lineage(half, made, seed, schooling))
        half.rename(folder)
    return made


def _lineage(folder: Path, made: Tiny, seed: int, schooling: Schooling) -> lineage.Lineage:
    """That nobody else's words are in it: it is its maker's own, to be trained and given away."""
    metrics: dict[str, Any] = {
        "made_from": "weights drawn at random and programs drawn at random; no data of others, no model's words",
        "parameters": made.parameters,
        "valid": dict(made.valid),
        "kept": dict(made.kept),
        "seconds": round(made.seconds, 1),
    }
    return lineage.Lineage(
        base=BASE,
        base_hash=fingerprint(read_weights(folder)),
        exports=(),
        method=METHOD,
        config=TrainConfig(
            learning_rate=RATE,
            max_steps=schooling.repeating + schooling.lessons,
            dtype="float32",
            checkpoint_activations=False,
            seed=seed,
        ),
        versions=lineage.versions(),
        metrics=metrics,
        created_at=datetime.now(UTC),
    )


@contextmanager
def _one_thread(seed: int) -> Iterator[None]:
    """Seeded, on one thread: matrices this small gain nothing by more, and sums keep their order."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def _line(teacher: Teacher, place: int, digit: int) -> str:
    """The line that sets a digit, with the newline before it."""
    source = teacher.program([digit] * teacher.size)
    end = [match.end() for match in ROW.finditer(source)][place]
    return source[source.rindex("\n", 0, end) : end]


def _lines(teachers: Sequence[Teacher]) -> dict[tuple[int, int], str]:
    longest = max(teachers, key=lambda teacher: teacher.size)
    return {
        (place, digit): _line(longest, place, digit)
        for place in range(longest.size)
        for digit in range(DIGITS)
    }


def _words(teachers: Sequence[Teacher], rng: random.Random) -> Words:
    texts = [*_lines(teachers).values()] * 20
    for _ in range(_TEXTS):
        lesson = rng.choice(teachers).lesson(rng, number_of_parents(rng))
        texts += [*(message.content for message in lesson.messages), lesson.answer]
    return words_of(texts, _VOCABULARY)


def _untaught(words: Words, lines: Mapping[tuple[int, int], str]) -> LlamaForCausalLM:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    ends = {
        "bos_token_id": words.id(BOS),
        "eos_token_id": words.id(END),
        "pad_token_id": words.id(PAD),
    }
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=words.size,
            hidden_size=_HIDDEN,
            intermediate_size=2 * _HIDDEN,
            num_hidden_layers=_LAYERS,
            num_attention_heads=_HEADS,
            num_key_value_heads=_KV_HEADS,
            head_dim=_HEAD,
            max_position_embeddings=_CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": _ROPE_BASE},
            initializer_range=_SPREAD,
            tie_word_embeddings=False,
            **ends,
        )
    )
    model.generation_config = GenerationConfig(**ends)
    found = rows(words, lines)
    with torch.no_grad():
        for weight in (model.model.embed_tokens.weight, model.lm_head.weight):
            places = torch.randn(1 + max(row.place for row in found), _HIDDEN) * _SPREAD / 2**0.5
            digits = torch.randn(DIGITS, _HIDDEN) * _SPREAD / 2**0.5
            for row in found:
                weight[row.token] = places[row.place] + digits[row.digit]
    return model

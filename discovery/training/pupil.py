"""How a small model is taught: first to repeat, then to answer; and how it is examined.

Repeating is what attention has to find out before anything else can be learnt, and on short texts it does so much
sooner. So the first stage shows programs three times each, with noise between, and the second lessons.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discovery.training.lessons import Lesson, Teacher, number_of_parents
from discovery.training.tokens import END, PAD, Words

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

RATE = 3e-3
"""Highest learning rate."""

_REPEATED = 16
"""Programs that are repeated in one step."""
_PROGRAMS = 18
"""Programs in the prompts of one step: fewer lessons where prompts show more parents."""
_WARM_STEPS = 20
_IGNORED = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """How a model answers prompts of one problem.

    Args:
        prompt_tokens: Of the longest prompt.
        valid: Share of the answers that are programs with the right number of digits.
        kept: Share of the digits in those which are the main parent's.
    """

    prompt_tokens: int
    valid: float
    kept: float


class Pupil:
    """A model that is being taught.

    Args:
        model: Untaught.
        words: Its tokenizer.
        teachers: One of each problem.
        rng: For all that it is shown.
        tell: Told how far it is.
    """

    def __init__(
        self,
        model: LlamaForCausalLM,
        words: Words,
        teachers: Sequence[Teacher],
        rng: random.Random,
        tell: Callable[[str], None],
    ) -> None:
        import torch

        self.model = model
        self._words = words
        self._teachers = teachers
        self._rng = rng
        self._tell = tell
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01
        )
        self._end, self._pad = words.id(END), words.id(PAD)

    # Repeating

    def repeat(self, steps: int) -> None:
        """Let it learn to say a program again."""
        loss = 0.0
        for step in range(steps):
            teacher = self._rng.choice(self._teachers)
            before, between = self._rng.randrange(40), self._rng.randrange(30)
            texts = [self._repeated(teacher, before, between) for _ in range(_REPEATED)]
            loss = self._step(texts, RATE * min(1.0, (step + 1) / _WARM_STEPS))
        self._tell(f"learnt to repeat a program: loss {loss:.2f}")

    def _repeated(self, teacher: Teacher, before: int, between: int) -> tuple[list[int], list[int]]:
        """Noise and a program three times, with what is to be said at each position: the second and third time only."""
        ids = self._words.encode(teacher.answer(teacher.random_row(self._rng)))
        text, wanted = self._noise(before), [_IGNORED] * before
        for again in range(3):
            noise = self._noise(between)
            text += [*ids, *noise]
            # The first token of a program cannot be known.
            wanted += [*(ids if again else [_IGNORED] * len(ids)), *[_IGNORED] * between]
            if again:
                wanted[-len(ids) - between] = _IGNORED
        return text, wanted

    def _noise(self, count: int) -> list[int]:
        return [self._rng.randrange(6, self._words.size) for _ in range(count)]

    # Lessons

    def learn(self, steps: int) -> None:
        """Let it learn to answer."""
        for step in range(steps):
            teacher, parents = self._rng.choice(self._teachers), number_of_parents(self._rng)
            texts = [
                self._taught(teacher.lesson(self._rng, parents)) for _ in range(max(4, _PROGRAMS // parents))
            ]
            loss = self._step(texts, RATE * min(1.0, 2.0 * (1.0 - step / steps)))
            if (step + 1) % 100 == 0:
                self._tell(f"lesson {step + 1} of {steps}: loss {loss:.2f}")

    def _taught(self, lesson: Lesson) -> tuple[list[int], list[int]]:
        before = self._words.prompt(lesson.messages)
        after = [*self._words.encode(lesson.answer), self._end]
        return before + after, [_IGNORED] * len(before) + after

    def _step(self, texts: Sequence[tuple[list[int], list[int]]], rate: float) -> float:
        """One step of the optimizer on texts and what is to be said in them; the loss, in nats a token."""
        import torch
        from torch.nn.functional import cross_entropy

        longest = max(len(text) for text, _ in texts)
        ids = torch.full((len(texts), longest), self._pad)
        wanted = torch.full((len(texts), longest), _IGNORED)
        for place, (text, labels) in enumerate(texts):
            ids[place, : len(text)] = torch.tensor(text)
            wanted[place, : len(labels)] = torch.tensor(labels)
        # Padding comes last, where nothing that counts can see it: no mask is needed.
        hidden = self.model.model(input_ids=ids[:, :-1]).last_hidden_state
        counts = wanted[:, 1:] != _IGNORED
        loss = cross_entropy(self.model.lm_head(hidden[counts]), wanted[:, 1:][counts])
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        return float(loss.detach())

    # Examination

    def examined(self, teacher: Teacher, count: int) -> Examined:
        """How it answers prompts with one, two and three parents."""
        import torch

        self.model.eval()
        longest, valid, kept = 0, 0, 0.0
        lessons = [teacher.lesson(self._rng, 1 + number % 3) for number in range(count // 8)]
        for lesson in lessons:
            prompt = self._words.prompt(lesson.messages)
            longest = max(longest, len(prompt))
            ids = torch.tensor([prompt] * 8)
            with torch.no_grad():
                answers = self.model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=True,
                    temperature=1.0,
                    top_k=0,
                    top_p=1.0,
                    max_new_tokens=2 * teacher.size + 40,
                )
            for answer in answers[:, len(prompt) :].tolist():
                row = self._row(teacher, answer)
                if row is not None:
                    valid += 1
                    kept += sum(a == b for a, b in zip(row, lesson.main, strict=True)) / teacher.size
        return Examined(
            prompt_tokens=longest, valid=valid / (8 * len(lessons)), kept=kept / valid if valid else 0.0
        )

    def _row(self, teacher: Teacher, answer: Sequence[int]) -> tuple[int, ...] | None:
        """The digits of an answer that is one whole program."""
        if self._end not in answer:
            return None
        text = self._words.decode(answer[: answer.index(self._end)])
        lines = text.split("\n")
        if lines[0] != "```python" or lines[-1] != "```":
            return None
        return teacher.row("\n".join(lines[1:-1]) + "\n")

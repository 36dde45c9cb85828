"""What a small model learns from before it has earned any score: prompts as runs send them, answers at random.

The prompts are composed by the very function that runs use, with random parents, their true scores and random failures.
An answer is the program to be improved with some of its digits drawn anew, each value alike likely. So the model learns
to answer in form, and to stay near a parent; of what scores well it learns nothing. That is left to discovering and
training.

No program is run for this: parents differ from the initial candidate in the digits of their rows alone, and the scorer
gets the row that such a program would return.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from discovery.direct import score_directly
from discovery.errors import ConfigError
from discovery.generation.base import ParentView
from discovery.generation.failures import FailureStatistics
from discovery.generation.prompt import compose, fenced
from discovery.plugins import load_problem
from discovery.problem import Problem
from discovery.records import CandidateKey, CommittedStep, FailureKind, Message, Outcome, Score

FAMILY = tuple(f"zigzag-{count}" for count in (8, 12, 16, 20, 24))
"""The problems that a tiny model can work on."""
DIGITS = 10

ROW = re.compile(r"(?<=\] = )\d$", re.MULTILINE)
"""The digit at the end of a line that sets one."""
_SETS = re.compile(r" *h\[(?P<place>\d{1,3})\] = (?P<digit>\d)")
_CHANGED = 0.35
"""Share of the digits that an answer draws anew."""
_MOST_PARENTS = 3
_MOST_STEPS = 32
_MISHAPS = (
    (FailureKind.CRASHED, "IndexError: list assignment index out of range"),
    (FailureKind.NO_PROGRAM, "the answer was cut off at the token limit inside its code block; be brief"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A prompt and one answer.

    Args:
        messages: The prompt.
        answer: What is to be said.
        main: The digits of the program to be improved.
    """

    messages: tuple[Message, ...]
    answer: str
    main: tuple[int, ...]


class Teacher:
    """Makes lessons of one problem.

    Args:
        name: Of a problem whose initial candidate sets one digit a line: ``h[0] = 3``.

    Raises:
        ConfigError: The problem's initial candidate does not.
    """

    def __init__(self, name: str) -> None:
        self.problem: Problem = load_problem(name)
        initial = self.problem.initial
        self.initial = tuple(int(digit) for digit in ROW.findall(initial))
        self._frame = {line for line in initial.splitlines() if not _SETS.fullmatch(line)}
        if not self.initial:
            raise ConfigError(
                f"the initial candidate of {name} has no line like `h[0] = 3`; a tiny model learns those only"
            )

    @property
    def size(self) -> int:
        """Digits of a row."""
        return len(self.initial)

    def program(self, row: Sequence[int]) -> str:
        """The initial candidate with other digits."""
        left = iter(row)
        return ROW.sub(lambda _: str(next(left)), self.problem.initial)

    def row(self, source: str) -> tuple[int, ...] | None:
        """What a program returns that only sets digits, each maybe several times or not at all; None for others."""
        found = [0] * self.size
        for line in source.splitlines():
            if line in self._frame:
                continue
            if not (set_ := _SETS.fullmatch(line)) or int(set_["place"]) >= self.size:
                return None
            found[int(set_["place"])] = int(set_["digit"])
        return tuple(found)

    def answer(self, row: Sequence[int]) -> str:
        """A whole answer that proposes a row."""
        return fenced(self.program(row), self.problem.settings.language)

    def random_row(self, rng: random.Random) -> tuple[int, ...]:
        """Any row, each digit alike likely."""
        return tuple(rng.randrange(DIGITS) for _ in range(self.size))

    def lesson(self, rng: random.Random, parents: int) -> Lesson:
        """A prompt with so many parents, and an answer that changes the main one a little."""
        rows = self._parents(rng, parents)
        step = rng.randint(2, _MOST_STEPS)
        # A candidate of each of some steps; the initial one is of step 0.
        steps = rng.sample(range(1, max(step, parents + 1)), parents)
        keys = [CandidateKey(chain=0, step=at, index=rng.randrange(4)) for at in steps]
        if rows[0] == self.initial:
            keys[0] = CandidateKey(chain=0, step=0, index=0)
        views = [self._view(key, row) for key, row in zip(keys, rows, strict=True)]
        messages = compose(
            self.problem,
            parents=views,
            best=self._best(rng, max(view.score for view in views)),
            failures=_failures(rng, step),
        )
        changed = [rng.randrange(DIGITS) if rng.random() < _CHANGED else digit for digit in rows[0]]
        return Lesson(messages=messages, answer=self.answer(changed), main=rows[0])

    def _parents(self, rng: random.Random, count: int) -> list[tuple[int, ...]]:
        """Rows of all qualities, as a run meets them on its way: good ones are no rarer than bad ones."""
        if rng.random() < 0.1:
            first = self.initial
        else:
            good, up = rng.random(), rng.randrange(2)
            first = tuple(
                rng.choice((7, 8, 9) if (place + up) % 2 else (0, 1, 2))
                if rng.random() < good * good
                else rng.randrange(DIGITS)
                for place in range(self.size)
            )
        share = rng.random()
        others = [
            tuple(rng.randrange(DIGITS) if rng.random() < share else digit for digit in first)
            for _ in range(count - 1)
        ]
        return [first, *others]

    def _best(self, rng: random.Random, shown: float) -> float:
        """The best score so far, now and then that of a program which is not shown."""
        return shown if rng.random() < 0.7 else max(shown, self._score(self.random_row(rng)).value)

    def _view(self, key: CandidateKey, row: tuple[int, ...]) -> ParentView:
        score = self._score(row)
        return ParentView(
            key=key,
            source=self.program(row),
            score=score.value,
            metrics=dict(score.metrics),
            feedback=score.feedback,
        )

    def _score(self, row: Sequence[int]) -> Score:
        return score_directly(self.problem, list(row))


def family() -> tuple[Teacher, ...]:
    """A teacher of each problem."""
    return tuple(Teacher(name) for name in FAMILY)


def number_of_parents(rng: random.Random) -> int:
    """How many parents a prompt of a lesson shows."""
    return rng.randint(1, _MOST_PARENTS)


def _failures(rng: random.Random, step: int) -> FailureStatistics:
    """What may have gone wrong before a step."""
    found = FailureStatistics()
    mishaps = [each for each in _MISHAPS if rng.random() < 0.3]
    for at in range(1, step):
        outcomes = []
        for index in range(4):
            kind, message = rng.choice(mishaps) if mishaps and rng.random() < 0.1 else (None, None)
            outcomes.append(
                Outcome(
                    key=CandidateKey(chain=0, step=at, index=index),
                    program_hash=None,
                    score=0.5 if kind is None else None,
                    failure=kind,
                    message=message,
                )
            )
        found.observe(
            CommittedStep(chain=0, step=at, parents=(), outcomes=tuple(outcomes), committed=outcomes[0].key)
        )
    return found

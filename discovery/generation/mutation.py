"""The embedded generator: programs made from programs, without a model and without a network.

It is a real search and an honest one: it changes numbers at several scales, recombines the texts of parents
and, now and then, swaps an operator or moves a line. It is the baseline that a model has to beat.

It keeps no state, so that equal seeds give equal completions in any order and after any resume; an evolution
strategy's step size has to be read off the parents instead. Parents that differ in their numbers only are
points of one space, and the distance between good ones tells how far the last successful steps went. Taken as
it is, that distance only ever shrinks (short steps succeed more often than long ones), so new steps are drawn
from a range around it that leans upwards; a share of heavy-tailed steps on single numbers, whose scale comes
from the numbers themselves, starts the search and saves it from a wrong scale. The shares were tuned on
ten-dimensional spheres: docs/LOG.md.

It mostly changes the best of the parents shown, which a selector that explores need not put first: a model
may learn from a mediocre main parent, a random step cannot. With greed the default selector finds what it
found without, some hundred times closer.

Text outside EVOLVE-BLOCKs is never touched.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from discovery.budget import NO_TOKENS
from discovery.generation import edits
from discovery.generation.base import GenerationRequest, ParentView, ServerLoad
from discovery.generation.sketch import Literal, Sketch, sketch
from discovery.problem import Problem
from discovery.records import CandidateKey, Completion, ModelIdentity

MODEL = "mutation-1"
"""Grows with every change that gives other completions for equal seeds."""

_TRIES = 6
_DIGITS = 3
"""Digits kept below the size of a step: more say nothing, and programs stay readable."""


Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A parent's blocks, taken apart.

    Args:
        blocks: One sketch per EVOLVE-BLOCK.
    """

    blocks: tuple[Sketch, ...]

    @property
    def texts(self) -> Texts:
        """The blocks' texts."""
        return tuple(block.text for block in self.blocks)

    @property
    def literals(self) -> list[Literal]:
        """The numbers of all blocks, in order."""
        return [literal for block in self.blocks for literal in block.literals]

    @property
    def skeleton(self) -> tuple[tuple[str, ...], ...]:
        """What is left when the numbers are taken out."""
        return tuple(block.skeleton for block in self.blocks)

    def vector(self) -> list[float | int]:
        """The numbers' values, in order."""
        return [literal.value for block in self.blocks for literal in block.literals]


@dataclass(frozen=True, slots=True)
class Family:
    """The parents of one request.

    Args:
        main: The one to change.
        others: The other ones, as far as they differ from it.
        aligned: Those of them that differ from it in their numbers only.
    """

    main: Parsed
    others: tuple[Parsed, ...]
    aligned: tuple[Parsed, ...]


Operator = Callable[["Mutation", Family, random.Random], Texts | None]


class Mutation:
    """Makes candidates out of parents. See the module docstring.

    Args:
        problem: Whose frame says what may change, and in which language.
    """

    name = "mutation"
    max_tokens: int | None = None
    spoiled = NO_TOKENS

    def __init__(self, problem: Problem) -> None:
        self._frame = problem.frame
        self._direction = problem.direction
        self._language = problem.settings.language.lower()
        self._identity = ModelIdentity(generator=self.name, model=MODEL)
        self._parsed = lru_cache(maxsize=256)(self._parse)

    async def start(self) -> ModelIdentity:
        """Nothing to reach."""
        return self._identity

    async def ready(self) -> bool:
        """Always."""
        return True

    async def loads(self) -> tuple[ServerLoad, ...]:
        """Nothing: it has no server."""
        return ()

    async def close(self) -> None:
        """Nothing to free."""

    async def sample(self, request: GenerationRequest) -> AsyncGenerator[Completion, None]:
        """One completion per index, each from ``seed + index`` and the parents alone.

        Args:
            request: Its prompt's messages are not read; its parents are.

        Raises:
            ValueError: The request has no parent.
        """
        for index in request.indices:
            started = time.perf_counter()
            text, operator = self.propose(request.parents, request.seed + index)
            yield Completion(
                key=CandidateKey(request.prompt.chain, request.prompt.step, index),
                text=text,
                finish_reason="stop",
                model=self._identity,
                sampling={"operator": operator},
                seed=request.seed + index,
                latency_s=time.perf_counter() - started,
                created_at=datetime.now(UTC),
            )

    def propose(self, parents: tuple[ParentView, ...], seed: int) -> tuple[str, str]:
        """One new program and the name of the operator that made it.

        Args:
            parents: The main one first.
            seed: All that the draw depends on besides the parents.

        Raises:
            ValueError: There is no parent.
        """
        if not parents:
            raise ValueError("a mutation needs at least one parent")
        rng = random.Random(seed)
        family = self._family(self._led(parents, rng))
        main = family.main.texts
        for _ in range(_TRIES):
            name = _draw(_WEIGHTS if family.main.literals else _WEIGHTS_WITHOUT_NUMBERS, rng)
            texts = _OPERATORS[name](self, family, rng)
            if texts is not None and texts != main and self._framed(texts) != parents[0].source:
                return self._framed(texts), name
        return self._framed(edits.spaced(main, rng)), "space"

    def _led(self, parents: tuple[ParentView, ...], rng: random.Random) -> tuple[ParentView, ...]:
        """The parents with the one to change first: mostly the best, which need not be the main one."""
        best = max(parents, key=lambda parent: self._direction.key(parent.score))
        if rng.random() >= _GREED or best is parents[0]:
            return parents
        return (best, *(parent for parent in parents if parent is not best))

    def _framed(self, texts: Texts) -> str:
        return self._frame.fill(texts)

    def _parse(self, source: str) -> Parsed:
        return Parsed(tuple(sketch(text, self._language) for text in self._frame.contents(source)))

    def _family(self, parents: tuple[ParentView, ...]) -> Family:
        main = self._parsed(parents[0].source)
        sources = dict.fromkeys(parent.source for parent in parents)
        others = tuple(self._parsed(source) for source in sources if source != parents[0].source)
        skeleton = main.skeleton
        return Family(main, others, tuple(o for o in others if o.skeleton == skeleton))

    # Numbers

    def _adapted(self, family: Family, rng: random.Random) -> Texts | None:
        """A step as long as those between the parents, give or take, on several or all numbers."""
        vector = family.main.vector()
        if not family.aligned:
            return self._wide(family, rng)
        other = rng.choice(family.aligned).vector()
        moved = [abs(a - b) for a, b in zip(vector, other, strict=True) if a != b]
        if not moved:
            return self._wide(family, rng)
        places = _places(family.main, rng, every=_EVERY)
        length = math.sqrt(math.fsum(d * d for d in moved) / len(places))
        scale = length * 2.0 ** rng.uniform(*_LEAN)
        changes = {place: rng.gauss(0.0, scale) for place in places}
        return _changed(family.main, changes, scale, rng)

    def _differential(self, family: Family, rng: random.Random) -> Texts | None:
        """Further along the way from another parent, as in differential evolution."""
        if not family.aligned:
            return self._wide(family, rng)
        vector = family.main.vector()
        a = rng.choice(family.aligned).vector()
        b = rng.choice(family.aligned).vector()
        way = [p - q for p, q in zip(vector if a == b else a, b, strict=True)]
        if not any(way):
            way = [p - q for p, q in zip(vector, a, strict=True)]
        scale = math.sqrt(math.fsum(d * d for d in way) / max(1, sum(d != 0 for d in way)))
        factor = rng.uniform(0.2, 1.5)
        changes = {i: factor * d + rng.gauss(0.0, 0.1 * scale) for i, d in enumerate(way) if d != 0}
        return _changed(family.main, changes, scale, rng)

    def _wide(self, family: Family, rng: random.Random) -> Texts | None:
        """Heavy-tailed steps on one number or a few, from the numbers' own sizes."""
        literals = family.main.literals
        sizes = [abs(literal.value) for literal in literals if literal.value and not literal.counts]
        typical = sorted(sizes)[len(sizes) // 2] if sizes else 1.0
        places = _places(family.main, rng, every=0.0, single=_SINGLE)
        scale = 10.0 ** rng.uniform(*_WIDE)
        changes = {}
        finest = math.inf
        for place in places:
            size = abs(literals[place].value)
            if not size or rng.random() < 0.5:
                size = typical
            changes[place] = rng.gauss(0.0, scale * size)
            finest = min(finest, scale * size)
        if rng.random() < 0.02:
            changes = {place: -2.0 * literals[place].value for place in places}
        return _changed(family.main, changes, finest, rng)

    # Texts

    def _crossed(self, family: Family, rng: random.Random) -> Texts | None:
        """Numbers, lines or blocks of two parents."""
        if not family.others:
            return None
        other = rng.choice(family.others)
        if other in family.aligned and rng.random() < 0.7:
            share = rng.uniform(0.1, 0.9)
            changes = {
                i: b.value - a.value
                for i, (a, b) in enumerate(zip(family.main.literals, other.literals, strict=True))
                if rng.random() < share
            }
            return _changed(family.main, changes, 0.0, rng)
        return edits.recombined(family.main.texts, other.texts, self._language, rng)

    def _edited(self, family: Family, rng: random.Random) -> Texts | None:
        """An operator or word swapped, a line moved, copied or dropped."""
        return edits.edited(family.main.texts, self._language, rng)


_GREED = 0.9
"""Share of candidates made from the best parent shown, where that is not the main one."""
_EVERY = 0.5
"""Share of adapted steps that move all numbers at once."""
_LEAN = (-1.5, 3.5)
"""Range of an adapted step's length over the parents' distance, as powers of two."""
_WIDE = (-3.0, 0.3)
"""Range of a wide step's length over a number's size, as powers of ten."""
_SINGLE = 0.8
"""Share of wide steps that move one number only."""
_PROMOTED = 0.1
"""Share of changes that may make real numbers of whole ones."""

_OPERATORS: dict[str, Operator] = {
    "adapted": Mutation._adapted,
    "wide": Mutation._wide,
    "differential": Mutation._differential,
    "crossover": Mutation._crossed,
    "edit": Mutation._edited,
}
_WEIGHTS = {"adapted": 0.74, "wide": 0.15, "differential": 0.04, "crossover": 0.04, "edit": 0.03}
_WEIGHTS_WITHOUT_NUMBERS = {"crossover": 0.5, "edit": 0.5}


def _draw(weights: dict[str, float], rng: random.Random) -> str:
    return rng.choices(tuple(weights), tuple(weights.values()))[0]


def _places(parsed: Parsed, rng: random.Random, *, every: float, single: float = 0.4) -> list[int]:
    """Which numbers to change; indices and bounds seldom."""
    literals = parsed.literals
    free = [i for i, literal in enumerate(literals) if not literal.counts]
    if not free or rng.random() < 0.03:
        free = list(range(len(literals)))
    if rng.random() < every:
        return free
    if rng.random() < single:
        return [rng.choice(free)]
    count = round(math.exp(rng.uniform(0.0, math.log(len(free)))))
    return sorted(rng.sample(free, count))


def _changed(parsed: Parsed, changes: dict[int, float], step: float, rng: random.Random) -> Texts:
    """The texts with numbers added to some of their numbers.

    Args:
        parsed: The parent.
        changes: What to add, by the number's place.
        step: Typical size of the changes, which decides how many digits are worth writing; 0 keeps all.
        rng: For whole numbers.
    """
    promoted = rng.random() < _PROMOTED
    texts: list[str] = []
    place = 0
    for block in parsed.blocks:
        numbers = []
        for literal in block.literals:
            written = None
            if place in changes:
                written = _written(literal, changes[place], step, promoted, rng)
            numbers.append(block.text[literal.start : literal.end] if written is None else written)
            place += 1
        texts.append(block.with_numbers(numbers))
    return tuple(texts)


def _written(literal: Literal, change: float, step: float, promoted: bool, rng: random.Random) -> str | None:
    if isinstance(literal.value, int) and (literal.counts or not promoted or not step):
        whole = round(change)
        if whole == 0 and change and step:
            whole = rng.choice((-1, 1))
        total = literal.value + whole
        return None if whole == 0 or (literal.counts and total < 0 <= literal.value) else str(total)
    value = literal.value + change
    if not math.isfinite(value) or change == 0:
        return None
    if step > 0:
        value = round(value, _DIGITS - math.floor(math.log10(step)))
    return repr(float(value) + 0.0)

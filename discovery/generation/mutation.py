"""The embedded generator: programs made from programs, without a model and without a network.

It is a real search and an honest one: an evolution strategy on the numbers of a program, with crossover of parents and,
now and then, a swapped operator or a moved line. It is the baseline that a model has to beat.

It keeps no state, so that equal seeds give equal completions in any order and after any resume. What an evolution
strategy would remember is read off the request instead: its parents, and its trail, the chain's best candidates so
far. Steps that succeeded among them give lengths and say whether few or all numbers should move
(:mod:`discovery.generation.stepsizes`), their covariance gives directions, and so does each one that is worse: away
from it. Where they are as many as a round bowl takes, its bottom is solved for
(:mod:`discovery.generation.surrogate`). Brackets tell which numbers make a point or a row
(:mod:`discovery.generation.arrangement`). Which operator is drawn depends on what there is to go by.

It mostly changes the best of the parents shown, which a selector that explores need not put first: a model
may learn from a mediocre main parent, a random step cannot. What is better than all parents is not read, so that the
selector decides how greedy the search is.

Text outside EVOLVE-BLOCKs is never touched.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from discovery.budget import NO_TOKENS
from discovery.generation import edits, operators
from discovery.generation.arrangement import arrangement
from discovery.generation.base import GenerationRequest, ParentView, ServerLoad
from discovery.generation.family import Family, Parsed, Texts, family_of
from discovery.generation.operators import Operator
from discovery.generation.sketch import sketch
from discovery.generation.stepsizes import Successes, successes
from discovery.generation.surrogate import identifiable
from discovery.problem import Problem
from discovery.records import CandidateKey, Completion, ModelIdentity

MODEL = "mutation-3"
"""Grows with every change that gives other completions for equal seeds."""

_TRIES = 6
_GREED = 0.9
"""Share of candidates made from the best parent shown, where that is not the main one."""

_NUMERIC: dict[str, Operator] = {
    "adapted": operators.adapted,
    "covariant": operators.covariant,
    "differential": operators.differential,
    "mixed": operators.mixed,
    "modelled": operators.modelled,
    "nudged": operators.nudged,
    "opposed": operators.opposed,
    "raised": operators.raised,
    "relocated": operators.relocated,
    "swapped": operators.swapped,
    "wide": operators.wide,
}
_WEIGHTS = {
    "adapted": 0.38,
    "covariant": 0.10,
    "differential": 0.10,
    "mixed": 0.04,
    "modelled": 0.30,
    "opposed": 0.35,
    "wide": 0.12,
    "nudged": 0.13,
    "relocated": 0.03,
    "swapped": 0.03,
    "raised": 0.08,
    "crossover": 0.02,
    "edit": 0.03,
}
_NARROW = frozenset(["nudged", "relocated", "swapped", "wide"])
"""Operators that move few numbers."""
_SMOOTH = ("covariant", "differential", "modelled", "opposed", "raised")
"""Operators that go by distances and directions between programs."""
_OF_WHOLE = 0.25
"""What is left of their weights where most numbers are whole ones."""
_KEPT = 8
"""Readings of requests that are kept."""
_Shown = tuple[object, ...]
_TEXTUAL = {"crossover": 0.5, "edit": 0.5}
"""Weights where there is no number."""


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
        self._families: dict[_Shown, tuple[Family, Successes]] = {}

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
        """One completion per index, each from ``seed + index``, the parents and the trail alone.

        Args:
            request: Its prompt's messages are not read; its parents and its trail are.

        Raises:
            ValueError: The request has no parent.
        """
        for index in request.indices:
            started = time.perf_counter()
            text, operator = self.propose(request.parents, request.seed + index, request.trail)
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

    def propose(
        self, parents: tuple[ParentView, ...], seed: int, trail: tuple[ParentView, ...] = ()
    ) -> tuple[str, str]:
        """One new program and the name of the operator that made it.

        Args:
            parents: The main one first.
            seed: All that the draw depends on besides what is shown.
            trail: What else is shown.

        Raises:
            ValueError: There is no parent.
        """
        if not parents:
            raise ValueError("a mutation needs at least one parent")
        # Numbers may be of any size; what comes of them is checked where it is written.
        rng = random.Random(seed)
        with np.errstate(all="ignore"):
            return self._propose(self._led(parents, rng), trail, rng)

    def _propose(
        self, parents: tuple[ParentView, ...], trail: tuple[ParentView, ...], rng: random.Random
    ) -> tuple[str, str]:
        family, known = self._read(parents, trail)
        main = family.main.texts
        weights = _weights(family, known)
        shown = {view.source for view in (*parents, *trail)}
        for _ in range(_TRIES):
            name = rng.choices(tuple(weights), tuple(weights.values()))[0]
            texts = self._changed(name, family, known, rng)
            if texts is not None and (text := self._framed(texts)) not in shown:
                return text, name
        return self._framed(edits.spaced(main, rng)), "space"

    def _changed(self, name: str, family: Family, known: Successes, rng: random.Random) -> Texts | None:
        if name == "edit":
            return edits.edited(family.main.texts, self._language, rng)
        if name == "crossover":
            if not family.others:
                return None
            other = rng.choice(family.others)
            return edits.recombined(family.main.texts, other.texts, self._language, rng)
        move = _NUMERIC[name](family, known, rng)
        return None if move is None else operators.written(family.main, move, rng)

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

    def _read(
        self, parents: tuple[ParentView, ...], trail: tuple[ParentView, ...]
    ) -> tuple[Family, Successes]:
        """The same for all completions of a request that lead with one parent, so it is kept for a moment."""
        shown = len(parents), *((view.source, view.score, view.key) for view in (*parents, *trail))
        found = self._families.get(shown)
        if found is None:
            if len(self._families) >= _KEPT:
                self._families.clear()
            family = family_of(parents, trail, self._direction, self._parsed)
            found = self._families[shown] = family, successes(family)
        return found


def _weights(family: Family, known: Successes) -> dict[str, float]:
    """How likely each operator is, by what there is to go by."""
    if not family.main.literals:
        return _TEXTUAL
    weights = dict(_WEIGHTS)
    found = arrangement(family.main.skeleton)
    if not found.points:
        weights["nudged"] = weights["relocated"] = 0.0
    if not found.rows:
        weights["raised"] = 0.0
    if not found.points and not found.rows:
        weights["swapped"] = 0.0
    if not identifiable(len(family.points), len(family.main.free)):
        weights["modelled"] = 0.0
    if len(family.points) < operators.LEAST_POINTS:
        weights["covariant"] = 0.0
    if not len(family.points):
        weights["opposed"] = 0.0
    if not family.aligned:
        weights["differential"] = weights["mixed"] = 0.0
        if not known.lengths:
            weights["adapted"] = 0.0
    if not family.others:
        weights["crossover"] = 0.0
    if 2 * sum(isinstance(family.main.values[i], int) for i in family.main.free) > len(family.main.free):
        for name in _SMOOTH:
            weights[name] *= _OF_WHOLE
    lean = 0.3 + 1.4 * known.narrow_share()
    return {name: weight * lean if name in _NARROW else weight for name, weight in weights.items()}

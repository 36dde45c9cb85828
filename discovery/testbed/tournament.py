"""Selectors against each other on one landscape: equal budgets, equal seeds, and what of the difference is luck.

With equal seeds the generator fails at the same places, takes as long and draws the same numbers, so games with one
seed are pairs. Each selector is tested against the baselines pair by pair (Wilcoxon's signed ranks, exact, two-sided,
of what would be handed out), and the p of one tournament are corrected together for their number (Holm).
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from discovery.config import in_range
from discovery.errors import ConfigError
from discovery.records import Direction, Json
from discovery.selection import make_selector, selector_names
from discovery.selection.base import Selector
from discovery.significance import holm, paired_test
from discovery.testbed.base import Landscape
from discovery.testbed.generator import Ability
from discovery.testbed.loop import Game, Shape, play

BASELINES = ("greedy", "best-of-n")
ALPHA = 0.01
"""From which p on a difference is taken for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A selector with its parameters.

    Args:
        label: What it is called in tables.
        name: The selector's.
        params: Its parameters; what is left out has its default.
    """

    label: str
    name: str
    params: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Entrant:
        """Read ``NAME`` or ``NAME:key=value,key=value``.

        Raises:
            ConfigError: It is neither.
        """
        name, colon, given = text.partition(":")
        params: dict[str, Json] = {}
        for pair in given.split(",") if colon else ():
            key, equals, value = (part.strip() for part in pair.partition("="))
            if not (name.strip() and key and equals and value):
                raise ConfigError(
                    f"selector {text!r}: expected NAME or NAME:key=value,..., such as rpucg:c=2"
                )
            params[key.replace("-", "_")] = _value(value)
        return cls(label=text, name=name.strip(), params=params)

    def asks_model(self, landscape: Landscape, overlap: int) -> bool:
        """Whether it is for a model to decide, so that without one it is but the selector under it.

        Raises:
            ConfigError: As :meth:`selector`.
        """
        return hasattr(self.selector(landscape, overlap), "shortlist")

    def selector(self, landscape: Landscape, overlap: int) -> Selector:
        """A new one for a landscape.

        Raises:
            ConfigError: It is unknown, has wrong parameters, or is not for such a landscape.
        """
        return make_selector(
            self.name,
            landscape.direction,
            self.params,
            features=landscape.features,
            objectives=landscape.objectives,
            overlap=overlap,
        )


def _value(text: str) -> Json:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, (dict, list)) or value is None else value


def entrants(landscape: Landscape, overlap: int = 0) -> tuple[list[Entrant], dict[str, str]]:
    """All selectors that can be played on a landscape with their defaults and without a model.

    Args:
        landscape: What is to be searched.
        overlap: As of the shape.

    Returns:
        Them, the baselines first, and why each of the others cannot, by name.
    """
    found, out = [], {}
    names = selector_names()
    for name in [*(n for n in BASELINES if n in names), *(n for n in names if n not in BASELINES)]:
        entrant = Entrant(label=name, name=name)
        try:
            asks = entrant.asks_model(landscape, overlap)
        except ConfigError as error:
            out[name] = str(error)
            continue
        if asks:
            out[name] = f"{name}: it asks a model, and there is none here"
        else:
            found.append(entrant)
    return found, out


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One entrant against a baseline.

    Args:
        baseline: The other's label.
        p: Two-sided, corrected for the number of tests of the tournament.
        won: Seeds in which it hands out something better.
        lost: Seeds in which it hands out something worse.
    """

    baseline: str
    p: float
    won: int
    lost: int

    @property
    def word(self) -> str:
        """``better`` or ``worse`` where the difference is one, else ``same``."""
        if self.p >= ALPHA or self.won == self.lost:
            return "same"
        return "better" if self.won > self.lost else "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one entrant did.

    Args:
        entrant: Who.
        games: One for each seed.
        near: Share of games whose end is in the optimum's neighbourhood.
        verdicts: Against each baseline that plays, itself left out.
    """

    entrant: Entrant
    games: tuple[Game, ...]
    near: float
    verdicts: tuple[Verdict, ...] = ()

    @property
    def regret(self) -> float:
        """Median over seeds of what is missing at the end."""
        return statistics.median(game.handed_out for game in self.games)

    @property
    def regrets(self) -> tuple[float, ...]:
        """What is missing at the end of each game, by seed."""
        return tuple(game.handed_out for game in self.games)

    @property
    def score(self) -> float:
        """Median over seeds of the best observed score."""
        return statistics.median(game.score for game in self.games)

    def against(self, baseline: str) -> Verdict | None:
        """The verdict against one baseline; None where there is none."""
        return next((verdict for verdict in self.verdicts if verdict.baseline == baseline), None)

    def curve(self) -> list[float]:
        """Median regret over seeds after each evaluation."""
        return [statistics.median(each) for each in zip(*(game.regrets for game in self.games), strict=True)]


def compete(
    landscape: Landscape,
    playing: Sequence[Entrant],
    *,
    shape: Shape,
    ability: Ability,
    seeds: int,
    told: Callable[[Entrant], None] | None = None,
) -> list[Standing]:
    """Let entrants play one game for each seed.

    Args:
        landscape: What is searched.
        playing: Who plays; those whose label is a baseline's are what the others are tested against.
        shape: The budget's, the same for all.
        ability: The generator's.
        seeds: How many seeds, from 0 on, 1 to 10,000.
        told: Is told of each entrant when its games are over.

    Returns:
        How they did, in the order given.

    Raises:
        ConfigError: A number is out of range, nobody plays, or a label is there twice.
    """
    in_range("seeds", seeds, 1, 10_000)
    labels = [entrant.label for entrant in playing]
    if not labels or len(set(labels)) < len(labels):
        raise ConfigError(f"selectors are {', '.join(labels) or 'none'}; give at least one, and each once")
    for entrant in playing:
        entrant.selector(landscape, shape.overlap)  # whoever cannot play is refused before anybody does
    standings = []
    for entrant in playing:
        games = tuple(
            play(
                landscape,
                entrant.selector(landscape, shape.overlap),
                shape=shape,
                ability=ability,
                seed=seed,
            )
            for seed in range(seeds)
        )
        near = sum(game.handed_out <= landscape.near + _ROUNDING for game in games) / seeds
        standings.append(Standing(entrant=entrant, games=games, near=near))
        if told is not None:
            told(entrant)
    return _judged(standings)


_ROUNDING = 1e-9


def seeds_to_tell(playing: int, baselines: int) -> int:
    """From how many seeds on a difference that every seed shows has a corrected p below :data:`ALPHA`.

    Args:
        playing: Entrants, the baselines among them.
        baselines: How many of them each other one is tested against.
    """
    tests = (playing - baselines) * baselines + baselines * (baselines - 1) // 2
    return next(seeds for seeds in itertools.count(1) if tests * 2.0 ** (1 - seeds) < ALPHA)


def _judged(standings: Sequence[Standing]) -> list[Standing]:
    """The same with verdicts; where two baselines play, they are tested against each other once."""
    tests: dict[tuple[int, int], float] = {}
    there = [at for at, standing in enumerate(standings) if standing.entrant.label in BASELINES]
    for at, standing in enumerate(standings):
        for base in there:
            if base != at and (base, at) not in tests:
                tests[at, base] = paired_test(standing.regrets, standings[base].regrets, Direction.MINIMIZE)
    corrected = dict(zip(tests, holm(list(tests.values())), strict=True))
    judged = []
    for at, standing in enumerate(standings):
        verdicts = []
        for base in there:
            p = corrected.get((at, base), corrected.get((base, at)))
            if p is not None and base != at:
                pairs = list(zip(standing.regrets, standings[base].regrets, strict=True))
                verdicts.append(
                    Verdict(
                        baseline=standings[base].entrant.label,
                        p=p,
                        won=sum(a < b for a, b in pairs),
                        lost=sum(a > b for a, b in pairs),
                    )
                )
        judged.append(
            Standing(
                entrant=standing.entrant,
                games=standing.games,
                near=standing.near,
                verdicts=tuple(verdicts),
            )
        )
    return judged

"""Islands: several populations within each chain that meet only now and then, each a grid of the best of every kind.

**Islands.** Step s of a chain belongs to island s mod ``islands``: its parents are that island's, and what it made may
enter that island only. All begin with the initial candidate.

**Grid.** The problem declares features, public metrics by which candidates differ in kind; each is divided into bins,
and a cell is one bin of each (a metric that a candidate lacks has a bin of its own). A cell holds the best candidate
that came to it, of equals the earlier. All scored siblings of a step may enter, not only the committed one. A source
is at most once on an island. Where no features are declared, an island holds its best ``population`` candidates
instead.

**Choice.** For each parent a draw decides: *exploitation* takes the best one of the island that is not taken yet,
*exploration* any of those left, uniformly over cells.

**Migration.** Whenever the step's number passes a multiple of ``migration``, the best of each island may enter the next
one, in a ring, all at the same time.

**Cost** of a step: O(K log n), and memory of at most one candidate per cell and island.

Source: MAP-Elites, Mouret and Clune, arXiv 1504.04909; its use with islands and migration for programs as AlphaEvolve
(arXiv 2506.13131) describes it in outline. The definition here is our own.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sortedcontainers import SortedDict

from discovery.declared import Feature
from discovery.errors import ConfigError
from discovery.records import CandidateKey, CommittedStep, Direction, Json, Outcome
from discovery.selection.base import Selection
from discovery.selection.history import Order, free_rank, require_parents

Cell = tuple[int, ...]
UNKNOWN = -1
"""The bin of a metric that a candidate lacks."""


class Islands:
    """Populations of the best of each kind (MAP-Elites over declared features) that exchange their best now and then.

    See the module docstring. All draws come from the generator given to ``choose``.

    Args:
        direction: Which scores are better.
        islands: How many in each chain, 1 to 64.
        exploitation: The chance that a parent is the best one left, 0 to 1; otherwise it is any of the island's.
        migration: Steps of the chain between two migrations; 0 for none.
        population: How many candidates an island holds where no features are declared, 1 or more.
        features: The problem's.
        overlap: The run's, which says what step is chosen for. Step s sees the steps up to s - 1 - overlap.

    Raises:
        ConfigError: A parameter is out of range.
    """

    name = "islands"

    def __init__(
        self,
        direction: Direction,
        *,
        islands: int = 4,
        exploitation: float = 0.5,
        migration: int = 40,
        population: int = 16,
        features: Sequence[Feature] = (),
        overlap: int = 0,
    ) -> None:
        if not 1 <= islands <= 64:
            raise ConfigError(f"islands: islands is {islands!r}; it must be from 1 to 64")
        if not 0 <= exploitation <= 1:  # not-a-number is not
            raise ConfigError(f"islands: exploitation is {exploitation!r}; it must be from 0 to 1")
        if migration < 0:
            raise ConfigError(
                f"islands: migration is {migration!r}; it must be a number of steps, or 0 for none"
            )
        if population < 1:
            raise ConfigError(f"islands: population is {population!r}; it must be 1 or more")
        self.metrics = tuple(feature.name for feature in features)
        self.params: Mapping[str, Json] = {
            "islands": islands,
            "exploitation": exploitation,
            "migration": migration,
            "population": population,
            "features": list(self.metrics),
        }
        self.notice = (
            None
            if features
            else f"the problem declares no features, so each island holds its best {population} candidates, whatever "
            "their kind; features=[Feature(...)] in its @problem makes it a grid"
        )
        self._direction = direction
        self._features = tuple(features)
        self._count = islands
        self._exploitation = exploitation
        self._migration = migration
        self._most = math.inf if features else population
        self._ahead = 1 + overlap
        self._chains: dict[int, _Archipelago] = {}

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step, in O(K log n).

        Raises:
            ValueError: The step is out of order.
        """
        chain = self._chains.get(step.chain)
        if chain is None:
            chain = _Archipelago([_Island(self._most) for _ in range(self._count)])
            self._chains[step.chain] = chain
        before = chain.order.last or 0
        chain.order.take(step)
        home = step.step % self._count
        where = chain.islands if step.step == 0 else chain.islands[home : home + 1]
        for outcome in step.outcomes:
            if outcome.score is not None:
                resident = self._resident(outcome, outcome.score, chain.arrivals, home)
                chain.arrivals += 1
                for island in where:
                    island.enter(resident)
        if self._migration and step.step // self._migration > before // self._migration:
            chain.migrate()

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """Draw up to ``count`` distinct parents from the island whose turn it is.

        Raises:
            ValueError: Nothing was observed on the chain, or ``count`` is below 1.
        """
        found = self._chains.get(chain)
        require_parents(bool(found and found.arrivals), chain, count)
        assert found is not None
        assert found.order.last is not None
        turn = (found.order.last + self._ahead) % self._count
        island = found.islands[turn]
        size = len(island.residents)
        taken: list[int] = []
        picks: list[tuple[int, str]] = []
        for _ in range(min(count, size)):
            is_best = rng.random() < self._exploitation
            rank = free_rank(taken, 0 if is_best else int(rng.integers(size - len(taken))))
            insort(taken, rank)
            picks.append((rank, "exploitation" if is_best else "exploration"))
        parents = [island.residents.peekitem(rank)[1] for rank, _ in picks]
        return Selection(
            parents=tuple(resident.key for resident in parents),
            values={
                # Until step 1 is seen all islands are alike, and several steps may be open.
                "island": turn if found.order.last else None,
                "residents": size,
                "parents": [
                    {
                        "score": self._direction.key(resident.quality),
                        "rank": rank,
                        "drawn_by": drawn_by,
                        "cell": list(resident.cell) if self._features else None,
                        "from": resident.home,
                    }
                    for resident, (rank, drawn_by) in zip(parents, picks, strict=True)
                ],
            },
        )

    def _resident(self, outcome: Outcome, score: float, arrival: int, home: int) -> _Resident:
        values = [outcome.metrics.get(feature.name) for feature in self._features]
        cell = tuple(
            UNKNOWN if value is None else feature.bin(value)
            for feature, value in zip(self._features, values, strict=True)
        )
        return _Resident(
            key=outcome.key,
            quality=self._direction.key(score),
            arrival=arrival,
            names=frozenset({outcome.program_hash or outcome.key, outcome.result or outcome.key}),
            # Without features everyone has a cell of their own, and the worst one leaves when there are too many.
            cell=cell if self._features else (arrival,),
            home=home,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resident:
    """A candidate on an island.

    ``names`` are its program and its result, ``home`` is where it was made, ``arrival`` counts a chain's scored
    candidates.
    """

    key: CandidateKey
    quality: float
    arrival: int
    names: frozenset[Hashable]
    cell: Cell
    home: int

    @property
    def place(self) -> tuple[float, int]:
        return -self.quality, self.arrival


class _Island:
    """Residents by place, best first; at most one per cell, program and result, and at most ``most``."""

    __slots__ = ("_cells", "_most", "_names", "residents")

    def __init__(self, most: float) -> None:
        self.residents: SortedDict[tuple[float, int], _Resident] = SortedDict()
        self._cells: dict[Cell, _Resident] = {}
        self._names: set[Hashable] = set()
        self._most = most

    def enter(self, resident: _Resident) -> None:
        """Let a candidate in where its cell is free or held by a worse one."""
        if not self._names.isdisjoint(resident.names):
            return
        holder = self._cells.get(resident.cell)
        if holder is not None:
            if holder.quality >= resident.quality:
                return
            self._remove(holder)
        self.residents[resident.place] = resident
        self._cells[resident.cell] = resident
        self._names |= resident.names
        if len(self.residents) > self._most:
            self._remove(self.residents.peekitem(-1)[1])

    def _remove(self, resident: _Resident) -> None:
        del self.residents[resident.place]
        del self._cells[resident.cell]
        self._names -= resident.names


class _Archipelago:
    """The islands of one chain."""

    __slots__ = ("arrivals", "islands", "order")

    def __init__(self, islands: list[_Island]) -> None:
        self.islands = islands
        self.order = Order()
        self.arrivals = 0

    def migrate(self) -> None:
        """Let the best of each island enter the next one."""
        best = [island.residents.peekitem(0)[1] for island in self.islands]
        for number, resident in enumerate(best):
            self.islands[(number + 1) % len(best)].enter(resident)

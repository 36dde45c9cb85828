"""Equal programs of one problem: which result holds for a candidate without its being scored, in flight or stored.

Equal are those of one source, and where the run goes by forms those of one form, that are given the same warm start. Of
one source every result holds. Of another source of the same form only a score does, and only where its scorer has not
asked for the program's text: what a failure says may name a line, and what was read is of that text alone. So a program
waits for an equal one that is being scored; where that one's result does not hold for it, it is scored itself, and who
still waits then waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from discovery.outcomes import program_hash
from discovery.records import Candidate, CandidateKey, Evaluation

Find = Callable[[str, CandidateKey | None, str | None], Evaluation | None]
"""Finds a stored result by hash of source, warm start, and form; see ``Storage.find_source``."""


@dataclass(frozen=True, slots=True)
class _Running:
    """An evaluation in flight.

    Args:
        source_hash: Of what is scored.
        result: Set when it is kept.
    """

    source_hash: str
    result: asyncio.Future[Evaluation]

    def holds_for(self, candidate: Candidate) -> Evaluation | None:
        if self.result.cancelled() or self.result.exception() is not None:
            return None
        result = self.result.result()
        is_shared = result.score is not None and not result.source_read
        return result if is_shared or self.source_hash == candidate.source_hash else None


class Twins:
    """Equal programs of one evaluator.

    Args:
        find: Looks up what is stored; None for an evaluator without a run.
    """

    def __init__(self, find: Find | None = None) -> None:
        self._find = find
        self._seen: set[int] = set()
        self._in_flight: dict[tuple[str, CandidateKey | None], _Running] = {}

    def remember(self, program: str) -> None:
        """Note a program that has a stored result, by its hash, so that a later equal one is looked up."""
        self._seen.add(_short(program))

    async def original(self, candidate: Candidate) -> Evaluation | None:
        """A result that holds for a candidate, after those in flight; None where it is to be scored, at once."""
        name = (candidate.program_hash, candidate.warm_start)
        while (running := self._in_flight.get(name)) is not None:
            await asyncio.wait([running.result])
            if (result := running.holds_for(candidate)) is not None:
                return result
        known = self._known(candidate)
        return known if known is not None and known.key != candidate.key else None

    @contextmanager
    def scoring(self, candidate: Candidate) -> Iterator[Callable[[Evaluation], None]]:
        """Equal programs wait while the body runs; it gets what to tell them of the result when that is kept."""
        name = (candidate.program_hash, candidate.warm_start)
        future: asyncio.Future[Evaluation] = asyncio.get_running_loop().create_future()
        running = self._in_flight[name] = _Running(candidate.source_hash, future)
        try:
            yield future.set_result
        finally:
            future.cancel()
            if self._in_flight.get(name) is running:
                del self._in_flight[name]

    def kept(self, candidate: Candidate, evaluation: Evaluation) -> None:
        """Note that a candidate's result is stored."""
        self.remember(program_hash(candidate.source_hash, candidate.form, evaluation.source_read))

    def _known(self, candidate: Candidate) -> Evaluation | None:
        if self._find is None:
            return None
        if not {_short(candidate.source_hash), _short(candidate.program_hash)} & self._seen:
            return None
        return self._find(candidate.source_hash, candidate.warm_start, candidate.form)


def _short(digest: str) -> int:
    return int(digest[:16], 16)

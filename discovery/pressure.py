"""How many completions should be in flight, from what the servers say of themselves.

Too few, and servers stand idle; too many, and they queue, or throw out of their caches what they must compute again.
How much a server can do nobody says, and it changes with the length of prompts and answers. But a server that is full
shows it: choices wait. So the limit grows while some server has room, holds while a few wait (from one up to a tenth
of those that run, enough that none ever idles), and falls where more do, where a cache is nearly full or has to put
choices back, and where a server answers that it has too much to do.

- Growth is doubling until something first waits, then by one, and by more the longer nothing waits. It takes that the
  limit is reached: where the run has no more to send, nothing is learned from idle servers.
- A queue counts when two readings in a row show it: new requests wait for a moment wherever they arrive.
- A fall leads to what runs, and a few waiting, in one step. It is reckoned from what is in flight, not from the limit,
  so that readings taken while the surplus drains lead to the same limit and not ever lower. Where others use the
  servers too, we take our share of the surplus off.
- Servers that say nothing of themselves get all that the run has: C x K x (1 + overlap). After an answer of 503 the
  limit falls, and grows again by small steps.

What adapts is how many chains are in flight; each of the others waits at the gate with its next step, first come
first served. That makes no prompt stale: step s of a chain is planned from its committed steps up to s - 1 - overlap,
always (``docs/design/0003-generation.md``), so a prompt is a function of its step's number. It says the same whether it
is composed before the wait or after, and how stale it can be is bounded by the overlap, not by the length of the wait.
So a step is planned first, and stored, and nothing remains to be done once there is room.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from discovery.config import RunConfig
from discovery.generation.base import ServerLoad

_FIRST_LIMIT = 32
"""Where the search for the limit begins: less than any accelerator can do, enough to keep a small one busy."""
_QUEUE_SHARE = 0.1
_MOST_KV_USAGE = 0.9
_BACK_OFF = 0.85
_PATIENT_READINGS = 4
"""Readings in a row at which nothing waits before the steps of growth double."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """A limit of completions in flight, and what it was drawn from.

    Args:
        floor: Never below this: the completions of one request.
        ceiling: Never above this: all that the run can have in flight.
        limit: The limit.
        is_seeking: Whether nothing has ever waited yet.
        starved: Readings in a row at which the limit could grow.
        last: The last reading of each server.
    """

    floor: int
    ceiling: int
    limit: int
    is_seeking: bool = True
    starved: int = 0
    last: Mapping[str, ServerLoad] = field(default_factory=dict)

    @staticmethod
    def of(config: RunConfig) -> Pressure:
        """The pressure that a run begins with."""
        search = config.search
        ceiling = search.chains * search.candidates * (1 + config.overlap)
        floor = search.candidates
        return Pressure(floor=floor, ceiling=ceiling, limit=min(ceiling, max(floor, _FIRST_LIMIT)))

    def after(self, loads: Iterable[ServerLoad], in_flight: int) -> Pressure:
        """The pressure after a reading.

        Args:
            loads: What the servers that live say now.
            in_flight: Our completions in flight now.
        """
        now = {load.server: load for load in loads}
        last = {**self.last, **now}
        telling = [load for load in now.values() if load.running is not None and load.waiting is not None]
        if not telling:
            return self._untold(now, last, in_flight)
        if not any(self._has_room(load) for load in telling):
            strained = any(self._is_strained(load) for load in telling)
            return self._full(
                telling, last, round(_BACK_OFF * in_flight) if strained else self.limit, in_flight
            )
        if in_flight < self.limit:
            return self._with(self.limit, last=last)
        step = self.limit if self.is_seeking else self._step
        return self._with(self.limit + step, starved=self.starved + 1, last=last)

    def _untold(
        self, now: Mapping[str, ServerLoad], last: Mapping[str, ServerLoad], in_flight: int
    ) -> Pressure:
        if any(self._is_overloaded(load) for load in now.values()):
            limit = min(self.limit, round(_BACK_OFF * in_flight))
            return self._with(limit, is_seeking=False, starved=0, last=last)
        if any(load.waiting is not None for load in self.last.values()):
            return self._with(self.limit, last=last)  # they are away, or too busy to say
        limit = self.ceiling if self.is_seeking else self.limit + self._step
        return self._with(limit, starved=self.starved + 1, last=last)

    def _full(
        self, telling: Iterable[ServerLoad], last: Mapping[str, ServerLoad], limit: int, in_flight: int
    ) -> Pressure:
        """No server has room: the limit holds or falls."""
        running = sum(load.running or 0.0 for load in telling)
        waiting = sum(self._lasting_queue(load) for load in telling)
        if waiting > max(1.0, _QUEUE_SHARE * running):
            ours = min(1.0, in_flight / max(1.0, running + waiting))
            few = max(1.0, _QUEUE_SHARE * running / 2)
            limit = min(limit, round(in_flight - ours * (waiting - few)))
        queued = waiting >= 1.0 or limit < self.limit
        return self._with(
            min(limit, self.limit),
            is_seeking=self.is_seeking and not queued,
            starved=0 if queued else self.starved,
            last=last,
        )

    @property
    def _step(self) -> int:
        return int(2 ** min(20, self.starved // _PATIENT_READINGS))

    def _with(
        self,
        limit: int,
        *,
        is_seeking: bool | None = None,
        starved: int | None = None,
        last: Mapping[str, ServerLoad],
    ) -> Pressure:
        return replace(
            self,
            limit=max(self.floor, min(self.ceiling, limit)),
            is_seeking=self.is_seeking if is_seeking is None else is_seeking,
            starved=self.starved if starved is None else starved,
            last=last,
        )

    def _has_room(self, load: ServerLoad) -> bool:
        return (load.waiting or 0.0) < 1.0 and not self._is_strained(load)

    def _is_strained(self, load: ServerLoad) -> bool:
        before = self.last.get(load.server)
        put_back = before is not None and (load.preemptions or 0.0) > (before.preemptions or 0.0)
        return put_back or (load.kv_usage or 0.0) > _MOST_KV_USAGE or self._is_overloaded(load)

    def _is_overloaded(self, load: ServerLoad) -> bool:
        before = self.last.get(load.server)
        return (load.overloads or 0) > ((before.overloads or 0) if before is not None else 0)

    def _lasting_queue(self, load: ServerLoad) -> float:
        now, before = load.waiting or 0.0, self.last.get(load.server)
        return now if before is None or before.waiting is None else min(now, before.waiting)

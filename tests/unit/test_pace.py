import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.errors import GeneratorUnavailable
from discovery.generation.base import ServerLoad
from discovery.pace import GenerationGate, Outage, follow
from discovery.pressure import Pressure


async def test_a_request_waits_until_one_place_is_free():
    gate = GenerationGate(3)
    entered = []

    async def request(name, count, leave):
        async with gate.request(count) as places:
            entered.append(name)
            await leave.wait()
            places.leave()

    first, second = asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(request("a", 2, first)), asyncio.create_task(request("b", 2, second))]
    tasks.append(asyncio.create_task(request("c", 2, second)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert entered == ["a", "b"]
    assert (gate.meter.busy, gate.meter.users, gate.meter.waiting) == (4, 2, 1)
    first.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert entered == ["a", "b", "c"]
    assert (gate.meter.users, gate.meter.waiting) == (2, 0)
    second.set()
    await asyncio.gather(*tasks)
    assert gate.meter.busy == 0


async def test_a_cancelled_waiter_loses_no_place():
    gate = GenerationGate(1)
    async with gate.request(1):
        waiting = asyncio.create_task(_hold(gate))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert gate.meter.waiting == 0
    async with asyncio.timeout(1):
        await _hold(gate)


async def _hold(gate):
    async with gate.request(1):
        return


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.integers(1, 6))
def test_never_more_in_flight_than_slots_and_one_request(counts, slots):
    async def scenario():
        gate = GenerationGate(slots)
        highest = 0

        async def one(count):
            nonlocal highest
            async with gate.request(count) as places:
                highest = max(highest, gate.meter.busy)
                for _ in range(count):
                    await asyncio.sleep(0)
                    places.leave()

        await asyncio.gather(*(one(count) for count in counts))
        assert gate.meter.busy == 0
        return highest

    assert asyncio.run(scenario()) <= slots + max(counts) - 1


async def test_all_wait_for_one_outage_and_it_is_announced_once():
    answers = iter([False, True])
    notices, pauses = [], []

    async def ready():
        return next(answers)

    async def notify(reason):
        notices.append(reason)

    async def sleep(seconds):
        pauses.append(seconds)
        await asyncio.sleep(0)

    outage = Outage(ready, notify, sleep)
    waits = (outage.wait(GeneratorUnavailable("gone")) for _ in range(5))
    assert await asyncio.gather(*waits) == [True] * 5
    assert notices == ["gone", None]
    assert pauses[0] == pytest.approx(1.1, abs=0.11)
    assert pauses[1] == pytest.approx(2.2, abs=0.21)


async def test_nobody_waits_any_longer_when_waiting_is_vain():
    asked, notices = [], []

    async def ready():
        asked.append(len(asked))
        return False

    async def notify(reason):
        notices.append(reason)

    async def sleep(seconds):
        await asyncio.sleep(0)

    outage = Outage(ready, notify, sleep)
    outage.is_vain = lambda: len(asked) == 3
    waits = [outage.wait(GeneratorUnavailable("gone")) for _ in range(3)]
    assert await asyncio.wait_for(asyncio.gather(*waits), 5) == [False] * 3
    assert (len(asked), notices) == (3, ["gone", None])


async def test_a_raised_limit_lets_the_next_through_and_a_lowered_one_cuts_nobody_off():
    gate = GenerationGate(1)
    entered = []

    async def request(name):
        async with gate.request(2) as places:
            entered.append(name)
            await asyncio.Event().wait()
            places.leave()

    async def settled():
        for _ in range(5):
            await asyncio.sleep(0)
        return "".join(entered)

    tasks = [asyncio.create_task(request(name)) for name in "abcd"]
    assert await settled() == "a"
    gate.limit = 3
    assert await settled() == "ab"
    assert (gate.limit, gate.meter.slots, gate.meter.busy) == (3, 3, 4)
    gate.limit = 0
    assert gate.limit == 1, "a gate that lets nobody through would never open"
    tasks[0].cancel()
    assert await settled() == "ab"
    tasks[1].cancel()
    assert await settled() == "abc", "first come first served"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Telling:
    """A generator that says only how its servers are loaded; what is an error is raised."""

    def __init__(self, *said):
        self._said = iter(said)

    async def loads(self):
        said = next(self._said)
        if isinstance(said, Exception):
            raise said
        return said


async def test_the_gate_follows_the_servers_and_survives_a_generator_that_fails(caplog):
    gate = GenerationGate(8)
    idle = (ServerLoad(server="a", running=8.0, waiting=0.0),)
    full = (ServerLoad(server="a", running=8.0, waiting=8.0),)
    limits, over = [], asyncio.Event()

    async def sleep(seconds):
        assert seconds == 1.0
        limits.append(gate.limit)
        if len(limits) == 4:
            over.set()
            await asyncio.Event().wait()

    generator = Telling(idle, RuntimeError("no"), full, full)
    pressure = Pressure(floor=4, ceiling=40, limit=8)
    async with gate.request(16):
        following = asyncio.create_task(follow(gate, generator, pressure, sleep))
        await over.wait()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert limits == [16, 16, 16, 9]
    assert "RuntimeError: no" in caplog.text

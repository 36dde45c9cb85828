import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery import data
from discovery.declared import Limits
from discovery.errors import MissingComponent, SandboxError, SandboxUnavailable, ScoringError
from discovery.sandbox.base import FunctionCall, SandboxSpec
from discovery.slots import SlotPool
from discovery.testing.fakes import InProcessBackend

ONE = FunctionCall(
    source="def solve():\n    return 1.0\n",
    function="solve",
    arguments=data.encode([[], {}]),
    limits=Limits(),
)


class Worker:
    def __init__(self):
        self.killed = False

    @property
    def is_alive(self):
        return not self.killed

    def kill(self):
        self.killed = True


class Host:
    """Forks workers that do nothing; ``refusals`` is how often it fails first."""

    def __init__(self):
        self.refusals = []
        self.workers = []

    async def fork(self):
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        self.workers.append(Worker())
        return self.workers[-1]


class Clock:
    def __init__(self):
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await asyncio.sleep(0)


def pool_of(backend, slots=1, **options):
    clock = Clock()
    pool = SlotPool(Host(), backend, SandboxSpec(), slots=slots, sleep=clock.sleep, **options)
    return pool, pool._host, clock


async def use(pool):
    async with pool.slot() as slot:
        assert (await slot.run(ONE)).data is not None
        return slot.sandbox, slot.worker


async def test_a_pair_is_used_again():
    pool, _, _ = pool_of(InProcessBackend())
    assert await use(pool) == await use(pool)
    assert pool.made == 1


async def test_an_idle_pair_is_taken_before_a_new_one_is_made():
    pool, _, _ = pool_of(InProcessBackend(), slots=3)
    first = await use(pool)
    with pytest.raises(ZeroDivisionError):
        async with pool.slot(), pool.slot():
            raise ZeroDivisionError
    assert first[0].closed
    assert (await use(pool))[0] is not first[0]
    both = await asyncio.gather(use(pool), use(pool))
    assert pool.made == 4
    assert (await use(pool)) in both


async def test_a_slot_is_recycled_after_so_many_evaluations():
    pool, _, _ = pool_of(InProcessBackend(), recycle_after=3)
    used = [await use(pool) for _ in range(7)]
    assert len({id(sandbox) for sandbox, _ in used}) == 3
    assert [sandbox.closed for sandbox, _ in used] == [True] * 6 + [False]
    assert used[0] == used[2] != used[3]


async def test_what_an_error_leaves_is_not_used_again():
    pool, host, _ = pool_of(InProcessBackend([SandboxError("gone")]))
    with pytest.raises(SandboxError):
        await use(pool)
    assert host.workers[0].killed
    await use(pool)
    assert pool.made == 2


async def test_a_spoiled_slot_is_not_used_again():
    pool, _, _ = pool_of(InProcessBackend())
    async with pool.slot() as slot:
        slot.spoil("odd")
    assert slot.sandbox.closed
    assert (await use(pool))[0] is not slot.sandbox


async def test_a_worker_is_replaced_without_its_sandbox():
    pool, host, _ = pool_of(InProcessBackend())
    async with pool.slot() as slot:
        slot.spoil_worker("odd")
    sandbox, worker = await use(pool)
    assert sandbox is slot.sandbox
    assert [w.killed for w in host.workers] == [True, False]
    assert worker is host.workers[1]


async def test_a_worker_that_cannot_be_replaced_ends_its_slot():
    pool, host, _ = pool_of(InProcessBackend())
    async with pool.slot() as slot:
        slot.spoil_worker("odd")
        host.refusals = [ScoringError("no")]
    assert slot.sandbox.closed
    assert (await use(pool))[0] is not slot.sandbox


async def test_a_pair_whose_worker_is_being_replaced_is_not_lost_by_a_cancellation():
    pool, host, _ = pool_of(InProcessBackend())
    asked, fork = asyncio.Event(), host.fork

    async def late():
        asked.set()
        await asyncio.sleep(60)
        return await fork()

    async def one():
        async with pool.slot() as slot:
            slot.spoil_worker("odd")
            host.fork = late

    task = asyncio.create_task(one())
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not pool._live
    assert pool._backend.made[0].closed
    assert host.workers[0].killed


async def test_what_was_killed_while_idle_is_replaced_before_use():
    pool, host, _ = pool_of(InProcessBackend())
    sandbox, worker = await use(pool)
    worker.kill()
    again = await use(pool)
    assert again[0] is sandbox
    assert again[1] is host.workers[1]
    sandbox.suspicion = "it has ended"
    other = await use(pool)
    assert sandbox.closed
    assert again[1].killed
    other[1].kill()
    host.refusals = [ScoringError("gone")]
    assert (await use(pool))[0] is not other[0]
    assert other[0].closed


async def test_a_suspicious_sandbox_is_replaced_even_within_an_evaluation():
    pool, _, _ = pool_of(InProcessBackend())
    async with pool.slot() as slot:
        first = slot.sandbox
        first.suspicion = "left a process"
        assert (await slot.run(ONE)).data is not None
        assert slot.sandbox is not first
        assert first.closed
        second = slot.sandbox
        second.suspicion = "left a file"
    assert second.closed
    await use(pool)
    assert pool.made == 3


async def test_a_fresh_slot_was_not_used_before_and_is_not_used_after():
    backend = InProcessBackend()
    pool, host, _ = pool_of(backend)
    usual = await use(pool)
    async with pool.fresh_slot() as slot:
        assert (slot.sandbox, slot.worker) == (backend.made[1], host.workers[1])
        assert slot.used == 0
        assert pool._places.locked(), "a fresh slot is one of the slots"
    assert slot.sandbox.closed
    assert host.workers[1].killed
    assert await use(pool) == usual


async def test_a_proven_slot_has_run_an_honest_program():
    backend = InProcessBackend([SandboxError("gone"), None])
    pool, _, clock = pool_of(backend)
    async with pool.fresh_slot(proven=True):
        assert ["def probe" in source for source in backend.sources] == [True]
    assert len(clock.slept) == 1
    assert [sandbox.closed for sandbox in backend.made] == [True, True]


@pytest.mark.parametrize(
    "script",
    [
        {"starts": [SandboxError("odd"), OSError(28, "No space left on device"), None]},
        {"starts": [OSError(24, "Too many open files")] * 3},
    ],
)
async def test_a_sandbox_that_does_not_start_is_tried_again_after_a_pause(script):
    backend = InProcessBackend(**script)
    pool, host, clock = pool_of(backend)
    await use(pool)
    assert pool.made == 1
    assert clock.slept == [0.1 * 2**i for i in range(len(backend.made) - 1)]
    assert [worker.killed for worker in host.workers[:-1]] == [True] * len(clock.slept)


async def test_one_that_never_starts_is_unavailable():
    pool, host, clock = pool_of(InProcessBackend(starts=[SandboxError("no room")] * 99))
    with pytest.raises(SandboxUnavailable, match="no room"):
        await use(pool)
    assert len(clock.slept) == 3
    assert all(worker.killed for worker in host.workers)
    assert pool.meter.busy == 0


async def test_what_can_never_work_is_not_tried_again():
    pool, _, clock = pool_of(InProcessBackend(starts=[MissingComponent("no such package")]))
    pool.wait = _must_not_wait
    with pytest.raises(MissingComponent):
        await use(pool)
    assert not clock.slept


async def _must_not_wait(error, tries):
    raise AssertionError(error)


@pytest.mark.parametrize("refused", [ScoringError("gone"), OSError(24, "Too many open files")])
async def test_a_scorers_process_that_cannot_be_started_is_tried_again(refused):
    pool, host, _ = pool_of(InProcessBackend())
    host.refusals = [refused] * 2
    await use(pool)


async def test_all_wait_until_one_starts_and_it_is_used():
    backend = InProcessBackend(starts=[SandboxError("no room")] * 14 + [None] * 4)
    pool, _, _ = pool_of(backend, slots=3)
    asked, answers, busy = [], [], []

    async def wait(error, tries):
        asked.append((str(error), tries))
        busy.append(pool.meter.busy)
        await asyncio.sleep(0.001)
        answers.append(await pool.starts())

    pool.wait = wait
    done = await asyncio.gather(*(use(pool) for _ in range(5)))
    assert len(done) == 5
    assert False in answers
    assert True in answers
    assert all("no room" in error for error, _ in asked)
    assert min(busy) == 0, "a slot that waits is not busy"
    assert len(pool._live) <= 3


async def test_those_who_wait_for_a_fresh_pair_get_no_used_one():
    backend = InProcessBackend(starts=[SandboxError("no room")] * 4)
    pool, _, _ = pool_of(backend)
    spare = []

    async def wait(error, tries):
        assert await pool.starts()
        spare.append(backend.made[-1])

    pool.wait = wait
    async with pool.fresh_slot() as slot:
        assert slot.sandbox is not spare[0]


async def test_pairs_that_nobody_takes_do_not_pile_up():
    backend = InProcessBackend()
    pool, _, _ = pool_of(backend, slots=2)

    async def wait(error, tries):
        assert await pool.starts()

    pool.wait = wait
    for _ in range(5):
        backend.starts = [SandboxError("no room")] * 4
        async with pool.fresh_slot():
            pass
    assert sum(not sandbox.closed for sandbox in backend.made) == len(pool._live) == 2


async def test_waiting_can_be_cancelled_and_leaves_the_place_free():
    pool, _, _ = pool_of(InProcessBackend(starts=[SandboxError("no room")] * 4))
    waiting = asyncio.Event()

    async def wait(error, tries):
        waiting.set()
        await asyncio.sleep(60)

    pool.wait = wait
    task = asyncio.create_task(use(pool))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pool._unavailable = None
    await use(pool)
    assert pool.meter.busy == 0


@given(
    st.lists(st.sampled_from(["ok", "error", "spoil", "worker", "odd", "fresh", "cancel"]), max_size=40),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_no_pair_is_ever_lost_lent_twice_or_left(deeds, slots, recycle_after):
    async def scenario():
        backend = InProcessBackend()
        pool, host, _ = pool_of(backend, slots=slots, recycle_after=recycle_after)
        lent = set()

        async def one(deed):
            async with pool.fresh_slot() if deed == "fresh" else pool.slot() as slot:
                assert slot.sandbox not in lent
                assert slot.worker not in lent
                assert not slot.sandbox.closed
                assert not slot.worker.killed
                assert slot.used <= recycle_after
                pair = {slot.sandbox, slot.worker}
                lent.update(pair)
                assert len(lent) <= 2 * slots
                try:
                    await slot.run(ONE)
                    if deed == "error":
                        raise SandboxError("gone")
                    if deed == "spoil":
                        slot.spoil("odd")
                    if deed == "worker":
                        slot.spoil_worker("odd")
                    if deed == "odd":
                        slot.sandbox.suspicion = "odd"
                    if deed == "cancel":
                        await asyncio.sleep(60)
                finally:
                    lent.difference_update(pair)

        tasks = [asyncio.create_task(one(deed)) for deed in deeds]
        while any(not task.done() for task in tasks):
            for task, deed in zip(tasks, deeds, strict=True):
                if deed == "cancel" and lent:
                    task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        open_sandboxes = sum(not sandbox.closed for sandbox in backend.made)
        assert open_sandboxes == sum(not worker.killed for worker in host.workers) == len(pool._live)
        assert open_sandboxes <= slots
        assert pool.meter.busy == 0
        await pool.close()
        assert all(sandbox.closed for sandbox in backend.made)
        assert all(worker.killed for worker in host.workers)

    asyncio.run(scenario())


async def test_those_that_wait_for_a_slot_are_counted():
    pool, _, _ = pool_of(InProcessBackend(), slots=1)
    async with pool.slot():
        waiting = [asyncio.create_task(use(pool)) for _ in range(3)]
        await asyncio.sleep(0)
        assert (pool.meter.busy, pool.meter.waiting) == (1, 3)
        waiting.pop().cancel()
        await asyncio.sleep(0)
        assert pool.meter.waiting == 2
    await asyncio.gather(*waiting)
    assert (pool.meter.busy, pool.meter.waiting) == (0, 0)

"""Who waits for whom: from windows as they are constructed, and from runs that are simulated."""

import asyncio
import random
import selectors

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.bottleneck import Bottleneck, bottleneck
from discovery.budget import Budget, Ledger, Tokens
from discovery.generation.base import ServerLoad
from discovery.pace import GenerationGate
from discovery.progress import BusyMeter, Progress
from discovery.pulse import Pulse, Quantity, overall
from discovery.records import CandidateKey, Direction
from discovery.storage.base import Lease

KNOWN = {"window_s": 10.0, "generation_slots": 16.0, "evaluation_slots": 4.0}
"""Of every window below."""


@pytest.mark.parametrize(
    ("values", "kind", "says", "fix"),
    [
        (
            {"generator_busy": 0.98, "requests_waiting": 4.0, "requests_sent": 4.0, "evaluator_busy": 0.3},
            Bottleneck.GENERATOR,
            "the model: 4 requests wait for one of 16 places",
            "--generation-slots, if the server has room",
        ),
        (
            {"generator_busy": 0.98, "requests_waiting": 4.0, "server_waiting": 0.2, "server_running": 16.0},
            Bottleneck.GENERATOR,
            "the model: 4 requests wait for one of 16 places",
            "nothing waits at the servers",
        ),
        (
            {"generator_busy": 0.7, "server_waiting": 12.4, "server_running": 16.0},
            Bottleneck.GENERATOR,
            "the model: 12 completions wait at the servers",
            "more or faster servers",
        ),
        (
            {"generator_busy": 1.0, "requests_waiting": 2.0, "server_waiting": 5.0, "server_running": 9.0},
            Bottleneck.GENERATOR,
            "the model: 2 requests wait here, 5 completions there",
            "more or faster servers",
        ),
        (
            {"generator_busy": 0.97, "requests_waiting": 0.0},
            Bottleneck.GENERATOR,
            "97 % of 16 places are busy, no request waits",
            "--chains or --candidates",
        ),
        (
            {"generator_busy": 0.2, "evaluator_busy": 0.99, "completions_waiting": 12.0, "in_flight": 3.0},
            Bottleneck.EVALUATION,
            "evaluations: 12 wait for 4 slots, generator 20 % busy",
            "--evaluation-slots",
        ),
        (
            {"generator_busy": 0.1, "evaluator_busy": 0.8, "completions_waiting": 3.0, "in_flight": 1.5},
            Bottleneck.EVALUATION,
            "evaluations: 3 wait for 4 slots",
            "--evaluation-slots",
        ),
        (
            {"generator_busy": 0.62, "evaluator_busy": 0.2, "in_flight": 9.9, "completions_waiting": 0.1},
            Bottleneck.CHAINS,
            "each step's slowest: generator 62 %, evaluators 20 % busy",
            "--overlap",
        ),
        ({"generator_busy": 0.0}, Bottleneck.CHAINS, "generator 0 %, evaluators 0 % busy", "--chains"),
        (
            {"generator_busy": 0.95, "requests_sent": 4.0, "writes_waiting": 5.0, "evaluating": 1.0},
            Bottleneck.STORAGE,
            "the storage: 5 writes are not on disk yet",
            "a faster disk",
        ),
        (
            {"generator_busy": 0.4, "budget_waiting": 3.0},
            Bottleneck.BUDGET,
            "the budget: 3 requests",
            "--max-tokens-total",
        ),
        (
            {"generator_busy": 0.4, "outage": 0.6, "requests_waiting": 9.0},
            Bottleneck.OUTAGE,
            "what is gone",
            "by itself",
        ),
    ],
)
def test_a_window_tells_who_waits_for_whom(values, kind, says, fix):
    found = bottleneck(KNOWN | values)
    assert found.kind is kind
    assert says in found.what
    assert fix in found.fix
    assert len(found.what) <= 67, "it has to fit on a screen of 80 columns beside its label"
    assert len(found.fix) <= 67
    assert str(found) == f"{found.what}; {found.fix}"


def test_a_little_of_everything_is_no_queue():
    """What waits for a moment now and then does not limit a run whose generator has free places."""
    few = {"requests_waiting": 0.3, "server_waiting": 0.6, "completions_waiting": 0.4, "writes_waiting": 0.3}
    found = bottleneck(KNOWN | few | {"generator_busy": 0.6, "server_running": 9.0, "in_flight": 9.0})
    assert found.kind is Bottleneck.CHAINS


def test_nothing_is_said_before_anything_was_generated():
    assert bottleneck({}) is None
    assert bottleneck(KNOWN | {"evaluator_busy": 1.0}) is None


amounts = st.floats(0, 1e6)
shares = st.floats(0, 1)


@given(st.dictionaries(st.sampled_from(sorted(Quantity)), amounts), shares)
def test_whatever_was_measured_fits_on_a_line(values, busy):
    found = bottleneck({**values, "generator_busy": busy, "evaluator_busy": busy})
    assert isinstance(found.kind, Bottleneck)
    assert "\n" not in str(found)
    assert len(found.what) <= 100


# Simulated runs. Time passes only where all wait for it, so that minutes take milliseconds.


class Skipping(selectors.DefaultSelector):
    """Lets no time pass in waiting: it only counts it."""

    def __init__(self):
        super().__init__()
        self.now = 0.0

    def select(self, timeout=None):
        assert timeout is not None, "everybody waits for somebody else"
        self.now += max(timeout, 0.0)
        return super().select(0)


def simulated(body):
    """Run a coroutine in time that is skipped; it gets the clock."""
    selector = Skipping()

    def loop():
        made = asyncio.SelectorEventLoop(selector)
        made.time = lambda: selector.now
        return made

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(body(lambda: selector.now))


class Disk:
    """A journal that writes one record after the other."""

    def __init__(self, write_s):
        self.waiting = 0
        self.series = []
        self._write_s = write_s
        self._turn = asyncio.Lock()

    async def append(self, lease, *records):
        self.waiting += 1
        async with self._turn:
            await asyncio.sleep(self._write_s)
        self.waiting -= 1
        self.series += records


class Server:
    """A generator's server with so many slots and lognormal latency; says how it is, where it does."""

    def __init__(self, slots, latency_s, *, tells):
        self.free = asyncio.Semaphore(slots)
        self.latency_s = latency_s
        self.rng = random.Random(0)
        self.running = self.waiting = 0
        self._tells = tells

    async def complete(self):
        self.waiting += 1
        async with self.free:
            self.waiting -= 1
            self.running += 1
            await asyncio.sleep(self.latency_s * self.rng.lognormvariate(0, 0.5))
            self.running -= 1

    async def loads(self):
        return (
            (ServerLoad(server="http://a", running=self.running, waiting=self.waiting),)
            if self._tells
            else ()
        )


def run_of(
    chains=8, candidates=4, places=None, server=10**6, latency_s=2.0, evaluators=4, evaluation_s=0.05,
    write_s=0.0001, max_tokens=None, gone_s=0.0, tells=False,
):  # fmt: skip
    """A simulated run of 100 s; gives what it waited for, and the values of the whole."""

    async def body(clock):
        gate = GenerationGate(places or chains * candidates)
        gate.meter = BusyMeter(places or chains * candidates, clock)
        pool, slots = BusyMeter(evaluators, clock), asyncio.Semaphore(evaluators)
        progress = Progress(Direction.MAXIMIZE, 10**6, chains, clock=clock)
        progress.generation, progress.evaluation = gate.meter, pool
        ledger, disk = Ledger(Budget(max_tokens=max_tokens), clock=clock), Disk(write_s)
        generator = Server(server, latency_s, tells=tells)

        async def evaluate():
            with pool.queueing():
                await slots.acquire()
            pool.change(1)
            await asyncio.sleep(evaluation_s)
            pool.change(-1)
            slots.release()
            await disk.append(None)
            progress.evaluated(CandidateKey(0, 1, 0), 1.0, None, duplicate=False)

        async def chain():
            while True:
                await disk.append(None)
                ahead = Tokens(completion=100 * candidates)
                assert await ledger.admit(ahead) is None
                evaluations = []
                async with gate.request(candidates) as held:
                    for done in asyncio.as_completed([generator.complete() for _ in range(candidates)]):
                        await done
                        await disk.append(None)
                        progress.completed(0, 0)
                        held.leave()
                        evaluations.append(asyncio.create_task(evaluate()))
                ledger.settle(ahead)
                await asyncio.gather(*evaluations)

        async def outage():
            while True:
                progress.notice = "generator: gone" if gone_s else None
                await asyncio.sleep(gone_s or 60)
                progress.notice = None
                await asyncio.sleep(5)

        pulse = Pulse(
            progress, generator, ledger, disk, Lease(run="r", chain=-1, owner="me", epoch=1), clock=clock
        )
        async with pulse.beating():
            tasks = [asyncio.create_task(each()) for each in (*[chain] * chains, outage)]
            await asyncio.sleep(100)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(error, asyncio.CancelledError) for error in ended), ended
        values = overall([record for record in disk.series if record is not None])
        return bottleneck(values), values

    return simulated(body)


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ({"places": 16}, Bottleneck.GENERATOR),
        ({"server": 16, "tells": True}, Bottleneck.GENERATOR),
        ({"candidates": 1}, Bottleneck.GENERATOR),
        ({"evaluation_s": 5.0}, Bottleneck.EVALUATION),
        ({"latency_s": 0.0, "evaluation_s": 0.2}, Bottleneck.EVALUATION),
        ({"chains": 4}, Bottleneck.CHAINS),
        ({"chains": 4, "server": 64, "tells": True}, Bottleneck.CHAINS),
        ({"chains": 1, "candidates": 2, "latency_s": 0.0, "evaluation_s": 0.2}, Bottleneck.CHAINS),
        ({"write_s": 0.5}, Bottleneck.STORAGE),
        ({"chains": 1, "candidates": 16, "latency_s": 0.1, "write_s": 1.0}, Bottleneck.STORAGE),
        ({"max_tokens": 900}, Bottleneck.BUDGET),
        ({"gone_s": 20.0}, Bottleneck.OUTAGE),
    ],
)
def test_a_run_tells_who_waits_for_whom(setting, kind):
    found, values = run_of(**setting)
    assert found.kind is kind, (str(found), values)


def test_what_is_said_to_help_helps():
    """Each advice, taken, makes the simulated run faster by a good part."""

    def rate(**setting):
        return run_of(**setting)[1]["evaluations_per_s"]

    assert rate(chains=16, places=32) > 1.5 * rate(chains=16, places=16)
    assert rate(evaluation_s=5.0, evaluators=8) > 1.5 * rate(evaluation_s=5.0)
    assert rate(chains=8) > 1.5 * rate(chains=4)
    assert rate(write_s=0.1) > 1.5 * rate(write_s=0.5)
    assert rate(max_tokens=1800) > 1.5 * rate(max_tokens=900)

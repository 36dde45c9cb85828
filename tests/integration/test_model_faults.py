"""Whole small runs against model servers that misbehave, one or two of them.

Whatever the servers do, a run ends with all its evaluations, each charged once, and asks for nothing that it has.
"""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial

import pytest

from discovery import pace
from discovery.budget import Budget
from discovery.config import GeneratorConfig, RunConfig, SearchConfig
from discovery.generation import openai
from discovery.generation.served import Patience
from discovery.launch import reopened, started
from discovery.records import RunStatus
from discovery.storage import open_storage
from discovery.testing.fakes import InProcessBackend
from discovery.testing.server import FakeConfig, FakeServer, Trouble

SEARCH = SearchConfig(chains=2, steps=2, candidates=3)
SOON = FakeConfig(latency_s=0.02, sigma=0.2)


class Stamped(list):
    """Requests with the time at which they came."""

    def append(self, body):
        super().append({**body, "at": datetime.now(UTC)})


class Server(FakeServer):
    def __init__(self, config=SOON, **more):
        super().__init__(config, **more)
        self.requests = Stamped()


@pytest.fixture(autouse=True)
def small_times(monkeypatch):
    """Pauses of a hundredth; a stall is one second."""
    small = partial(Patience, pause_s=0.01, first_byte_s=1.0, stall_s=1.0, probe_s=1.0)
    monkeypatch.setattr(openai, "Patience", small)
    monkeypatch.setattr(pace, "_FIRST_PAUSE_S", 0.05)


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


def config(*urls, search=SEARCH):
    return RunConfig(
        problem="constants-10",
        search=search,
        generator=GeneratorConfig(kind="openai", base_url=urls, timeout_s=60),
    )


async def until(holds, timeout_s=60.0):
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110  what is watched has no event
            await asyncio.sleep(0.01)


async def executed(storage, urls, *, search=SEARCH, meanwhile=None):
    """A whole run, beside which something happens, and all its completions."""
    async with started(config(*urls, search=search), storage, InProcessBackend()) as run:
        task = asyncio.create_task(run.execute())
        if meanwhile is not None:
            await meanwhile(run)
        summary = await asyncio.wait_for(task, 60)
    total = search.chains * search.steps * search.candidates
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, total)
    assert summary.failures == {}
    steps = [
        storage.step(summary.run, chain, step)
        for chain in range(search.chains)
        for step in range(1, search.steps + 1)
    ]
    completions = [completion for step in steps for completion in step.completions.values()]
    counts = storage.counts(summary.run)
    assert (counts.completions, counts.evaluations) == (total, total)
    assert counts.completion_tokens == sum(len(completion.token_ids) for completion in completions)
    assert all(completion.finish_reason != "abort" for completion in completions)
    return completions


def assert_nothing_stored_was_asked_for_again(completions, *servers):
    stored = {completion.seed: completion.created_at for completion in completions}
    for server in servers:
        for body in server.requests:
            for seed in range(body["seed"], body["seed"] + body["n"]):
                assert seed not in stored or body["at"] < stored[seed], "it was there already"


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble.UNAVAILABLE,
        Trouble.SERVER_ERROR,
        Trouble.REFUSED,
        Trouble.STALLED,
        Trouble.STALLED_MIDWAY,
        Trouble.HALF,
        Trouble.CUT,
        Trouble.GARBAGE,
        Trouble.ERROR_EVENT,
        Trouble.ABORTED,
        Trouble.ABORTED_ONE,
        Trouble.SHORT,
        Trouble.EMPTY,
    ],
)
async def test_trouble_on_the_way_costs_nothing(storage, trouble):
    async with Server(troubles=[Trouble.NONE, trouble, trouble]) as server:
        completions = await executed(storage, [server.url])
    assert_nothing_stored_was_asked_for_again(completions, server)
    assert not server.troubles
    (record,) = storage.list_runs()
    kept = sum(len(completion.token_ids) for completion in completions)
    known = kept + record.facts["spoiled_completion_tokens"]
    if trouble in (Trouble.GARBAGE, Trouble.ERROR_EVENT):
        assert kept <= known <= server.tokens, "what it wrote after we had left never came"
    else:
        assert known == server.tokens


async def test_what_was_spoiled_stays_spent_when_a_run_goes_on(storage):
    async with Server(troubles=[Trouble.ABORTED]) as server:
        await executed(storage, [server.url])
        (record,) = storage.list_runs()
        server.troubles.append(Trouble.ABORTED)
        deeper = config(server.url, search=dataclasses.replace(SEARCH, steps=3))
        async with reopened(record, deeper, storage, InProcessBackend()) as run:
            await asyncio.wait_for(run.execute(), 60)
    counts = storage.counts(record.id)
    spoiled = storage.get_run(record.id).facts["spoiled_completion_tokens"]
    assert counts.evaluations == 18
    assert spoiled > record.facts["spoiled_completion_tokens"] > 0
    assert counts.completion_tokens + spoiled == server.tokens


@pytest.mark.parametrize(
    "troubles",
    [
        (Trouble.STALLED, Trouble.HALF),
        (Trouble.UNAVAILABLE, Trouble.GARBAGE),
        (Trouble.SERVER_ERROR, Trouble.ABORTED),
    ],
)
async def test_trouble_at_both_of_two_servers_costs_nothing(storage, troubles):
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(Server(troubles=[each] * 2)) for each in troubles]
        completions = await executed(storage, [server.url for server in servers])
    assert_nothing_stored_was_asked_for_again(completions, *servers)
    assert sum(len(server.troubles) for server in servers) < 4


LONGER = SearchConfig(chains=4, steps=5, candidates=3)


async def test_one_of_two_is_killed_and_comes_back_and_the_run_never_pauses(storage):
    steady = FakeConfig(latency_s=0.1, sigma=0.3)
    again = Server(steady)
    notices = []
    async with Server(steady) as first, Server(steady) as second:
        port = int(first.url.split(":")[2].removesuffix("/v1"))
        urls = [first.url, second.url]

        async def kill_and_restart(run):
            await until(lambda: first.choices >= 4)
            await first.close()
            await until(lambda: len(second.requests) >= 4)
            await again.start(port=port)
            await until(lambda: again.requests or notices.append(run.progress.notice))

        completions = await executed(storage, urls, search=LONGER, meanwhile=kill_and_restart)
        await again.close()
    assert_nothing_stored_was_asked_for_again(completions, first, second, again)
    assert again.choices
    assert set(notices) <= {None}


async def test_both_are_killed_and_one_comes_back(storage):
    steady = FakeConfig(latency_s=0.1, sigma=0.3)
    again = Server(steady)
    async with Server(steady) as first, Server(steady) as second:
        port = int(second.url.split(":")[2].removesuffix("/v1"))
        urls = [first.url, second.url]

        async def kill_both(run):
            await until(lambda: first.choices >= 2 and second.choices >= 2)
            await first.close()
            await second.close()
            await until(lambda: run.progress.notice is not None)
            await again.start(port=port)
            await until(lambda: run.progress.notice is None)

        completions = await executed(storage, urls, search=LONGER, meanwhile=kill_both)
        await again.close()
    assert_nothing_stored_was_asked_for_again(completions, first, second, again)


@pytest.mark.parametrize("overlap", [0, 1])
async def test_time_that_is_spent_while_the_server_is_gone_ends_the_run_and_a_resume_goes_on(
    storage, overlap
):
    search = dataclasses.replace(LONGER, overlap=overlap)
    limited = Budget(max_seconds=1.0)
    again = Server()
    async with Server(FakeConfig(latency_s=0.1, sigma=0.3)) as server:
        port = int(server.url.split(":")[2].removesuffix("/v1"))
        settings = dataclasses.replace(config(server.url, search=search), budget=limited)
        async with started(settings, storage, InProcessBackend()) as run:
            task = asyncio.create_task(run.execute())
            await until(lambda: server.choices >= 8)
            await server.close()
            summary = await asyncio.wait_for(task, 20)
    assert (summary.status, summary.message) == (RunStatus.FINISHED, "1 seconds spent")
    counts = storage.counts(summary.run)
    assert 0 < counts.evaluations == counts.completions < 60
    assert any(storage.open_steps(summary.run, chain) for chain in range(4))
    await again.start(port=port)
    settings = dataclasses.replace(settings, budget=Budget())
    async with reopened(storage.get_run(summary.run), settings, storage, InProcessBackend()) as run:
        summary = await asyncio.wait_for(run.execute(), 60)
    await again.close()
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 60)
    completions = [
        completion
        for chain in range(4)
        for step in range(1, 6)
        for completion in storage.step(summary.run, chain, step).completions.values()
    ]
    assert len({completion.seed for completion in completions}) == 60
    assert_nothing_stored_was_asked_for_again(completions, server, again)


@contextmanager
def process_of_a_server(*options):
    """A server in a process of its own, which can be stopped, and its URL."""
    command = [sys.executable, "-m", "discovery.testing.server", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


async def test_the_only_server_freezes_and_thaws(storage):
    with process_of_a_server("--latency", "0.1") as (process, url):

        async def freeze(run):
            await until(lambda: run.progress.evaluations >= 6)
            os.kill(process.pid, signal.SIGSTOP)
            await until(lambda: run.progress.notice is not None)
            os.kill(process.pid, signal.SIGCONT)

        await executed(storage, [url], search=LONGER, meanwhile=freeze)


async def test_one_of_two_freezes_and_the_other_goes_on(storage):
    with process_of_a_server("--latency", "0.1") as (process, url):
        async with Server() as second:

            async def freeze(run):
                await until(lambda: run.progress.evaluations >= 6)
                os.kill(process.pid, signal.SIGSTOP)

            completions = await executed(storage, [url, second.url], search=LONGER, meanwhile=freeze)
        os.kill(process.pid, signal.SIGCONT)
    assert_nothing_stored_was_asked_for_again(completions, second)


async def test_a_cancelled_run_aborts_all_its_requests_at_the_servers(storage):
    slow = FakeConfig(latency_s=60, slots=64)
    async with Server(slow) as first, Server(slow) as second:
        async with started(config(first.url, second.url), storage, InProcessBackend()) as run:
            task = asyncio.create_task(run.execute())
            await until(lambda: first.requests and second.requests)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await until(lambda: (first.aborted, second.aborted) == (1, 1))
        assert first.stats()["running"] == second.stats()["running"] == 0


async def test_a_server_with_too_short_a_queue_for_one_request_gets_smaller_ones(storage):
    search = SearchConfig(chains=1, steps=2, candidates=8)
    async with Server(dataclasses.replace(SOON, most_queued=3)) as server:
        config = RunConfig(
            problem="constants-10",
            search=search,
            generator=GeneratorConfig(kind="openai", base_url=(server.url,), timeout_s=20),
        )
        async with started(config, storage, InProcessBackend()) as run:
            summary = await asyncio.wait_for(run.execute(), 60)
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 16)
    sizes = [request["n"] for request in server.requests]
    assert sizes[:2] == [8, 8]
    assert max(sizes[-4:]) <= 4, "it is asked for what it can take, and now and then for more"


async def test_a_server_that_has_too_much_to_do_is_waited_for_however_long_it_lasts(storage):
    busy = [Trouble.UNAVAILABLE] * 60
    async with Server(troubles=busy) as server:
        config = RunConfig(
            problem="constants-10",
            search=SearchConfig(chains=1, steps=1, candidates=2),
            generator=GeneratorConfig(kind="openai", base_url=(server.url,), timeout_s=20),
        )
        async with started(config, storage, InProcessBackend()) as run:
            summary = await asyncio.wait_for(run.execute(), 60)
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 2)
    assert summary.failures == {}

"""Several servers: who is asked, who is left out, who comes back."""

import asyncio
import json
import random
from collections import Counter
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import pytest

from discovery.budget import NO_TOKENS
from discovery.config import GeneratorConfig
from discovery.errors import GeneratorRefused, GeneratorUnavailable
from discovery.generation.base import ServerLoad
from discovery.generation.fleet import Fleet, Member
from discovery.generation.openai import OpenAIGenerator
from discovery.generation.served import Patience, ServedModel
from discovery.testing.generator import collect, request_for
from discovery.testing.server import FakeConfig, FakeServer, Trouble
from discovery.testing.wire import response_head

QUICK = Patience(pause_s=0.02, stall_s=20.0, probe_s=5.0)
OTHER = FakeConfig(models=("other",))


class Stand(FakeServer):
    """A server with weights and a metrics page as a test wants them."""

    def __init__(self, config=None, *, weights=None, page=None, **more):
        super().__init__(config, **more)
        self.weights = weights
        self.page = page
        self.pages = 0

    async def _respond(self, request, reader, writer):
        if request.path == "/v1/models" and self.weights:
            card = {"id": "fake", "owned_by": "vllm", "root": self.weights, "parent": None}
            return await self._said(writer, json.dumps({"data": [card]}), "application/json")
        if request.path == "/metrics":
            self.pages += 1
            if self.page is not None:
                return await self._said(writer, self.page, "text/plain")
        return await super()._respond(request, reader, writer)

    async def _said(self, writer, text, kind):
        writer.write(response_head(200, kind, len(text), {}) + text.encode())
        await writer.drain()
        return True


def page(running=0, waiting=0, tokens=0):
    return (
        f"vllm:num_requests_running {running}\nvllm:num_requests_waiting {waiting}\n"
        f"vllm:generation_tokens_total {tokens}\n"
    )


async def until(condition, timeout_s=20.0):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  what is watched has no event
            await asyncio.sleep(0.005)


def port_of(url):
    return int(url.split(":")[2].removesuffix("/v1"))


@asynccontextmanager
async def speaking_to(*servers, patience=QUICK, start=True, absent=(), **config):
    """A generator that speaks to servers, which are started here, and to URLs where nothing listens."""
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server)
        generator = OpenAIGenerator(
            GeneratorConfig(kind="openai", base_url=(*absent, *(s.url for s in servers)), **config),
            patience=patience,
            rng=random.Random(0),
        )
        stack.push_async_callback(generator.close)
        if start:
            await generator.start()
        yield generator


async def moved(server, config=None, **more):
    """Another server where one was, which is closed."""
    port = port_of(server.url)
    await server.close()
    return await Stand(config, **more).start(port=port)


def seeds(*servers):
    """How often each choice was asked for."""
    return Counter(
        body["seed"] + place
        for server in servers
        for body in server.requests
        for place in range(body.get("n", 1))
    )


# Starting


@pytest.mark.parametrize("model", [None, "fake"])
async def test_all_must_serve_the_same_model(model):
    first, second = Stand(), Stand(OTHER)
    async with speaking_to(first, second, start=False, model=model) as generator:
        with pytest.raises(GeneratorRefused, match="same model") as caught:
            await generator.start()
        assert f"{first.url} serves 'fake'" in str(caught.value)
        assert second.url in str(caught.value)
        assert "'other'" in str(caught.value)


async def test_one_that_does_not_answer_at_the_start_is_left_out_until_it_does(unused_tcp_port, caplog):
    late = f"http://127.0.0.1:{unused_tcp_port}/v1"
    first = Stand()
    async with speaking_to(first, absent=(late,)) as generator:
        assert f"{late} is left out" in caplog.text
        await collect(generator, request_for())
        assert len(first.requests) == 1
        second = await Stand().start(port=unused_tcp_port)
        await until(lambda: f"{late} is back" in caplog.text)
        await collect(generator, request_for())
        assert len(second.requests) == 1, "ties go to the first"
        await second.close()


async def test_none_answers(unused_tcp_port_factory, caplog):
    urls = tuple(f"http://127.0.0.1:{unused_tcp_port_factory()}/v1" for _ in range(2))
    async with speaking_to(absent=urls, start=False) as generator:
        with pytest.raises(GeneratorUnavailable) as caught:
            await generator.start()
        assert all(url in str(caught.value) for url in urls)
        assert await generator.ready() is False
        assert not caplog.text, "the error says it all"


async def test_a_url_that_is_named_twice_is_one_server():
    server = Stand()
    async with speaking_to(server, start=False) as generator:
        twice = OpenAIGenerator(GeneratorConfig(base_url=(server.url, server.url)))
        assert repr(twice) == repr(generator)


# Who is asked


async def test_equal_servers_get_equal_shares():
    servers = [Stand(FakeConfig(latency_s=0.1, slots=64)) for _ in range(3)]
    async with speaking_to(*servers) as generator:
        await asyncio.gather(*(collect(generator, request_for(chain=chain)) for chain in range(9)))
    assert [len(server.requests) for server in servers] == [3, 3, 3]


async def test_the_work_of_others_counts():
    idle, busy = Stand(page=page()), Stand(page=page(running=9))
    async with speaking_to(busy, idle) as generator:
        await generator.loads()
        requests = [collect(generator, request_for(chain=chain)) for chain in range(4)]
        await asyncio.gather(*requests)
    # 9 of others against 4, 8, 12 of ours: the third goes to the busy one.
    assert (len(idle.requests), len(busy.requests)) == (3, 1)


async def test_our_own_work_is_not_counted_as_that_of_others():
    config = FakeConfig(latency_s=0.3, sigma=0.0)
    first, second = Stand(config, page=page(running=4)), Stand(config)
    async with speaking_to(first, second) as generator:
        earlier = asyncio.create_task(collect(generator, request_for(chain=1)))
        await until(lambda: first.requests)
        await generator.loads()
        assert generator._fleet.members[0].others == 0
        await earlier


async def test_servers_with_a_queue_come_last():
    queue, room = Stand(page=page(running=2, waiting=1)), Stand(page=page(running=50))
    async with speaking_to(queue, room) as generator:
        await generator.loads()
        await collect(generator, request_for())
    assert (len(queue.requests), len(room.requests)) == (0, 1)


def reading(running, waiting=0.0):
    return ServerLoad(server="a", running=running, waiting=waiting)


def test_what_a_server_can_run_shows_when_choices_wait_there_twice():
    member = Member(served=None)
    member.read(reading(6))
    member.read(reading(8, 3))
    assert member.capacity is None, "new requests wait for a moment wherever they arrive"
    member.read(reading(8, 3))
    assert member.capacity == 8
    member.read(reading(8))
    assert member.capacity == 11, "it may be able to do more"
    member.read(reading(2))
    assert member.capacity == 11


async def test_unequal_servers_get_what_each_can_run():
    small, large = Stand(page=page(running=8, waiting=1)), Stand(page=page(running=24, waiting=1))
    small.config = large.config = FakeConfig(latency_s=0.2, slots=64)
    async with speaking_to(small, large) as generator:
        await generator.loads()
        for member in generator._fleet.members:
            member.others = 0.0
        await asyncio.gather(*(collect(generator, request_for(chain=chain)) for chain in range(16)))
    # 64 choices: 8 and 24 at first, and the surplus in the same proportion.
    assert (len(small.requests), len(large.requests)) == (4, 12)


# Who is left out


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble.REFUSED,
        Trouble.UNAVAILABLE,
        Trouble.SERVER_ERROR,
        Trouble.GARBAGE,
        Trouble.EMPTY,
        Trouble.ABORTED,
    ],
)
async def test_what_one_fails_to_answer_is_asked_elsewhere_at_once(trouble):
    patience = Patience(pause_s=50.0, stall_s=20.0)
    first, second = Stand(troubles=[trouble]), Stand()
    async with speaking_to(first, second, patience=patience) as generator, asyncio.timeout(20):
        assert sorted(await collect(generator, request_for())) == [0, 1, 2, 3]
        assert (len(first.requests), len(second.requests)) == (1, 1)
        await collect(generator, request_for())
        assert len(first.requests) == 1, "it is left alone for a while"


@pytest.mark.parametrize("trouble", [Trouble.HALF, Trouble.CUT, Trouble.ABORTED_ONE, Trouble.STALLED_MIDWAY])
async def test_only_what_is_missing_is_asked_elsewhere(trouble):
    patience = Patience(pause_s=50.0, stall_s=0.5, first_byte_s=20.0)
    first, second = Stand(troubles=[trouble]), Stand()
    async with speaking_to(first, second, patience=patience) as generator:
        assert sorted(await collect(generator, request_for(seed=0))) == [0, 1, 2, 3]
    ((body,),) = [second.requests]
    assert (body["seed"], body["n"]) == ((0, 1) if trouble is Trouble.ABORTED_ONE else (1, 3))


async def test_a_server_that_stalls_is_left_out():
    patience = Patience(pause_s=50.0, first_byte_s=0.3)
    first, second = Stand(troubles=[Trouble.STALLED]), Stand()
    async with speaking_to(first, second, patience=patience) as generator:
        assert len(await collect(generator, request_for())) == 4
        await until(lambda: first.aborted == 1)
    assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_the_deadline_is_each_servers_own():
    slow, quick = Stand(FakeConfig(latency_s=60)), Stand(FakeConfig(latency_s=0.4, sigma=0.0))
    patience = Patience(pause_s=50.0)
    async with speaking_to(slow, quick, patience=patience, timeout_s=1.0) as generator:
        assert len(await collect(generator, request_for())) == 4
        await until(lambda: slow.aborted == 1)


async def test_one_killed_with_requests_in_flight_loses_none_and_repeats_none():
    config = FakeConfig(latency_s=0.2, sigma=0.8, slots=64)
    first, second = Stand(config), Stand(config)
    async with speaking_to(first, second) as generator:
        tasks = [
            asyncio.create_task(collect(generator, request_for(chain=chain, seed=100 * chain)))
            for chain in range(8)
        ]
        await until(lambda: first.choices >= 4)
        await first.close()
        found = await asyncio.gather(*tasks)
    assert all(sorted(each) == [0, 1, 2, 3] for each in found)
    again = {seed for seed, count in seeds(first, second).items() if count > 1}
    assert len(again) <= 16 - first.choices
    assert len(second.requests) >= 4


async def test_a_server_that_always_fails_is_tried_less_and_less():
    first, second = Stand(troubles=[Trouble.SERVER_ERROR] * 1000), Stand()
    async with speaking_to(first, second) as generator:
        for _ in range(40):
            await collect(generator, request_for())
        assert 1 < len(first.requests) <= 8
        assert len(second.requests) == 40


async def test_all_fail_and_the_run_is_told():
    first, second = (Stand(troubles=[Trouble.SERVER_ERROR] * 100) for _ in range(2))
    async with speaking_to(first, second) as generator:
        with pytest.raises(GeneratorUnavailable, match="500"):
            await collect(generator, request_for())
        assert len(first.requests) + len(second.requests) <= 2 * QUICK.attempts
        first.troubles.clear()
        second.troubles.clear()
        assert await generator.ready() is True
        assert len(await collect(generator, request_for())) == 4


async def test_a_refused_request_is_refused_once():
    first, second = Stand(troubles=[Trouble.BAD_REQUEST]), Stand()
    async with speaking_to(first, second) as generator:
        with pytest.raises(GeneratorRefused, match="maximum context length"):
            await collect(generator, request_for())
        assert (len(first.requests), len(second.requests)) == (1, 0)


@pytest.mark.parametrize("contexts", [(40, 4096), (40, 45), (4096, 40)])
async def test_a_prompt_that_does_not_fit_goes_to_a_server_with_a_longer_context(contexts):
    first, second = (Stand(FakeConfig(context=context)) for context in contexts)
    async with speaking_to(first, second) as generator:
        if max(contexts) == 4096:
            assert len(await collect(generator, request_for())) == 4
        else:
            with pytest.raises(GeneratorRefused, match="longer --max-model-len"):
                await collect(generator, request_for())
        expected = (1, 0) if contexts[0] == 4096 else (1, 1)
        assert (len(first.requests), len(second.requests)) == expected


# Who comes back


async def test_one_that_was_killed_comes_back_by_itself_with_the_weights_it_has_now(caplog):
    first = Stand(weights="/models/one")
    async with speaking_to(first, Stand(weights="/models/one")) as generator:
        url = first.url
        (before,) = {c.model.revision for c in (await collect(generator, request_for())).values()}
        port = port_of(url)
        await first.close()
        await collect(generator, request_for())
        again = await Stand(weights="/models/two").start(port=port)
        await until(lambda: f"{url} is back" in caplog.text)
        (after,) = {c.model.revision for c in (await collect(generator, request_for())).values()}
        await again.close()
    assert (before, after) == ("/models/one", "/models/two")


async def test_the_only_server_is_learned_anew_too():
    first = Stand(weights="/models/one")
    async with speaking_to(first) as generator:
        port = port_of(first.url)
        await first.close()
        with pytest.raises(GeneratorUnavailable):
            await collect(generator, request_for())
        assert await generator.ready() is False
        again = await Stand(weights="/models/two").start(port=port)
        assert await generator.ready() is True
        completions = await collect(generator, request_for())
        await again.close()
    assert {completion.model.revision for completion in completions.values()} == {"/models/two"}


async def test_a_restart_between_a_fault_and_the_next_try_is_noticed():
    servers = [Stand(weights="/models/one", troubles=[Trouble.SERVER_ERROR])]

    async def restarted_meanwhile(seconds):
        servers.append(await moved(servers[0], weights="/models/two"))

    async with servers[0]:
        config = GeneratorConfig(base_url=(servers[0].url,))
        generator = OpenAIGenerator(config, patience=QUICK, sleep=restarted_meanwhile)
        await generator.start()
        completions = await collect(generator, request_for())
        await generator.close()
        await servers[1].close()
    assert {completion.model.revision for completion in completions.values()} == {"/models/two"}


async def test_one_that_comes_back_with_another_model_is_not_used(caplog):
    first, second = Stand(), Stand()
    async with speaking_to(first, second) as generator:
        url = first.url
        other = await moved(first, OTHER)
        assert len(await collect(generator, request_for())) == 4
        assert (len(other.requests), len(second.requests)) == (1, 1)
        await until(lambda: "does not serve 'fake'; it serves 'other'" in caplog.text)
        await collect(generator, request_for())
        assert (len(other.requests), len(second.requests)) == (1, 2)
        right = await moved(other)
        await until(lambda: f"{url} is back" in caplog.text)
        await collect(generator, request_for())
        assert len(right.requests) == 1
        await right.close()


async def test_a_model_that_none_names_is_known_among_several_later():
    first = Stand()
    async with speaking_to(first) as generator:
        again = await moved(first, FakeConfig(models=("fake", "adapter")))
        await until(lambda: not generator._fleet.members[0].in_flight)
        generator._fleet.leave_out(generator._fleet.members[0], "to see whether it is taken back")
        assert await generator.ready() is True
        completions = await collect(generator, request_for())
        await again.close()
    assert {completion.model.model for completion in completions.values()} == {"fake"}


async def test_only_a_refusal_of_all_is_one(unused_tcp_port):
    first, second = Stand(), Stand()
    async with speaking_to(first, second) as generator:
        others = [await moved(first, OTHER)]
        port = port_of(second.url)
        await second.close()
        with pytest.raises(GeneratorUnavailable):
            await collect(generator, request_for())
        others.append(await Stand(OTHER).start(port=port))
        assert await generator.ready() is True
        with pytest.raises(GeneratorRefused, match="serves 'other'"):
            await collect(generator, request_for())
        for other in others:
            await other.close()


async def test_closing_aborts_at_all_servers():
    config = FakeConfig(latency_s=30)
    first, second = Stand(config), Stand(config)
    async with speaking_to(first, second) as generator:
        async with aclosing(generator.sample(request_for(indices=(0, 1, 3, 4)))) as stream:
            pull = asyncio.create_task(anext(stream))
            await until(lambda: first.requests and second.requests)
            pull.cancel()
            await asyncio.gather(pull, return_exceptions=True)
        await until(lambda: first.aborted == second.aborted == 1)


# Loads


@asynccontextmanager
async def fleet_of(*servers):
    """A fleet whose clock is an attribute of what is yielded."""

    class Timed(Fleet):
        now = 0.0

    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server)
        config = GeneratorConfig(kind="openai")
        models = [ServedModel(server.url, None, config, QUICK) for server in servers]
        fleet = Timed(models, QUICK, clock=lambda: fleet.now)
        stack.push_async_callback(fleet.close)
        await fleet.start()
        yield fleet


async def test_loads_are_read_once_a_second_however_often_they_are_asked_for():
    server = Stand(page=page(running=3))
    async with fleet_of(server, Stand(page=page(waiting=2))) as fleet:
        loads = await asyncio.gather(*(fleet.loads() for _ in range(5)))
        assert [(load.running, load.waiting) for load in loads[0]] == [(3, 0), (0, 2)]
        fleet.now = 0.9
        server.page = page(running=5)
        assert (await fleet.loads())[0].running == 3
        assert server.pages == 1
        fleet.now = 1.0
        assert (await fleet.loads())[0].running == 5


async def test_servers_that_are_gone_or_say_nothing_have_no_load():
    gone = Stand(page=page())
    async with fleet_of(gone, Stand(page="<html></html>"), Stand(page=page(running=1))) as fleet:
        await gone.close()
        assert [load.running for load in await fleet.loads()] == [1]
        await fleet.close()
        assert await fleet.loads() == ()


async def test_refusals_for_overload_are_counted():
    troubles = [Trouble.UNAVAILABLE, Trouble.SERVER_ERROR, Trouble.TOO_MANY]
    server = Stand(page="nothing", troubles=troubles)

    async def no_sleep(seconds):
        await asyncio.sleep(0)

    async with server:
        generator = OpenAIGenerator(GeneratorConfig(base_url=(server.url,)), patience=QUICK, sleep=no_sleep)
        await generator.start()
        await collect(generator, request_for())
        (load,) = await generator.loads()
        await generator.close()
        assert (load.server, load.overloads, load.running) == (server.url, 2, None)


@pytest.mark.parametrize("sign", ["totals that fell", "a page that failed to come"])
async def test_a_restart_that_nobody_noticed_is_found_in_the_metrics(sign):
    first = Stand(weights="/models/one", page=page(tokens=1000))
    async with fleet_of(first) as fleet:
        member = fleet.members[0]
        await fleet.loads()
        fell = sign == "totals that fell"
        again = await moved(first, weights="/models/two", page=page(tokens=10) if fell else "starting")
        for second in range(1, 3):
            fleet.now = float(second)
            await fleet.loads()
            again.page = page(tokens=2000 + second)
        await until(lambda: member.served.identity.revision == "/models/two")
        await again.close()


# What is spoiled


async def test_whole_answers_spoil_nothing():
    server = Stand()
    async with speaking_to(server) as generator:
        await collect(generator, request_for())
        assert generator.spoiled == NO_TOKENS


async def test_aborted_choices_are_spoiled_and_counted():
    server = Stand(troubles=[Trouble.ABORTED_ONE])
    async with speaking_to(server) as generator:
        completions = await collect(generator, request_for())
        spoiled = generator.spoiled
    kept = sum(len(completion.token_ids) for completion in completions.values())
    assert spoiled.completion > 0
    assert kept + spoiled.completion == server.tokens


async def test_what_came_of_a_broken_answer_is_counted_with_its_prompt():
    config = FakeConfig(latency_s=1.0, sigma=0.0, pieces=50)
    first, second = Stand(config), Stand()
    async with speaking_to(first, second) as generator:
        asking = asyncio.create_task(collect(generator, request_for()))
        await until(lambda: first.stats()["running"] == 4)
        await asyncio.sleep(0.4)
        await first.close()
        completions = await asking
        spoiled = generator.spoiled
    (prompt,) = {completion.prompt_token_ids for completion in completions.values()}
    assert spoiled.prompt == len(prompt)
    whole = sum(len(completion.token_ids) for completion in completions.values())
    assert 0 < spoiled.completion < whole

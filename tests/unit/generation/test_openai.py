import asyncio
import time
from contextlib import aclosing

import pytest

from discovery.errors import GeneratorRefused, GeneratorUnavailable
from discovery.generation.served import Patience
from discovery.testing.generator import collect, request_for
from discovery.testing.server import FakeConfig, FakeServer, Reply, Trouble


@pytest.mark.parametrize(
    ("trouble", "pauses"),
    [
        (Trouble.UNAVAILABLE, 1),
        (Trouble.TOO_MANY, 1),
        (Trouble.SERVER_ERROR, 1),
        (Trouble.REFUSED, 1),
        (Trouble.HALF, 1),
        (Trouble.CUT, 1),
        (Trouble.GARBAGE, 1),
        (Trouble.ERROR_EVENT, 1),
        (Trouble.NOT_STREAMED, 0),
        (Trouble.ABORTED, 1),
        (Trouble.ABORTED_ONE, 1),
        (Trouble.SHORT, 0),
        (Trouble.EMPTY, 1),
        (Trouble.NO_FINISH, 0),
        (Trouble.NO_USAGE, 0),
    ],
)
async def test_one_fault_is_survived(asked, trouble, pauses):
    async with asked([trouble], server={"latency_s": 0.01, "sigma": 0.1}) as (server, generator, sleeps):
        completions = await collect(generator, request_for())
        assert sorted(completions) == [0, 1, 2, 3]
        assert all(c.text and c.finish_reason != "abort" for c in completions.values())
        assert len(sleeps) == pauses
        assert len(server.requests) <= 4


@pytest.mark.parametrize("trouble", [Trouble.HALF, Trouble.CUT])
async def test_what_a_broken_answer_completed_is_not_asked_for_again(asked, trouble):
    async with asked([trouble]) as (server, generator, _):
        await collect(generator, request_for(seed=0))
        assert [(body["seed"], body["n"]) for body in server.requests] == [(0, 4), (1, 3)]


@pytest.mark.parametrize("trouble", [Trouble.HALF, Trouble.CUT, Trouble.STALLED_MIDWAY, Trouble.LATE_REFUSAL])
async def test_a_last_choice_that_waits_for_the_usage_is_not_lost_with_it(asked, trouble):
    patience = Patience(stall_s=0.3, first_byte_s=0.3)
    async with asked([trouble], patience=patience) as (server, generator, sleeps):
        completions = await collect(generator, request_for(indices=(0,)))
        assert (sorted(completions), len(server.requests), sleeps) == ([0], 1, [])
        assert completions[0].tokens.completion == server.tokens
        assert generator.spoiled.completion == 0


async def test_only_what_was_aborted_is_asked_for_again(asked):
    async with asked([Trouble.ABORTED_ONE]) as (server, generator, _):
        await collect(generator, request_for(seed=0))
        assert [(body["seed"], body["n"]) for body in server.requests] == [(0, 4), (0, 1)]


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble.UNAVAILABLE,
        Trouble.REFUSED,
        Trouble.GARBAGE,
        Trouble.ABORTED,
        Trouble.EMPTY,
        Trouble.ERROR_EVENT,
    ],
)
async def test_a_lasting_fault_is_unavailable_after_bounded_tries(asked, trouble):
    async with asked([trouble] * 50, server={"latency_s": 0.01}) as (server, generator, sleeps):
        with pytest.raises(GeneratorUnavailable, match=f"{server.url} failed 4 times in a row"):
            await collect(generator, request_for())
        assert len(server.requests) == 4
        assert len(sleeps) == 3
        assert sleeps == sorted(sleeps)
        assert await generator.ready() is True
        server.troubles.clear()
        assert len(await collect(generator, request_for())) == 4


async def test_retry_after_is_honoured(asked):
    async with asked([Trouble.TOO_MANY]) as (_, generator, sleeps):
        await collect(generator, request_for())
    assert sleeps == [7.0]


@pytest.mark.parametrize("trouble", [Trouble.STALLED, Trouble.STALLED_MIDWAY])
async def test_a_stall_is_unavailable_at_once(asked, trouble):
    patience = Patience(stall_s=0.3, first_byte_s=0.3)
    async with asked([trouble], patience=patience) as (server, generator, sleeps):
        seen = []

        async def consume():
            async for completion in generator.sample(request_for()):
                seen.append(completion.key.index)

        with pytest.raises(GeneratorUnavailable, match="stalls"):
            await consume()
        assert seen == ([0] if trouble is Trouble.STALLED_MIDWAY else [])
        assert len(server.requests) == 1
        assert sleeps == []


async def test_the_deadline_is_one_for_the_whole_request(asked):
    patience = Patience(stall_s=60)
    async with asked(server={"latency_s": 30}, timeout_s=1.0, patience=patience) as (_, generator, _):
        started = time.monotonic()
        with pytest.raises(GeneratorUnavailable, match="1 s"):
            await collect(generator, request_for())
        assert time.monotonic() - started < 5


async def test_a_slow_consumer_is_not_cut_by_the_deadline(asked):
    async with asked(timeout_s=1.0) as (_, generator, _):
        seen = 0
        async for _ in generator.sample(request_for()):
            await asyncio.sleep(0.4)
            seen += 1
    assert seen == 4


async def test_a_refusal_is_not_repeated(asked):
    async with asked([Trouble.BAD_REQUEST]) as (server, generator, sleeps):
        with pytest.raises(GeneratorRefused, match="maximum context length"):
            await collect(generator, request_for())
        assert len(server.requests) == 1
        assert sleeps == []


async def test_what_came_while_the_consumer_was_busy_is_not_lost_to_a_refusal(asked, monkeypatch):
    async with asked(temperature=0.0) as (_, generator, _):
        read, turns = generator._read, [asyncio.Event() for _ in range(3)]

        async def in_turn(request, indices, arrived):
            """The first one comes, the second is refused, the others come later."""
            (index,) = indices
            await turns[min(index, 2)].wait()
            if index == 1:
                arrived.put_nowait(GeneratorRefused("no"))
            else:
                await read(request, indices, arrived)

        monkeypatch.setattr(generator, "_read", in_turn)
        seen = []
        turns[0].set()

        async def consume():
            async for completion in generator.sample(request_for()):
                seen.append(completion.key.index)
                for turn in turns[1:]:
                    turn.set()
                    await asyncio.sleep(0.3)

        with pytest.raises(GeneratorRefused, match="no"):
            await consume()
    assert sorted(seen) == [0, 2, 3]


async def test_a_model_that_went_away(asked):
    async with asked() as (server, generator, _):
        server.config = FakeConfig(models=("other",))
        with pytest.raises(GeneratorRefused, match="`fake` does not exist"):
            await collect(generator, request_for())


async def test_a_server_that_dies_and_comes_back(asked, until):
    async with asked(server={"latency_s": 5}) as (server, generator, _):
        port = int(server.url.split(":")[2].removesuffix("/v1"))
        stream = asyncio.create_task(collect(generator, request_for()))
        await until(lambda: server.requests)
        await server.close()
        with pytest.raises(GeneratorUnavailable):
            await stream
        assert await generator.ready() is False
        again = await FakeServer().start(port=port)
        try:
            assert await generator.ready() is True
            assert len(await collect(generator, request_for())) == 4
        finally:
            await again.close()


async def test_closing_the_iterator_aborts_on_the_server(asked, until):
    async with asked(server={"latency_s": 30}) as (server, generator, _):
        async with aclosing(generator.sample(request_for())) as stream:
            pull = asyncio.create_task(anext(stream))
            await until(lambda: server.stats()["running"] == 4)
            pull.cancel()
            await asyncio.gather(pull, return_exceptions=True)
        await until(lambda: server.stats()["running"] == 0)
        assert server.aborted == 1


async def test_cost_of_a_completion_is_low(asked):
    """Long answers in thousands of pieces: the client's own work per piece must stay small."""
    pieces = 500

    def long(messages, seed):
        return Reply(text="word " * pieces)

    async with asked(answer=long, server={"pieces": pieces}) as (_, generator, _):
        await collect(generator, request_for())
        started = time.process_time()
        completions = await collect(generator, request_for())
        used = time.process_time() - started
    assert len(completions) == 4
    assert used / (4 * pieces) < 400e-6  # 45e-6 when nothing else runs, the server's share included

"""Several generators as one, over stub servers that come and go."""

import socket
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from discovery.config import AdviserConfig, GeneratorConfig, MemberConfig, RunConfig, SamplingConfig
from discovery.errors import ConfigError, GeneratorRefused, GeneratorUnavailable
from discovery.generation import make_generator
from discovery.generation.base import GenerationRequest, ParentView
from discovery.generation.extract import extract
from discovery.generation.mixture import Mixture
from discovery.generation.mutation import MODEL
from discovery.generation.openai import OpenAIGenerator
from discovery.generation.prompt import compose
from discovery.generation.served import Patience
from discovery.launch import advising_of, generator_of, selector_of
from discovery.records import INITIAL, Message, Prompt
from discovery.testing.server import FakeConfig, FakeServer, Trouble

QUICK = Patience(attempts=2, pause_s=0.001)


def request_of(members, problem, indices=None):
    parents = (ParentView(key=INITIAL, source=problem.initial, score=0.0, metrics={}),)
    messages = compose(problem, parents=parents, best=0.0)
    prompt = Prompt(chain=0, step=1, messages=messages, parents=(INITIAL,))
    wanted = tuple(sorted(members)) if indices is None else indices
    return GenerationRequest(prompt=prompt, parents=parents, indices=wanted, seed=40, members=members)


@asynccontextmanager
async def mixture_of(*servers, problem=None, patience=None):
    """A mixture of one member for each server, named as its model; of mutation, too, where a problem is given."""
    members = {}
    for server in servers:
        config = GeneratorConfig(kind="openai", base_url=(server.url,), timeout_s=20)
        members[server.config.models[0]] = OpenAIGenerator(config, patience=patience or QUICK)
    if problem is not None:
        members["mutation"] = make_generator(GeneratorConfig(), problem)
    mixture = Mixture(members)
    try:
        await mixture.start()
        yield mixture
    finally:
        await mixture.close()


def fake(name, **config):
    return FakeServer(FakeConfig(models=(name,), **config))


async def into(found, mixture, request):
    async for completion in mixture.sample(request):
        found[completion.key.index] = completion


async def all_of(mixture, request):
    found = {}
    await into(found, mixture, request)
    return found


async def test_each_completion_is_its_members_and_names_its_model(problem_of):
    problem = problem_of()
    members = {0: "big", 1: "big", 2: "small", 3: "mutation"}
    async with fake("big") as big, fake("small") as small, mixture_of(big, small, problem=problem) as mixture:
        found = await all_of(mixture, request_of(members, problem))
        again = await all_of(mixture, request_of(members, problem, (1, 3)))
        assert {load.server for load in await mixture.loads()} == {big.url, small.url}
    assert [found[i].model.model for i in range(4)] == ["big", "big", "small", MODEL]
    assert [found[i].seed for i in range(4)] == [40, 41, 42, 43]
    assert [body["n"] for body in big.requests] == [2, 1]
    assert len(small.requests) == 1
    assert {i: c.text for i, c in again.items()} == {i: found[i].text for i in (1, 3)}
    for completion in found.values():
        assert isinstance(extract(completion, problem), str), "bare for mutation, fenced for models"


async def test_completions_come_as_they_arrive_from_any_of_them(problem_of):
    problem = problem_of()
    async with (
        fake("slow", latency_s=0.3, sigma=0.0) as slow,
        fake("fast") as fast,
        mixture_of(slow, fast) as mixture,
    ):
        request = request_of({0: "slow", 1: "fast", 2: "fast"}, problem)
        order = [completion.key.index async for completion in mixture.sample(request)]
    assert order[-1] == 0
    assert sorted(order) == [0, 1, 2]


async def test_one_that_goes_away_is_waited_for_and_nobody_else_asked_instead(problem_of):
    problem = problem_of()
    members = {0: "big", 1: "small", 2: "small"}
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    big = await fake("big").start(port=port)
    async with fake("small") as small, mixture_of(big, small) as mixture:
        whole = await all_of(mixture, request_of(members, problem))
        assert await mixture.ready()
        await big.close()
        found = {}
        with pytest.raises(GeneratorUnavailable, match="member big: ") as told:
            await into(found, mixture, request_of(members, problem))
        assert not told.value.is_overload
        assert {i: c.text for i, c in found.items()} == {i: whole[i].text for i in (1, 2)}
        assert not await mixture.ready()
        asked = len(small.requests)
        assert len(await all_of(mixture, request_of(members, problem, (1,)))) == 1, "the other goes on"
        async with fake("big") as back:
            await back.close()
            back = await fake("big").start(port=port)
            assert await mixture.ready()
            late = await all_of(mixture, request_of(members, problem, (0,)))
            await back.close()
        assert late[0].text == whole[0].text
        assert late[0].model.model == "big"
        assert len(small.requests) == asked + 1


async def test_only_what_is_missing_decides_whether_it_is_ready(problem_of):
    problem = problem_of()
    async with fake("big") as big, fake("small") as small, mixture_of(big, small) as mixture:
        await small.close()
        await all_of(mixture, request_of({0: "big"}, problem))
        assert await mixture.ready(), "nobody has missed the other yet"


async def test_an_overload_of_one_is_an_overload(problem_of):
    problem = problem_of()
    async with fake("big") as big, fake("small") as small, mixture_of(big, small) as mixture:
        big.troubles.extend([Trouble.UNAVAILABLE] * 9)
        with pytest.raises(GeneratorUnavailable, match="member big") as told:
            await all_of(mixture, request_of({0: "big", 1: "small"}, problem))
        assert told.value.is_overload


async def test_a_refusal_is_told_under_the_members_name(problem_of):
    problem = problem_of()
    async with fake("big") as big, fake("small") as small, mixture_of(big, small) as mixture:
        big.troubles.append(Trouble.BAD_REQUEST)
        with pytest.raises(GeneratorRefused, match="member big: "):
            await all_of(mixture, request_of({0: "big"}, problem))
        with pytest.raises(
            GeneratorRefused, match="from 'stranger', which is none of this run's generators: big"
        ):
            await all_of(mixture, request_of({0: "stranger"}, problem))


async def test_one_that_refuses_or_is_not_there_at_the_start_is_named():
    async with fake("big", api_key="right") as big, fake("small") as small:
        with pytest.raises(GeneratorRefused, match="member big: "):
            async with mixture_of(big, small):
                pass
    async with fake("big") as big, fake("small") as small:
        url = small.url
        await small.close()
        config = GeneratorConfig(kind="openai", base_url=(url,))
        gone = Mixture(
            {
                "big": OpenAIGenerator(GeneratorConfig(kind="openai", base_url=(big.url,))),
                "gone": OpenAIGenerator(config, patience=QUICK),
            }
        )
        with pytest.raises(GeneratorUnavailable, match="member gone: "):
            await gone.start()
        await gone.close()


async def test_prompts_fit_the_smallest_context_and_are_counted_by_who_counts_most(problem_of):
    problem = problem_of()
    messages = (Message(role="user", content="a few words that are counted"),)
    async with (
        fake("big", context=9000) as big,
        fake("small", context=700, style="think") as small,
        mixture_of(big, small, problem=problem) as mixture,
    ):
        assert mixture.context_tokens == 700
        alone = [await m.count_tokens(messages) for n, m in mixture.members.items() if n != "mutation"]
        assert await mixture.count_tokens(messages) == max(alone)
    async with mixture_of(problem=problem) as mixture:
        assert mixture.context_tokens is None
        assert await mixture.count_tokens(messages) is None
        assert mixture.max_tokens is None


async def test_tokens_of_aborted_choices_add_up(problem_of):
    problem = problem_of()
    async with fake("big") as big, fake("small") as small, mixture_of(big, small) as mixture:
        for server in (big, small):
            server.troubles.append(Trouble.ABORTED)
        found = await all_of(mixture, request_of({0: "big", 1: "small"}, problem))
        alone = [member.spoiled for member in mixture.members.values()]
    assert sorted(found) == [0, 1]
    assert all(spoiled.total > 0 for spoiled in alone)
    assert mixture.spoiled == alone[0] + alone[1]


def test_the_factory_makes_members_of_their_own_settings(problem_of):
    members = (
        MemberConfig(name="big", base_url=("http://a/v1",), sampling=SamplingConfig(max_tokens=100)),
        MemberConfig(name="small", base_url=("http://b/v1",), model="s"),
        MemberConfig(name="free", kind="mutation"),
    )
    config = GeneratorConfig(kind="mixture", members=members, sampling=SamplingConfig(max_tokens=300))
    made = make_generator(config, problem_of(), api_key="all", keys={"small": "own"})
    assert list(made.members) == ["big", "small", "free"]
    answer = config.reasoning.answer_tokens
    assert [m.max_tokens for m in made.members.values()] == [100 + answer, 300 + answer, None]
    assert made.max_tokens == 300 + answer


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "openai"}, "kind is 'openai', and there are 2 members"),
        ({"model": "m"}, "a mixture has no base_url and no model of its own"),
        ({"members": (MemberConfig(name="a", kind="mutation"),)}, "two members at least; a is alone"),
        (
            {
                "members": (
                    MemberConfig(name="a-b", kind="mutation"),
                    MemberConfig(name="A_b", kind="mutation"),
                )
            },
            "names too much alike",
        ),
    ],
)
def test_mixtures_that_cannot_be_are_refused(change, told):
    members = (MemberConfig(name="a", kind="mutation"), MemberConfig(name="b", base_url=("http://b/v1",)))
    with pytest.raises(ConfigError, match=told):
        replace(GeneratorConfig(kind="mixture", members=members), **change)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"name": "a"}, "member a has no server; give base_url"),
        ({"name": "a", "kind": "mutation", "model": "m"}, "has no server and no model"),
        ({"name": "a=b", "kind": "mutation"}, "member 'a=b': a name has"),
        ({"name": "a", "kind": "gpt"}, "is of kind 'gpt'; it must be openai or mutation"),
        ({"name": "a", "kind": "mutation", "weight": 0.0}, "weight of a is 0.0"),
    ],
)
def test_members_that_cannot_be_are_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        MemberConfig(**settings)


async def test_a_member_has_a_key_of_its_own_or_that_of_all(problem_of, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "all")
    monkeypatch.setenv("OPENAI_API_KEY_SMALL_ONE", "own")
    async with fake("big", api_key="all") as big, fake("small", api_key="own") as small:
        members = (
            MemberConfig(name="big", base_url=(big.url,)),
            MemberConfig(name="small-one", base_url=(small.url,)),
        )
        config = RunConfig(problem="p", generator=GeneratorConfig(kind="mixture", members=members))
        mixture = generator_of(config, problem_of())
        assert (await mixture.start()).model == "big + small"
        await mixture.close()


async def test_the_first_model_of_a_mixture_advises_with_its_own_key(problem_of, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY_BIG", "own")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    free, asks = MemberConfig(name="free", kind="mutation"), AdviserConfig(reflect=True)
    async with fake("big", api_key="own") as big:
        members = (free, MemberConfig(name="big", base_url=(big.url,)))
        config = RunConfig(
            problem="p", generator=GeneratorConfig(kind="mixture", members=members), adviser=asks
        )
        advising = advising_of(config, selector_of(config, problem_of()))
        assert (await advising.start()).model == "big"
        await advising.close()
    alone = GeneratorConfig(kind="mixture", members=(free, replace(free, name="other")))
    config = replace(config, generator=alone)
    with pytest.raises(ConfigError, match="--reflect asks a model, and generator 'mixture' has none"):
        advising_of(config, selector_of(config, problem_of()))

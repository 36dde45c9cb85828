"""Prompts of whole runs: within the model's context, in a template's words, the same after a resume."""

import asyncio
import dataclasses

import pytest

from discovery.config import GeneratorConfig, PromptConfig, RunConfig, SamplingConfig, SearchConfig
from discovery.errors import ConfigError
from discovery.generation.fitting import room
from discovery.launch import reopened, started, with_template
from discovery.sandbox import make_backend
from discovery.storage import open_storage
from discovery.testing.server import FakeConfig, FakeServer, Reply
from discovery.testing.vocabulary import Vocabulary

PROBLEM = """
from discovery import Score, problem

@problem(
    name="climb",
    statement="Return a large number: the larger it is, the better, up to a million.",
    initial="def solve():\\n    return 1\\n",
    bounds=(None, 1e6),
)
def score(program):
    value = float(program.call("solve"))
    return Score(value=value, metrics={"digits": len(str(value))}, feedback="So it is. " * 30)
"""
CONTEXT, ANSWER = 1300, 300
VOCABULARY = Vocabulary("harmony")


def answer(messages, seed):
    if seed % 3 == 0:
        return Reply(
            text=f"```python\ndef solve():\n    raise ValueError('no {'very ' * (seed % 9)}good')\n```\n"
        )
    lines = "".join(f"    # note {n} of {seed}\n" for n in range(20 + seed % 26))
    return Reply(text=f"```python\ndef solve():\n{lines}    return {seed % 1000}\n```\n")


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


def config(tmp_path, url, steps=4, **prompt):
    path = tmp_path / "climb.py"
    path.write_text(PROBLEM)
    return RunConfig(
        problem=str(path),
        search=SearchConfig(chains=1, steps=steps, candidates=4, parents=3),
        generator=GeneratorConfig(
            kind="openai", base_url=(url,), timeout_s=20, sampling=SamplingConfig(max_tokens=ANSWER)
        ),
        prompt=PromptConfig(**prompt),
    )


def prompts(storage, run):
    steps = [step.step for step in storage.committed_steps(run, 0)]
    return [storage.step(run, 0, number).prompt.messages for number in steps]


def tokens(messages):
    return len(VOCABULARY.encode(VOCABULARY.prompt([dataclasses.asdict(message) for message in messages])))


async def execute(opened):
    async with opened as run:
        return (await run.execute()).run


async def test_prompts_stay_within_the_context_and_are_the_same_after_a_resume(tmp_path, storage):
    backend = make_backend("process")
    async with FakeServer(FakeConfig(context=CONTEXT), answer=answer) as server:
        asked = config(tmp_path, server.url)
        whole = await execute(started(asked, storage, backend))
        part = await execute(started(config(tmp_path, server.url, steps=2), storage, backend))
        resumed = await execute(reopened(storage.get_run(part), asked, storage, backend))
    async with FakeServer(answer=answer) as server:
        roomy = await execute(started(config(tmp_path, server.url), storage, backend))
    most = room(CONTEXT, ANSWER + asked.generator.reasoning.answer_tokens)
    found, unbounded = prompts(storage, whole), prompts(storage, roomy)
    assert all(tokens(messages) <= most for messages in found)
    assert any(tokens(messages) > most for messages in unbounded)
    assert prompts(storage, resumed) == found
    assert found[0] == unbounded[0]
    text = unbounded[-1][1].content
    assert "# Other good candidates, without their text" in text
    assert "candidates so far had no score:" in text


async def test_a_server_without_a_tokenizer_is_estimated_from_what_it_has_counted(tmp_path, storage):
    backend = make_backend("process")
    async with FakeServer(FakeConfig(owner="somebody"), answer=answer) as server:
        asked = config(tmp_path, server.url, context_tokens=CONTEXT)
        whole = await execute(started(asked, storage, backend))
    most = room(CONTEXT, ANSWER + asked.generator.reasoning.answer_tokens)
    assert all(tokens(messages) <= most for messages in prompts(storage, whole))


async def test_a_statement_that_cannot_fit_is_refused_at_the_start(tmp_path, storage):
    async with FakeServer(FakeConfig(context=300), answer=answer) as server:
        asked = config(tmp_path, server.url)
        with pytest.raises(ConfigError, match=r"of 'climb' take [\d,]+ tokens, and the context has 300"):
            await execute(started(asked, storage, make_backend("process")))
    assert not server.requests
    assert not storage.list_runs()


def growing(messages, seed):
    """Long programs are the better ones; some steps have none else, some one of them, and some none."""
    step, index = divmod(seed, 16)
    is_long = step % 3 == 0 or (step % 3 == 1 and index % 3 == 0)
    lines = 60 + seed % 40 if is_long else seed % 5
    notes = "".join(f"    # note {n} of {seed}\n" for n in range(lines))
    return Reply(text=f"```python\ndef solve():\n{notes}    return {100 * lines + seed % 100}\n```\n")


def growing_config(tmp_path, url, steps, selector="greedy", **prompt):
    asked = config(tmp_path, url, steps, **prompt)
    search = dataclasses.replace(asked.search, candidates=3, parents=2, selector=selector)
    sampling = dataclasses.replace(asked.generator.sampling, max_tokens=1200)
    generator = dataclasses.replace(asked.generator, sampling=sampling)
    return dataclasses.replace(asked, search=search, generator=generator)


def planned(storage, run):
    found = []
    for step in storage.committed_steps(run, 0):
        stored = storage.step(run, 0, step.step)
        assert stored.prompt.parents == stored.step.parents
        found.append(
            (step, stored.step.parents, stored.step.selection.get("too_long"), stored.prompt.messages)
        )
    return found


async def broken_off(opened, server, requests):
    """A run that ends when so many requests have come."""
    async with opened as run:
        going = asyncio.create_task(run.execute())
        while len(server.requests) < requests:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        return run.record.id


@pytest.mark.parametrize("selector", ["greedy", "rpucg"])
async def test_a_main_parent_that_is_too_long_is_passed_over_the_same_after_a_resume(
    tmp_path, storage, selector
):
    backend = make_backend("process")
    async with FakeServer(FakeConfig(context=CONTEXT), answer=growing) as server:
        asked = growing_config(tmp_path, server.url, 8, selector)
        whole = await execute(started(asked, storage, backend))
        assert len(server.requests) == 8  # none was refused
        part = await broken_off(started(asked, storage, backend), server, requests=8 + 5)
        before = len(list(storage.committed_steps(part, 0)))
        await execute(reopened(storage.get_run(part), asked, storage, backend))
    found = planned(storage, whole)
    assert len(found) == 8
    assert before < 8
    assert planned(storage, part) == found
    assert all(tokens(messages) <= (tokens(found[0][3]) + CONTEXT) // 2 for *_, messages in found)
    over = [(parents, keys) for _, parents, keys, _ in found if keys]
    assert over
    assert all(not {str(key) for key in parents} & set(keys) for parents, keys in over)
    assert storage.get_run(whole).facts["too_long"] == storage.get_run(part).facts["too_long"] <= len(over)
    scores = {o.key: o.score for step, *_ in found for o in step.outcomes if o.score is not None}
    made = [(step, [scores[o.key] for o in step.outcomes if o.key in scores]) for step, *_ in found]
    longer = [step for step, values in made if values and scores[step.committed] < max(values)]
    assert longer  # of those a shorter sibling was committed
    for step in longer:
        assert "is better and too long" in storage.step(whole, 0, step.step).step.reason
    if selector == "greedy":  # which goes on from the best of those that can be shown
        best = 1.0
        for (_, values), (_, parents, *_) in zip(made, found, strict=True):
            assert scores.get(parents[0], 1.0) == best
            best = max([best, *(value for value in values if value < 6000)])


async def test_a_run_goes_on_from_its_initial_candidate_where_nothing_else_can_be_shown(tmp_path, storage):
    def longer(messages, seed):
        return growing(messages, 48 * seed)

    async with FakeServer(FakeConfig(context=CONTEXT), answer=longer) as server:
        asked = growing_config(tmp_path, server.url, 3)
        run = await execute(started(asked, storage, make_backend("process")))
    found = planned(storage, run)
    assert [[str(key) for key in parents] for _, parents, *_ in found] == [["initial"]] * 3
    assert all(keys for *_, keys, _ in found[1:])


async def test_without_a_tokenizer_a_main_parent_is_passed_over_by_estimate(tmp_path, storage):
    async with FakeServer(FakeConfig(owner="somebody", context=CONTEXT), answer=growing) as server:
        asked = growing_config(tmp_path, server.url, 6, context_tokens=CONTEXT)
        run = await execute(started(asked, storage, make_backend("process")))
        assert len(server.requests) == 6
    assert any(keys for *_, keys, _ in planned(storage, run))


async def test_a_runs_template_is_stored_with_it(tmp_path, storage):
    backend = make_backend("process")
    own = tmp_path / "own.md"
    own.write_text("<!-- user -->\nLook closely.\n\n${parents}\n\n${request}\n")
    async with FakeServer(answer=answer) as server:
        asked = config(tmp_path, server.url, steps=1, template=str(own))
        run = await execute(started(asked, storage, backend))
        record = storage.get_run(run)
        own.unlink()
        longer = dataclasses.replace(with_template(asked_of(record)), search=asked.search)
        longer = dataclasses.replace(longer, search=dataclasses.replace(asked.search, steps=2))
        await execute(reopened(record, longer, storage, backend))
    found = prompts(storage, run)
    assert len(found) == 2
    for system, user in found:
        assert system.content.startswith("You improve programs by experiment")
        assert user.content.startswith("Look closely.\n\n# Program 1\n")
        assert "So far" not in user.content
    with pytest.raises(ConfigError, match=r"template .*own.md: .*No such file"):
        with_template(asked)


def asked_of(record):
    from discovery.run import config_of

    return config_of(record)

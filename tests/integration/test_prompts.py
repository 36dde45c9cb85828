"""Prompts of whole runs: within the model's context, in a template's words, the same after a resume."""

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

"""Runs whose model is asked for edits: applied, failed and ambiguous ones, against a model server."""

import dataclasses
import re

import pytest

from discovery.cli import main
from discovery.config import GeneratorConfig, PromptConfig, RunConfig, SearchConfig
from discovery.errors import ConfigError
from discovery.launch import reopened, started
from discovery.records import FailureKind, RunStatus
from discovery.sandbox import make_backend
from discovery.storage import open_storage
from discovery.testing.server import FakeServer, Reply
from discovery.trajectories.assemble import outlines, samples
from discovery.trajectories.curate import curated
from discovery.trajectories.records import Filter

PROBLEM = '''
from discovery import problem

@problem(
    name="climb",
    statement="Return a large number: the larger it is, the better, up to a million.",
    initial="""def solve():
    total = 1
    total += 0
    total += 0
    return total
""",
    bounds=(None, 1e6),
)
def score(program):
    return float(program.call("solve"))
'''
KINDS = ("applied", "nowhere", "ambiguous", "whole")


def edit(search, replace):
    return f"I change one line.\n\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def answer(messages, seed):
    """One of the kinds, as the prompt has them in turn."""
    prompt = messages[-1]["content"]
    number = int(re.findall(r"^Improve program (\d+)", prompt, re.MULTILINE)[0])
    program = re.findall(r"```python\n(.*?)```", prompt, re.DOTALL)[number - 1]
    total = int(re.search(r"total = (\d+)", program)[1])
    texts = {
        "applied": edit(f"    total = {total}", f"    total = {total + 1 + seed % 7}"),
        "nowhere": edit("    total = -5", "    total = 5"),
        "ambiguous": edit("    total += 0", "    total += 1"),
        "whole": f"```python\n{program.replace(f'total = {total}', f'total = {total + 1}')}```\n",
    }
    return Reply(text=texts[KINDS[seed % len(KINDS)]])


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


def config(tmp_path, url, **prompt):
    path = tmp_path / "climb.py"
    path.write_text(PROBLEM)
    return RunConfig(
        problem=str(path),
        search=SearchConfig(chains=1, steps=3, candidates=4, parents=2),
        generator=GeneratorConfig(kind="openai", base_url=(url,), timeout_s=20),
        prompt=PromptConfig(**{"edits": "diff", **prompt}),
    )


def prompts(storage, run, steps):
    return [storage.step(run, 0, number).prompt.messages for number in range(1, steps + 1)]


def check_what_is_learned(storage, run):
    """The answer as it was given, with the program that it is edits of beside it."""
    found = list(samples(storage, curated(outlines(storage, [run]), Filter())))
    assert found
    for sample in found:
        stored = storage.step(run, 0, sample.step.step)
        assert sample.main == storage.candidate(run, stored.step.parents[0]).source
        assert sample.committed.completion == stored.completions[sample.committed.key.index]
        assert sample.committed.completion.text != sample.committed.candidate.source


async def test_edits_become_candidates_and_failed_ones_failures(tmp_path, storage, capsys):
    async with (
        FakeServer(answer=answer) as server,
        started(config(tmp_path, server.url), storage, make_backend("process")) as run,
    ):
        summary = await run.execute()
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 12)
    assert summary.failures == {FailureKind.EDIT: 6}
    for number in (1, 2, 3):
        stored = storage.step(summary.run, 0, number)
        parent = storage.candidate(summary.run, stored.step.parents[0]).source
        for index, completion in stored.completions.items():
            kind = KINDS[completion.seed % len(KINDS)]
            evaluation = stored.evaluations[index]
            if kind == "applied":
                old, new = re.findall(r"total = (\d+)", completion.text)
                assert stored.candidates[index].source == parent.replace(f"total = {old}", f"total = {new}")
            if kind in ("applied", "whole"):
                assert evaluation.score is not None
                continue
            assert index not in stored.candidates, "the parent must not be scored in place of a failed edit"
            assert ("nowhere" if kind == "nowhere" else "in 2 places") in evaluation.failure.message
    check_what_is_learned(storage, summary.run)
    assert main(["show", summary.run, "--storage", str(tmp_path / "runs.db")]) == 0
    assert ", edits as diff" in capsys.readouterr().out
    first, _, third = prompts(storage, summary.run, 3)
    assert "<<<<<<< SEARCH" in first[0].content
    assert "- edit: 4\n" in third[1].content
    assert (
        "2 like `the SEARCH/REPLACE block: its SEARCH, which begins with 'total += 0', stands in 2"
        in third[1].content
    )


async def test_edits_of_a_killed_run_are_of_the_same_parents_when_it_goes_on(tmp_path, storage):
    async with FakeServer(answer=answer) as server:
        asked = config(tmp_path, server.url)
        async with started(asked, storage, make_backend("process")) as run:
            whole = await run.execute()
        short = dataclasses.replace(asked, search=dataclasses.replace(asked.search, steps=2))
        async with started(short, storage, make_backend("process")) as run:
            part = await run.execute()
        record = storage.get_run(part.run)
        async with reopened(record, asked, storage, make_backend("process")) as run:
            resumed = await run.execute()

    def sources(run):
        return [[c.source for c in storage.step(run, 0, n).candidates.values()] for n in (1, 2, 3)]

    assert sources(whole.run) == sources(resumed.run)
    assert prompts(storage, whole.run, 3) == prompts(storage, resumed.run, 3)


async def test_solutions_that_are_data_have_no_edits(tmp_path, storage):
    path = tmp_path / "data.py"
    path.write_text(
        "from discovery import problem\n\n"
        "@problem(name='data', statement='Say a number.', initial='1', schema={'type': 'number'})\n"
        "def score(program):\n    return float(program.data)\n"
    )
    asked = dataclasses.replace(config(tmp_path, "http://127.0.0.1:9/v1"), problem=str(path))
    with pytest.raises(ConfigError, match="use --edits rewrite"):
        async with started(asked, storage, make_backend("process")):
            pass

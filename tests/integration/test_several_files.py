"""Runs over candidates of several files, by the embedded generator and by a model server."""

import re

import pytest

from discovery.bundle import unbundled, write_folder
from discovery.cli.judge import score_file
from discovery.cli.report import save_results
from discovery.config import GeneratorConfig, PromptConfig, RunConfig, SearchConfig
from discovery.launch import started
from discovery.plugins import load_problem
from discovery.records import FailureKind, RunStatus
from discovery.sandbox import make_backend
from discovery.storage import open_storage
from discovery.testing.server import FakeServer, Reply
from discovery.trajectories.assemble import outlines, samples
from discovery.trajectories.curate import curated
from discovery.trajectories.records import Filter

PROBLEM = """
from discovery import problem

@problem(name="climb", statement="Return a large number: the larger it is, the better.", bounds=(None, 1e9))
def score(program):
    return float(program.call("solve"))
"""
FILES = {
    "main.py": "from part import value\n\ndef solve():\n    bonus = 1.0\n    return value() + bonus\n",
    "part.py": "def value():\n    return 2.0\n",
}
KINDS = ("part", "both", "edit", "unknown", "unnamed")


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


def config(tmp_path, generator, edits="rewrite"):
    (tmp_path / "climb").mkdir()
    (tmp_path / "climb/problem.py").write_text(PROBLEM)
    write_folder(tmp_path / "climb/initial", FILES)
    return RunConfig(
        problem=str(tmp_path / "climb"),
        search=SearchConfig(chains=1, steps=3, candidates=5, parents=2),
        generator=generator,
        prompt=PromptConfig(edits=edits),
    )


def shown(prompt):
    """The files of the program that is to be improved."""
    number = int(re.findall(r"^Improve program (\d+)", prompt, re.MULTILINE)[0])
    part = re.split(r"^# (?:Program \d+|So far|Other.*)$", prompt, flags=re.MULTILINE)[number]
    return dict(re.findall(r"^`([\w.]+)`:\n\n```python\n(.*?)```", part, re.DOTALL | re.MULTILINE))


def answer(messages, seed):
    files = shown(messages[-1]["content"])
    number = float(re.search(r"return ([\d.]+)", files["part.py"])[1])
    part = files["part.py"].replace(f"return {number}", f"return {number + 1 + seed % 7}")
    main = files["main.py"].replace("bonus = ", "bonus = 1")
    texts = {
        "part": f"```python part.py\n{part}```",
        "both": f"`part.py`:\n\n```python\n{part}```\n\n`main.py`:\n\n```python\n{main}```",
        "edit": f"part.py\n<<<<<<< SEARCH\n    return {number}\n=======\n    return {number + 50}\n>>>>>>> REPLACE",
        "unknown": f"```python other.py\n{part}```",
        "unnamed": f"```python\n{part}```",
    }
    return Reply(text=f"I think.\n\n{texts[KINDS[seed % len(KINDS)]]}")


@pytest.mark.parametrize("edits", ["rewrite", "diff"])
async def test_answers_of_a_model_change_the_files_that_they_name(tmp_path, storage, edits):
    async with FakeServer(answer=answer) as server:
        generator = GeneratorConfig(kind="openai", base_url=(server.url,), timeout_s=20)
        async with started(config(tmp_path, generator, edits), storage, make_backend("process")) as run:
            summary = await run.execute()
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 15)
    assert summary.failures == {FailureKind.NO_PROGRAM: 6}
    for number in (1, 2, 3):
        stored = storage.step(summary.run, 0, number)
        main = unbundled(storage.candidate(summary.run, stored.step.parents[0]).source)
        for index, completion in stored.completions.items():
            kind = KINDS[completion.seed % len(KINDS)]
            if kind in ("unknown", "unnamed"):
                assert index not in stored.candidates
                said = "no file 'other.py'" if kind == "unknown" else "says which file"
                assert said in stored.evaluations[index].failure.message
                continue
            made = unbundled(stored.candidates[index].source)
            assert list(made) == list(FILES)
            assert made["part.py"] != main["part.py"]
            assert (made["main.py"] == main["main.py"]) is (kind != "both")
            total = (
                re.search(r"return ([\d.]+)", made["part.py"])[1],
                re.search(r"bonus = ([\d.]+)", made["main.py"])[1],
            )
            assert stored.evaluations[index].score.value == float(total[0]) + float(total[1])
    found = list(samples(storage, curated(outlines(storage, [summary.run]), Filter())))
    assert found
    assert all(unbundled(sample.main) for sample in found)


async def test_the_embedded_generator_improves_both_files(tmp_path, storage):
    asked = config(tmp_path, GeneratorConfig(kind="mutation"))
    async with started(asked, storage, make_backend("process")) as run:
        summary = await run.execute()
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 15)
    assert summary.best_score > 3.0
    made = [
        unbundled(candidate.source)
        for number in (1, 2, 3)
        for candidate in storage.step(summary.run, 0, number).candidates.values()
    ]
    for path, text in FILES.items():
        assert any(files[path] != text for files in made), path
    saved = save_results(storage, summary.run, tmp_path / "out").program
    assert {file.name for file in saved.iterdir()} == set(FILES)
    again = await score_file(load_problem(asked.problem), saved, "process")
    assert again.score.value == summary.best_score

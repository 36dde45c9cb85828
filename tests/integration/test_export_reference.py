"""The reference shows what the code writes: a record of each format, of a real run.

After a change that is meant: `DISCOVERY_WRITE_DOCS=1 pytest tests/integration/test_export_reference.py`.
"""

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest

from discovery.config import RunConfig, SearchConfig
from discovery.evaluator import Evaluator
from discovery.generation.base import ModelIdentity
from discovery.plugins import load_problem
from discovery.run import Run, new_run
from discovery.selection import make_selector
from discovery.storage import open_storage
from discovery.testing.fakes import InProcessBackend, ScriptedGenerator
from discovery.trajectories.assemble import outlines, samples
from discovery.trajectories.curate import curated
from discovery.trajectories.export import Facts, RunFact, write_export
from discovery.trajectories.formats.registry import FORMATS
from discovery.trajectories.records import Filter

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "exports.md"
MARK = "<!-- generated: DISCOVERY_WRITE_DOCS=1 pytest tests/integration/test_export_reference.py -->\n"
PLUGIN = """
from discovery import problem

@problem(name="near-pi", statement="Return a number near pi.", initial="def solve():\\n    return 3\\n")
def score(program):
    return -abs(program.call("solve") - 3.14159)
"""
SHOWN = 64
"""Characters of a text that the page shows of its beginning, and half as many of its end."""


class Reasoning(ScriptedGenerator):
    """A model that reasons, of a known name and revision."""

    async def start(self):
        return ModelIdentity(generator="openai", model="acme/thinker-8b", revision="v1")

    async def sample(self, request):
        async for completion in super().sample(request):
            yield dataclasses.replace(
                completion,
                model=await self.start(),
                reasoning="Pi is 3.14159..., so more digits are nearer.",
                sampling={"temperature": 1.0, "reasoning_effort": "low"},
            )


def answer(key, request):
    value = ("3.1", "2.5", "undefined")[key.index] if key.step == 1 else f"3.14{key.index}"
    return f"```python\ndef solve():\n    return {value}\n```"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("near-pi")


@pytest.fixture(scope="module")
def record(folder):
    import asyncio

    path = folder / "near-pi.py"
    path.write_text(PLUGIN)
    return asyncio.run(_run(load_problem(str(path)), folder))


async def _run(problem, folder):
    config = RunConfig(problem="near-pi", search=SearchConfig(chains=1, steps=2, candidates=3))
    storage = open_storage(str(folder / "runs.db"))
    evaluator = Evaluator(problem, InProcessBackend(), slots=1)
    await evaluator.start()
    record = dataclasses.replace(new_run(problem, config), id="near-pi-0101-120000-abcd")
    try:
        await Run(
            record,
            config,
            problem,
            storage,
            generator=Reasoning(answer),
            selector=make_selector(config.search.selector, problem.direction, {}),
            evaluator=evaluator,
            is_new=True,
        ).execute()
        return storage.get_run(record.id)
    finally:
        await evaluator.close()
        storage.close()


def first_row(name, folder, record):
    storage = open_storage(str(folder / "runs.db"))
    try:
        selection = curated(outlines(storage, [record.id]), Filter(validation_percent=0))
        facts = Facts(runs=(RunFact.of(record),))
        write_export(folder / name, name, selection, samples(storage, selection), facts=facts)
    finally:
        storage.close()
    with (folder / name / "train.jsonl").open() as file:
        return json.loads(file.readline())


def shortened(value, folder):
    """A record as the page shows it: texts cut, numbers rounded, and no place of this machine."""
    if isinstance(value, dict):
        return {key: shortened(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [shortened(each, folder) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")  # the last digits are the machine's
    if not isinstance(value, str):
        return value
    value = value.replace(str(folder), "/home/you")
    return value if len(value) <= 2 * SHOWN else f"{value[:SHOWN]} [...] {value[-SHOWN // 2 :]}"


def generated(folder, record):
    lines = ["", "| format | for | a row | reasoning |", "|---|---|---|---|"]
    for form in FORMATS.values():
        places = ", ".join(f"`{place}`" for place in form.reasonings)
        lines.append(f"| [`{form.name}`](#{form.name}) | {form.library} | {form.about} | {places} |")
    lines.append(
        "| `parquet` | `discovery import`, on any machine | everything that is stored of the runs | |"
    )
    lines += [
        "",
        "The first of the places of reasoning is the one it goes to unless said.",
        "",
        "The records below are of one real run of a small problem; texts are cut where `[...]` stands, "
        "and numbers are rounded.",
    ]
    for form in FORMATS.values():
        row = shortened(first_row(form.name, folder, record), folder)
        lines += ["", f"### {form.name}", "", f"For {form.library}: {form.page}", ""]
        lines += [*form.note.splitlines(), ""] if form.note else []
        lines += ["```json", json.dumps(row, indent=1, ensure_ascii=False), "```"]
    return "\n".join(lines) + "\n"


def test_the_page_shows_what_is_written(folder, record):
    wanted = generated(folder, record)
    head, mark, shown = PAGE.read_text().partition(MARK)
    assert mark
    if os.environ.get("DISCOVERY_WRITE_DOCS"):
        PAGE.write_text(head + MARK + wanted)
    else:
        assert shown == wanted, f"{PAGE.name} is stale; see the beginning of this file"


def test_the_page_names_every_reason():
    from discovery.trajectories.export import NOT_UNICODE
    from discovery.trajectories.formats import siblings as reasons

    said = PAGE.read_text().partition("## What is left out")[2].partition("\n## ")[0]
    told = [
        re.sub(r",? \.\.\.", "", part)
        for row in re.findall(r"^\| (.*?) \|", said, re.M)
        for part in row.split("; ")
    ]
    for reason in (reasons.NOT_STORED, reasons.NO_TEXT, reasons.ABORTED, reasons.CUT_OFF, reasons.TAGGED):
        assert any(reason.startswith(part) for part in told), reason
    for reason in (reasons.NO_WORSE, NOT_UNICODE):
        assert any(reason.startswith(part) for part in told), reason

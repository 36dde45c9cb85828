"""Programs that differ in comments alone, in whole runs: killed, resumed, audited."""

import asyncio
import dataclasses
import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing

import pytest

from discovery.records import INITIAL
from discovery.storage import open_storage
from discovery.testing.server import FakeConfig, FakeServer, Reply

PROBLEM = """
import random, time
from discovery import Score, problem

@problem(name="climb", statement="Return a large number.", initial="def solve():\\n    return 1, 0\\n")
def score(program):
    value, drawn = program.call("solve")
    time.sleep(0.03)
    if value % 5 == 2:
        value += len(program.source) / 1000
    return Score(value=value + drawn / 1000, metrics={"drawn": drawn}, artifact=value)
"""
CHAINS, STEPS, CANDIDATES = 2, 5, 4
OPTIONS = ("--storage", "runs.db", "--sandbox", "process", "--json")


def noted(messages, seed):
    """One of nine programs in one of seven guises; what fails says in which line."""
    value, guise = seed % 9, seed // 9 % 7
    body = f"return {value}, random.random()" if value % 4 else "raise ValueError"
    notes = "".join(f"    # note {n}\n" for n in range(guise))
    return Reply(text=f"```python\nimport random\ndef solve():\n{notes}    {body}  # {guise}\n```\n")


async def discovery(*arguments, cwd, kill_after=None):
    code = "import sys; from discovery.cli import main; sys.exit(main())"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, *arguments),
        cwd=cwd,
        env={**os.environ, "DISCOVERY_PICTURES": "off"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    if kill_after is not None:
        while process.returncode is None and evaluations_in(cwd / "runs.db") < kill_after:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert process.returncode is None, (await process.communicate())[1].decode()
        os.killpg(process.pid, signal.SIGKILL)
    said, errors = await process.communicate()
    assert kill_after is not None or process.returncode == 0, errors.decode()
    return None if kill_after is not None else json.loads(said.decode().splitlines()[-1])


def evaluations_in(database):
    if not database.exists():
        return 0
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        try:
            return connection.execute("SELECT count(*) FROM evaluations").fetchone()[0]
        except sqlite3.OperationalError:  # not yet made
            return 0


def told(storage, run):
    """What a search knows of each candidate, whosever result it is; and what was shown to the model."""
    steps = [step for chain in range(CHAINS) for step in storage.committed_steps(run, chain, ("drawn",))]
    outcomes = [
        (step.committed, [dataclasses.replace(o, duplicate_of=None) for o in step.outcomes]) for step in steps
    ]
    return outcomes, [storage.step(run, step.chain, step.step).prompt.messages for step in steps]


def scored(storage, run):
    """How often something ran for each form that has a score and was not read; and for all evaluations."""
    ran, shared = Counter(), 0
    for chain in range(CHAINS):
        for number in range(1, STEPS + 1):
            stored = storage.step(run, chain, number)
            for index, evaluation in stored.evaluations.items():
                shared += evaluation.duplicate_of is not None
                if evaluation.score is not None and not evaluation.source_read:
                    ran[stored.candidates[index].form] += evaluation.duplicate_of is None
    return ran, shared


@pytest.mark.timeout(120)
async def test_programs_of_one_form_are_scored_once_whenever_the_run_was_killed(tmp_path):
    (tmp_path / "climb.py").write_text(PROBLEM)
    async with FakeServer(FakeConfig(slots=8), answer=noted) as server:
        start = ["run", "climb.py", "--base-url", server.url, "--scheduler", "local", "--overlap", "1"]
        start += [f"--chains={CHAINS}", f"--steps={STEPS}", f"--candidates={CANDIDATES}", *OPTIONS]
        await discovery(*start, cwd=tmp_path, kill_after=11)
        storage = open_storage(str(tmp_path / "runs.db"))
        (killed,) = [run.id for run in storage.list_runs()]
        assert 0 < storage.counts(killed).evaluations < CHAINS * STEPS * CANDIDATES
        await discovery(
            "resume", killed, "--storage", "runs.db", "--scheduler", "local", "--json", cwd=tmp_path
        )
        whole = (await discovery(*start, cwd=tmp_path))["run"]
    assert told(storage, killed) == told(storage, whole)
    ran, shared = scored(storage, killed)
    assert (ran, shared) == scored(storage, whole)
    assert set(ran.values()) == {1}
    assert shared > len(ran)
    assert storage.counts(killed).duplicates == shared
    # Twins draw the same numbers; an audit takes each program once, by its exact source where that was read.
    audited = await discovery("audit", killed, "--top", "60", *OPTIONS, cwd=tmp_path)
    assert audited["agrees"]
    steps = [step for chain in range(CHAINS) for step in storage.committed_steps(killed, chain)]
    programs = {o.program_hash for step in steps for o in step.outcomes if o.score is not None}
    known = {storage.candidate(killed, INITIAL).form}
    assert len(audited["candidates"]) == len(programs - known) + 1
    assert len(programs) > len(ran)
    storage.close()

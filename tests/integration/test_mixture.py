"""Whole runs with several generators: over two stub servers, one of which goes away, and killed."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from discovery.cli import main
from discovery.config import ArmsConfig, Budget, GeneratorConfig, MemberConfig, RunConfig, SearchConfig
from discovery.generation.mutation import MODEL
from discovery.launch import started
from discovery.members import member_totals
from discovery.prices import load_prices
from discovery.records import RunStatus
from discovery.sandbox import make_backend
from discovery.storage import open_storage
from discovery.summary import summarize
from discovery.testing.server import FakeConfig, FakeServer

PRICES = '["big"]\nprompt = 1.0\ncompletion = 10.0\n["small"]\nprompt = 0.1\ncompletion = 1.0\n'
FREE = MemberConfig(name="free", kind="mutation")


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


@pytest.fixture
def prices(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return path


def fake(name, **config):
    return FakeServer(FakeConfig(models=(name,), slots=8, **config))


def steps_of(storage, run, chains=2):
    found, number = {}, 1
    while any(steps := {c: storage.step(run, c, number) for c in range(chains)}.values()):
        found |= {(c, number): step for c, step in enumerate(steps) if step is not None}
        number += 1
    return found


def check_who_spoke(storage, run):
    """Each completion is of the model that its step's plan names; returns the plans."""
    models = {"big": "big", "small": "small", "free": MODEL}
    plans = {place: stored.step.selection["generators"] for place, stored in steps_of(storage, run).items()}
    for place, stored in steps_of(storage, run).items():
        for index, completion in stored.completions.items():
            assert completion.model.model == models[plans[place][index]]
    return plans


async def test_one_of_two_servers_goes_away_and_comes_back(storage, prices):
    small = await fake("small", latency_s=0.02, tokens=60).start()
    async with fake("big", latency_s=0.02, tokens=300) as big:
        members = tuple(MemberConfig(name=s.config.models[0], base_url=(s.url,)) for s in (big, small))
        config = RunConfig(
            problem="constants-10",
            search=SearchConfig(chains=2, steps=10, candidates=4),
            generator=GeneratorConfig(kind="mixture", members=(*members, FREE), timeout_s=20),
            arms=ArmsConfig(choice="ucb"),
            budget=Budget(max_evaluations=70),
        )
        table = load_prices(prices)
        async with started(config, storage, make_backend("process"), prices=table) as run:
            running = asyncio.create_task(run.execute())
            while len(small.requests) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            port = int(small.url.rpartition(":")[2].partition("/")[0])
            await small.close()
            while run.progress.notice is None and not running.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert "member small: " in str(run.progress.notice)
            back = await fake("small", latency_s=0.02, tokens=60).start(port=port)
            summary = await running
            await back.close()
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 70)
    check_who_spoke(storage, summary.run)
    completions = [
        c for stored in steps_of(storage, summary.run).values() for c in stored.completions.values()
    ]
    assert len(completions) == 70, "nobody was asked twice for what had come"
    rates = {"big": (1.0, 10.0), "small": (0.1, 1.0), MODEL: (0.0, 0.0)}
    paid = sum(
        (
            (c.tokens.prompt or 0) * rates[c.model.model][0]
            + (c.tokens.completion or 0) * rates[c.model.model][1]
        )
        for c in completions
        if c.tokens is not None
    )
    assert not any(c.tokens and c.tokens.cached for c in completions)
    assert summary.cost == pytest.approx(paid / 1e6)
    record = storage.get_run(summary.run)
    totals = {one.name: one for one in member_totals(storage, record)}
    assert sum(one.completions for one in totals.values()) == 70
    assert {name: one.model for name, one in totals.items()} == {
        "big": "big",
        "small": "small",
        "free": MODEL,
    }
    assert max(one.best_score or 0.0 for one in totals.values()) == summary.best_score
    assert totals["small"].completions > totals["big"].completions > 0, (
        "a fifth of the tokens, the same skill"
    )
    assert totals["small"].improved > 0
    assert totals["free"].tokens is None


async def spoken(*arguments, cwd, kill_after=None):
    """Run the command line in a process of its own, killed once so many completions are stored."""
    code = "import sys; from discovery.cli import main; sys.exit(main())"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        *arguments,
        cwd=cwd,
        env={**os.environ, "DISCOVERY_PICTURES": "off"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    if kill_after is not None:
        database = Path(cwd) / "runs.db"
        while process.returncode is None and completions_in(database) < kill_after:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    said, errors = await process.communicate()
    assert kill_after is not None or process.returncode == 0, errors.decode()
    return None if kill_after is not None else json.loads(said.decode().splitlines()[-1])


def completions_in(database):
    if not database.exists():
        return 0
    storage = open_storage(str(database))
    try:
        return sum(storage.counts(run.id).completions for run in storage.list_runs())
    finally:
        storage.close()


@pytest.mark.timeout(200)
async def test_killed_and_resumed_it_asks_whom_an_undisturbed_run_asks(tmp_path):
    async with fake("big", latency_s=0.05, tokens=300) as big, fake("small", tokens=60) as small:
        options = ["--storage", "runs.db", "--scheduler", "local", "--json"]
        mix = [f"--mix=big={big.url}", f"--mix=small={small.url}", "--mix=free=mutation", "--mix-by=ucb"]
        shape = [
            "--chains",
            "2",
            "--steps",
            "7",
            "--candidates",
            "3",
            "--overlap",
            "1",
            "--sandbox",
            "process",
        ]
        start = ["run", "constants-10", *mix, *shape, *options]
        await spoken(*start, cwd=tmp_path, kill_after=14)
        storage = open_storage(str(tmp_path / "runs.db"))
        (killed,) = [run.id for run in storage.list_runs()]
        before = {place: stored.step.selection for place, stored in steps_of(storage, killed).items()}
        assert 0 < storage.counts(killed).completions < 42
        await spoken("resume", killed, *options, cwd=tmp_path)
        other = (await spoken(*start, cwd=tmp_path))["run"]
    after = {place: stored.step.selection for place, stored in steps_of(storage, killed).items()}
    assert {place: after[place] for place in before} == before
    assert summarize(storage, killed).evaluations == 42
    check_who_spoke(storage, killed)
    undisturbed = {place: stored.step.selection for place, stored in steps_of(storage, other).items()}
    assert after == undisturbed
    for chain in range(2):
        one, two = (list(storage.committed_steps(run, chain, spending=True)) for run in (killed, other))
        assert one == two
    storage.close()


MIXED = ["--mix", "big=http://127.0.0.1:9/v1", "--mix", "free=mutation"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--mix", "big"], "--mix 'big': expected NAME=URL or NAME=mutation"),
        (["--mix", "big=127.0.0.1:9"], "expected NAME=URL"),
        (["--mix", "big=http://a/v1,colour=red"], "'colour=red' is not known"),
        (["--mix", "big=http://a/v1,weight=heavy"], "weight is 'heavy'; it must be a number above 0"),
        (["--mix", "mutation"], "two members at least; mutation is alone"),
        ([*MIXED, "--model", "m"], "--model m names the one generator of a run, and --mix names several"),
        ([*MIXED, "--base-url", "http://a/v1"], "--base-url http://a/v1 names the one generator"),
        ([*MIXED, "--serve", "m"], "--serve m names the one generator"),
        (
            ["--mix-by", "ucb"],
            "--mix-by ucb shares completions among several generators, and this run has one",
        ),
        (["--mix", "big=http://u:p@a/v1", "--mix", "mutation"], "holds credentials"),
    ],
)
def test_what_cannot_be_mixed_is_refused_in_one_line(tmp_path, monkeypatch, capsys, options, told):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "constants-10", "--sandbox", "process", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_a_file_says_the_same_and_more(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    (tmp_path / "mix.toml").write_text(
        '[generator]\nkind = "mixture"\n[[generator.members]]\nname = "one"\nkind = "mutation"\nweight = 3\n'
        '[[generator.members]]\nname = "two"\nkind = "mutation"\n[arms]\nchoice = "ucb"\nexplore = 0.5\n'
    )
    options = [
        "--chains",
        "1",
        "--steps",
        "3",
        "--candidates",
        "4",
        "--sandbox",
        "process",
        "--scheduler",
        "local",
    ]
    monkeypatch.setenv("DISCOVERY_PICTURES", "off")
    assert main(["run", "constants-10", "--config", "mix.toml", *options, "--json"]) == 0
    run = json.loads(capsys.readouterr().out.splitlines()[-1])["run"]
    assert main(["show", run, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["generators"]
    assert [one["name"] for one in told] == ["one", "two"]
    assert sum(one["completions"] for one in told) == 12
    assert main(["show", run]) == 0
    said = capsys.readouterr().out
    assert "by ucb" in said
    assert "completions" in said
    assert main(["resume", run, "--mix", "one=http://a/v1"]) == 2
    assert "a stored run takes another server for one of its models" in capsys.readouterr().err

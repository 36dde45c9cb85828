"""What a loop needs of the world, each for itself: runs in storage, a server's life, a training's process."""

import asyncio
import json
import os
import signal
import time
import tomllib
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.budget import Prices
from discovery.config import GeneratorConfig, RunConfig, SamplingConfig, SearchConfig, from_dict, load_toml
from discovery.errors import ServerFailed, UsageError
from discovery.generation.server import Care
from discovery.generation.vllm import find_build
from discovery.loop.folder import LoopFolder
from discovery.loop.learning import ProcessTrainer, as_toml
from discovery.loop.plan import make_plan
from discovery.loop.ports import Job, Place, Training
from discovery.loop.running import StoredRuns
from discovery.loop.serving import OwnServer
from discovery.prices import Entry, PriceTable
from discovery.records import RunStatus
from discovery.storage import open_storage
from discovery.testing.fakes import InProcessBackend
from discovery.testing.server import FakeConfig, FakeServer
from discovery.testing.vllm import Behaviour, write_adapter, write_checkpoint
from discovery.training.config import LoraConfig, TrainConfig

PLUGIN = """
from discovery import problem

@problem(name="{name}", statement="Return a number.", initial="def solve():\\n    return 0\\n")
def score(program):
    return float(program.call("solve"))
"""


@pytest.fixture
def plan(tmp_path, own_place):
    for name in ("near", "far"):
        (tmp_path / f"{name}.py").write_text(PLUGIN.format(name=name))
    return make_plan(
        write_checkpoint(tmp_path / "tiny"),
        (str(tmp_path / "near.py"),),
        (str(tmp_path / "far.py"),),
        RunConfig(
            problem="",
            search=SearchConfig(chains=2, steps=3, candidates=2),
            generator=GeneratorConfig(sampling=SamplingConfig(max_tokens=200)),
        ),
    )


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


async def until(condition):
    """Wait until something holds."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


# Runs


def say_seven(messages, seed):
    from discovery.testing.server import Reply

    return Reply(text="```python\ndef solve():\n    return 7\n```")


@asynccontextmanager
async def place_of(weights):
    async with FakeServer(FakeConfig(models=("tiny",)), answer=say_seven) as server:
        server.adapters["r"] = str(weights)
        yield Place(url=server.url, model="r", revision=str(weights))


def job_of(plan, seed=0, revision=0):
    return Job(id=plan.run_id(revision, "near", seed), problem=plan.problems[0], seed=seed, revision=revision)


async def test_a_run_has_the_id_that_was_settled_and_says_whose_it_is(plan, storage):
    runs, job = StoredRuns(plan, storage, InProcessBackend()), job_of(plan, seed=1, revision=3)
    async with place_of("/weights/3") as place:
        assert not runs.is_finished(job)
        await runs.run(job, place, "a run")
        assert runs.is_finished(job)
        await runs.run(job, place, "a run")  # nothing is left to do
    (record,) = storage.list_runs()
    assert record.id == job.id
    assert record.facts["loop"] == {"id": plan.id, "revision": 3, "seed": 1}
    assert record.config["seed"] == 1
    measured = runs.measured(job)
    assert (measured.chain_bests, measured.evaluations, measured.planned) == ((7.0, 7.0), 12, 12)
    assert measured.spoke == {"/weights/3": 12}
    assert measured.prompt_tokens > measured.completion_tokens > 0


async def test_what_an_adapter_writes_costs_what_its_model_does(plan, storage):
    table = PriceTable(
        entries=(Entry(pattern="tiny", prices=Prices(prompt=0.0, completion=1.0, currency="EUR")),)
    )
    runs, job = StoredRuns(plan, storage, InProcessBackend(), prices=table), job_of(plan)
    async with place_of("/weights/0") as place:
        assert place.model != plan.name
        await runs.run(job, place, "a run")
    measured = runs.measured(job)
    assert measured.currency == "EUR"
    assert measured.cost == pytest.approx(measured.completion_tokens / 1e6)


async def test_a_run_that_was_broken_off_goes_on_at_another_address(plan, storage):
    """The server of the next process listens elsewhere; nothing finished is made again."""
    job = job_of(plan)
    stopped = asyncio.Event()

    @asynccontextmanager
    async def watch(run, title):
        async def look():
            await until(lambda: run.progress.evaluations >= 5)
            stopped.set()

        looking = asyncio.create_task(look())
        yield
        looking.cancel()

    slow = FakeConfig(models=("tiny",), latency_s=0.05, sigma=0.1)
    async with FakeServer(slow, answer=say_seven) as server:
        runs = StoredRuns(plan, storage, InProcessBackend(), watch=watch)
        place = Place(url=server.url, model="tiny", revision=None)
        running = asyncio.create_task(runs.run(job, place, "first"))
        await stopped.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert storage.get_run(job.id).status is RunStatus.STOPPED
    before = storage.counts(job.id).evaluations
    assert 5 <= before < 12
    runs = StoredRuns(plan, storage, InProcessBackend())
    assert not runs.is_finished(job)
    async with place_of("/weights/0") as place:
        await runs.run(job, place, "second")
    (record,) = storage.list_runs()
    assert (record.status, storage.counts(job.id).evaluations) == (RunStatus.FINISHED, 12)
    assert sum(runs.measured(job).spoke.values()) == 12


async def test_a_run_whose_id_only_begins_alike_is_another(plan, storage):
    runs = StoredRuns(plan, storage, InProcessBackend())
    async with place_of("/weights/0") as place:
        await runs.run(job_of(plan, seed=10), place, "the eleventh")
        assert runs.is_finished(job_of(plan, seed=10))
        assert not runs.is_finished(job_of(plan, seed=1))
        await runs.run(job_of(plan, seed=1), place, "the second")
    assert len(storage.list_runs()) == 2


# Servers


def build():
    return find_build()


async def test_weights_are_served_under_one_name_and_nothing_is_left(plan, tmp_path):
    said = []
    server = OwnServer(build(), plan, tmp_path / "server", say=said.append)
    other = write_checkpoint(tmp_path / "revisions" / "1", fill=1)
    seen = []
    for weights in (Path(plan.model), other):
        async with server.serving(weights) as place:
            seen.append((place.model, place.revision))
            assert await asyncio.to_thread(_answers, place.url)
        assert not await asyncio.to_thread(_answers, place.url)
    assert seen == [("tiny", plan.model), ("tiny", str(other))]
    assert any(line.startswith("starting a server") for line in said)


def _answers(url):
    from discovery.generation.probe import Probe

    return Probe(url).healthy()


async def test_an_adapter_is_served_beside_the_base_from_a_copy_that_is_the_same_each_time(plan, tmp_path):
    adapter = write_adapter(tmp_path / "revisions" / "1" / "weights", Path(plan.model), rank=5)
    server = OwnServer(build(), plan, tmp_path / "server")
    seen = []
    for _ in range(2):
        async with server.serving(adapter) as place:
            seen.append((place.model, place.revision))
    assert seen[0] == seen[1]
    assert seen[0][1] not in (None, plan.model)
    assert Path(seen[0][1]).name == seen[0][0]


async def test_weights_that_do_not_load_end_the_measurement_and_leave_nothing(plan, tmp_path):
    bad = write_checkpoint(tmp_path / "bad", fake=Behaviour.EXITS)
    with pytest.raises(ServerFailed, match="the weights cannot be loaded"):
        async with OwnServer(build(), plan, tmp_path / "server").serving(bad):
            pytest.fail("nothing serves")


async def test_a_server_that_is_given_up_breaks_off_whoever_waits_for_it(plan, tmp_path):
    from discovery.generation.probe import Probe

    server = OwnServer(build(), plan, tmp_path / "server", care=Care(restarts=0))

    async def measure():
        async with server.serving(Path(plan.model)) as place:
            with suppress(ServerFailed):
                await asyncio.to_thread(Probe(place.url)._ask, "POST", "/die", {}, 5.0)
            await asyncio.sleep(60)

    with pytest.raises(ServerFailed, match="died"):
        await measure()


async def test_a_measurement_that_is_interrupted_while_its_server_starts_leaves_none(plan, tmp_path):
    slow = write_checkpoint(tmp_path / "slow", fake=Behaviour.HANGS)
    said = []
    server = OwnServer(build(), plan, tmp_path / "server", say=said.append)

    async def measure():
        async with server.serving(slow):
            pytest.fail("nothing serves")

    task = asyncio.create_task(measure())
    await until(lambda: any("preparing" in line for line in said))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [process for process in _processes() if str(slow) in process]


def _processes():
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield (folder / "cmdline").read_text()


# Trainings

PROGRAM = """
import json, pathlib, sys, time
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
(out / "arguments.json").write_text(json.dumps(sys.argv[1:]))
print("step 1 of 2", file=sys.stderr, flush=True)
{body}
print(json.dumps({{"weights": str(out / "weights"), "lineage": {{"base": "b", "exports": [{{"id": "abc"}}]}}}}))
"""


SLOW_TO_END = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), os._exit(1)))
time.sleep(60)
"""


@pytest.fixture
def training(tmp_path):
    return Training(
        round=1,
        exports=(tmp_path / "export",),
        base=tmp_path / "tiny",
        out=tmp_path / "revisions" / "1",
        config=TrainConfig(epochs=3, lora=LoraConfig(rank=4)),
        notes=tmp_path / "rounds" / "1",
    )


def trainer(body="", say=lambda line: None):
    import sys

    return ProcessTrainer(program=(sys.executable, "-c", PROGRAM.format(body=body)), say=say)


async def test_a_training_is_a_process_that_is_told_all_and_says_where_the_weights_are(training):
    said = []
    trained = await trainer(say=said.append).train(training)
    assert trained.weights == str(training.out / "weights")
    assert (trained.exports, trained.lineage["base"], trained.base) == (("abc",), "b", str(training.base))
    assert said == ["step 1 of 2"]
    arguments = json.loads((training.out / "arguments.json").read_text())
    settings = arguments.pop(arguments.index("--config") + 1)
    assert from_dict(TrainConfig, load_toml(training.notes / "training.toml")) == training.config
    assert settings == str(training.notes / "training.toml")
    assert arguments == [
        str(training.exports[0]),
        *("--model", str(training.base), "--out", str(training.out), "--config", "--json"),
    ]
    assert (training.notes / "training.log").read_text() == "step 1 of 2\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.exit('error: no room')", r"exit code 1: error: no room; its log: .*training\.log"),
        ("import os; os.kill(os.getpid(), 9)", "exit code 137: step 1 of 2"),
        ("print('nothing'); sys.exit(0)", "did not say where the weights are"),
        ("print('[1]'); sys.exit(0)", "did not say where the weights are"),
    ],
)
async def test_a_training_that_fails_says_what_it_said_last(training, body, said):
    with pytest.raises(UsageError, match=said):
        await trainer(body).train(training)


async def test_a_training_that_is_interrupted_is_over_before_anybody_goes_on(training):
    said = []
    task = asyncio.create_task(trainer("time.sleep(60)", said.append).train(training))
    await until(lambda: said)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [process for process in _processes() if str(training.out) in process]


def test_the_folder_stays_locked_while_a_training_outlives_who_started_it(training, tmp_path):
    """The guard ends it soon after; until then a second process must not train in the same folder."""
    folder = LoopFolder(tmp_path)
    pid = os.fork()
    if pid == 0:
        import sys

        code = f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path

from discovery.loop.folder import LoopFolder
from discovery.loop.learning import ProcessTrainer
from discovery.loop.ports import Training
from discovery.training.config import TrainConfig

program = {PROGRAM.format(body=SLOW_TO_END)!r}
with LoopFolder(Path({str(tmp_path)!r})).locked() as lock:
    training = Training(round=1, exports=(), base=Path("b"), out=Path({str(training.out)!r}), config=TrainConfig(),
                        notes=Path({str(training.notes)!r}), lock=lock)
    asyncio.run(ProcessTrainer(program=(sys.executable, "-c", program)).train(training))
"""
        os.execv(sys.executable, [sys.executable, "-c", code])
    while not (training.notes / "training.log").exists():
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with pytest.raises(UsageError, match="another process works in"), folder.locked(patience_s=0.0):
        pass
    with folder.locked(patience_s=20.0):
        assert not [process for process in _processes() if str(training.out) in process]


configs = st.builds(
    TrainConfig,
    epochs=st.floats(0.01, 100),
    max_steps=st.none() | st.integers(1, 10**9),
    learning_rate=st.floats(1e-9, 10),
    lora=st.builds(
        LoraConfig,
        rank=st.integers(0, 1024),
        alpha=st.none() | st.integers(1, 99),
        targets=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5)).map(
            tuple
        ),
    ),
    seed=st.integers(0, 2**31),
)


@given(configs)
def test_every_configuration_of_a_training_passes_through_toml(config):
    assert from_dict(TrainConfig, tomllib.loads(as_toml(config))) == config

"""A loop of fakes that keep what they did on disk, as the real ones do, and can be killed between any two acts."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from discovery.config import RunConfig, SearchConfig
from discovery.loop.folder import LoopFolder
from discovery.loop.plan import RoundsConfig, make_plan
from discovery.loop.ports import Place
from discovery.loop.rounds import ClosedLoop, Parts
from discovery.loop.stages import Exported, MeasuredRun, Trained
from discovery.testing.vllm import write_checkpoint

PLUGIN = """
from discovery import problem

@problem(name="{name}", statement="Return a number.", initial="def solve():\\n    return 0\\n", direction="{direction}")
def score(program):
    return float(program.call("solve"))
"""
CHAINS = 2


class Killed(BaseException):
    """Stands for `kill -9`: nothing may catch it."""


class World:
    """What would outlive a killed process: storage, weights, and a count of every act.

    Args:
        place: Its folder.
        gains: For each revision, what its weights add to every score.
    """

    def __init__(self, place, gains=(0.0, 1.0, 2.0)):
        self.place = place
        self.gains = gains
        self.acts = []
        self.kill_at = None
        self.serving = None
        self.exported = []
        self.trained = []
        self.rows = 6

    def act(self, what):
        """Do something that is on disk from now on, unless the process is killed right before."""
        if self.kill_at is not None and len(self.acts) >= self.kill_at:
            self.kill_at = None
            raise Killed(what)
        self.acts.append(what)

    def read(self, name):
        path = self.place / name
        return json.loads(path.read_text()) if path.exists() else 0

    def write(self, name, value):
        self.act(f"{name} {value}")
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))


class FakeServed:
    def __init__(self, world):
        self.world = world

    @asynccontextmanager
    async def serving(self, weights):
        assert self.world.serving is None
        self.world.act(f"serve {weights.name}")
        self.world.serving = weights
        try:
            yield Place(url="http://fake/v1", model="tiny", revision=str(weights))
        finally:
            self.world.serving = None


class FakeRuns:
    """A run of three steps, each on disk when it is done."""

    STEPS = 3

    def __init__(self, world, direction="maximize"):
        self.world = world
        self.direction = direction
        self.spoken = None

    def is_finished(self, job):
        return self.world.read(f"runs/{job.id}") == self.STEPS

    async def run(self, job, place, title):
        assert self.world.serving is not None
        self.world.place.joinpath("spoke").mkdir(exist_ok=True)
        (self.world.place / "spoke" / job.id).write_text(self.spoken or place.revision or "")
        for step in range(self.world.read(f"runs/{job.id}"), self.STEPS):
            self.world.write(f"runs/{job.id}", step + 1)

    def measured(self, job):
        gain = self.world.gains[job.revision] * (-1 if self.direction == "minimize" else 1)
        spoke = (self.world.place / "spoke" / job.id).read_text()
        return MeasuredRun(
            run=job.id,
            problem=job.problem,
            seed=job.seed,
            direction=self.direction,
            chain_bests=tuple(10 * job.seed + chain + gain for chain in range(CHAINS)),
            initial_score=0.0,
            planned=8,
            evaluations=8,
            wall_s=1.0,
            prompt_tokens=100,
            completion_tokens=10,
            spoke={spoke: 8},
        )


class FakeExporter:
    def __init__(self, world):
        self.world = world

    async def export(self, choice):
        assert self.world.serving is None
        assert not choice.folder.exists()
        choice.folder.mkdir(parents=True)
        (choice.folder / "train.jsonl").write_text("half")
        self.world.act(f"export half {choice.round}")
        (choice.folder / "train.jsonl").write_text("whole")
        self.world.act(f"export {choice.round}")
        self.world.exported.append(choice)
        return Exported(
            round=choice.round,
            id=f"export-{choice.round}",
            folder=str(choice.folder),
            runs=tuple(run for runs in choice.revisions for run in runs),
            rows={"train": self.world.rows, "validation": 1},
            trajectories=2,
            left_out={"below the best 10 %": 7},
            refuted=("a chain of lies: it scored 3, not 9",),
            seconds=0.5,
        )


class FakeTrainer:
    """A training of three steps with a checkpoint after each."""

    def __init__(self, world):
        self.world = world

    async def train(self, training):
        assert self.world.serving is None
        assert (training.exports[0] / "train.jsonl").read_text() == "whole"
        name = f"checkpoints/{training.round}"
        for step in range(self.world.read(name), 3):
            self.world.write(name, step + 1)
        write_checkpoint(training.out, fill=training.round)
        self.world.act(f"weights {training.round}")
        self.world.trained.append(training)
        return Trained(
            round=training.round,
            weights=str(training.out),
            base=str(training.base),
            exports=(f"export-{training.round}",),
            lineage={"base": training.base.name},
            seconds=2.0,
        )


class ActingFolder(LoopFolder):
    """Counts the storing of a stage's record as an act."""

    def __init__(self, path, world):
        super().__init__(path)
        self.world = world

    def done(self, stage):
        self.world.act(f"record {type(stage).__name__}")
        super().done(stage)
        self.world.act(f"recorded {type(stage).__name__}")


class Looping:
    """A loop that can be begun, killed, and gone on with."""

    def __init__(self, tmp_path, world, plan):
        self.tmp_path = tmp_path
        self.world = world
        self.plan = plan
        self.said = []
        self.folder = ActingFolder(tmp_path / "loop", world)
        if not self.folder.has_plan:
            self.folder.create(plan)
        self.runs = FakeRuns(world)

    def loop(self):
        parts = Parts(
            served=FakeServed(self.world),
            runs=self.runs,
            exporter=FakeExporter(self.world),
            trainer=FakeTrainer(self.world),
        )
        return ClosedLoop(self.folder, self.folder.plan(), parts, say=self.said.append, clock=lambda: 0.0)

    async def go(self, **options):
        await self.loop().execute(**options)


@pytest.fixture
def model(tmp_path):
    return write_checkpoint(tmp_path / "tiny")


@pytest.fixture
def write_problem(tmp_path):
    def write(name, direction="maximize", more=""):
        path = tmp_path / f"{name}.py"
        path.write_text(PLUGIN.format(name=name, direction=direction) + more)
        return str(path)

    return write


@pytest.fixture
def make_loop(tmp_path, model, write_problem):
    """Give a function that makes a loop: rounds and further fields of the plan, what revisions are worth."""

    def make(name="loop", gains=(0.0, 1.0, 2.0), rounds=2, seeds=2, seen=("seen", "seen-too"), **settings):
        place = tmp_path / name
        place.mkdir()
        plan = make_plan(
            model,
            tuple(map(write_problem, seen)),
            (write_problem("unseen"),),
            RunConfig(problem="seen", search=SearchConfig(chains=CHAINS, steps=2, candidates=2)),
            rounds=RoundsConfig(rounds=rounds, seeds=seeds, **settings.pop("shape", {})),
            **settings,
        )
        return Looping(place, World(place, gains), replace(plan, id="loopfixed"))

    return make


@pytest.fixture
def folder_of():
    return lambda path: LoopFolder(Path(path))

"""A run's pulse in whole runs with fakes: what is stored of it, and that it tells who waits for whom."""

import asyncio
import dataclasses

import pytest

from discovery import pulse
from discovery.bottleneck import Bottleneck, bottleneck
from discovery.budget import Prices
from discovery.config import RunConfig, SearchConfig, SlotsConfig
from discovery.evaluator import Evaluator
from discovery.generation.base import ServerLoad
from discovery.plugins import load_problem
from discovery.records import TokenUsage
from discovery.run import Run, new_run, resumed
from discovery.selection import make_selector
from discovery.storage import open_storage
from discovery.testing.fakes import InProcessBackend, ScriptedGenerator

PLUGIN = """
import time
from discovery import problem

@problem(name="slow", statement="Return a number.", initial="def solve():\\n    return 0\\n", deterministic=False)
def score(program):
    time.sleep({seconds})
    return float(program.call("solve"))
"""


class Model(ScriptedGenerator):
    """A server that counts what it serves and says how it is."""

    served = 0

    def __init__(self, latency_s):
        super().__init__(lambda key, request: "def solve():\n    return 1\n", latency_s=latency_s)

    async def sample(self, request):
        async for completion in super().sample(request):
            self.served += 1
            yield dataclasses.replace(completion, tokens=TokenUsage(prompt=30, completion=10))

    async def loads(self):
        tokens = float(10 * self.served)
        return (
            ServerLoad(
                server="http://a",
                kv_usage=0.25,
                completion_tokens=tokens,
                cache_queries=4 * tokens,
                cache_hits=3 * tokens,
            ),
        )


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setattr(pulse, "READ_EVERY_S", 0.01)
    monkeypatch.setattr(pulse, "STORE_EVERY_S", 0.2)
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


def made(tmp_path, storage, config, *, evaluation_s=0.0, latency_s=lambda _: 0.0, record=None):
    path = tmp_path / "slow.py"
    path.write_text(PLUGIN.format(seconds=evaluation_s))
    problem = load_problem(str(path))
    evaluator = Evaluator(problem, InProcessBackend(), slots=config.slots.evaluation)
    return evaluator, Run(
        resumed(record, config, problem) if record else new_run(problem, config),
        config,
        problem,
        storage,
        generator=Model(latency_s),
        selector=make_selector("rpucg", problem.direction, {}),
        evaluator=evaluator,
        is_new=record is None,
    )


async def executed(*arguments, **options):
    evaluator, run = made(*arguments, **options)
    await evaluator.start()
    try:
        await run.execute()
    finally:
        await evaluator.close()
    return run


def shape(chains, steps, candidates, *, generation=None, evaluation=2, **options):
    return RunConfig(
        problem="slow",
        search=SearchConfig(chains=chains, steps=steps, candidates=candidates),
        slots=SlotsConfig(generation=generation, evaluation=evaluation),
        **options,
    )


@pytest.mark.parametrize(
    ("config", "slow", "kind"),
    [
        (shape(6, 5, 2, generation=2), {"latency_s": lambda _: 0.15}, Bottleneck.GENERATOR),
        (shape(4, 6, 4, evaluation=1), {"evaluation_s": 0.02}, Bottleneck.EVALUATION),
        (
            shape(2, 6, 4, evaluation=4),
            # Long beside what a step takes of a processor that many share.
            {"latency_s": lambda key: 0.3 if key.index == 3 else 0.0},
            Bottleneck.CHAINS,
        ),
    ],
)
async def test_a_run_is_told_what_it_waits_for(tmp_path, storage, config, slow, kind):
    run = await executed(tmp_path, storage, config, **slow)
    values = pulse.overall(storage.measurements(run.record.id))
    assert bottleneck(values).kind is kind, values


async def test_a_run_keeps_its_series_over_a_resume(tmp_path, storage):
    config = shape(2, 5, 2, prices=Prices(prompt=1e6, completion=2e6))
    slow = {"latency_s": lambda _: 0.05}
    run = await executed(tmp_path, storage, config, **slow)
    series = storage.measurements(run.record.id)
    assert len(series) >= 2
    assert [point.at for point in series] == sorted(point.at for point in series)
    whole = pulse.overall(series)
    assert set(whole) <= set(pulse.Quantity)
    assert whole["evaluations"] == 20
    assert whole["evaluations_per_s"] * whole["window_s"] == pytest.approx(20)
    assert whole["completions_per_s"] * whole["window_s"] == pytest.approx(20)
    assert whole["prompt_tokens_per_s"] * whole["window_s"] == pytest.approx(600)
    assert whole["completion_tokens_per_s"] * whole["window_s"] == pytest.approx(200)
    assert whole["server_completion_tokens_per_s"] * whole["window_s"] == pytest.approx(200, rel=0.2)
    assert (whole["cache_hit_rate"], whole["kv_usage"]) == (pytest.approx(0.75), 0.25)
    assert whole["cost"] == pytest.approx(600 + 2 * 200)
    assert run.progress.window["evaluations"] == 20
    deeper = dataclasses.replace(config, search=dataclasses.replace(config.search, steps=7))
    await executed(tmp_path, storage, deeper, record=storage.get_run(run.record.id), **slow)
    again = storage.measurements(run.record.id)
    assert again[: len(series)] == series
    whole = pulse.overall(again)
    assert whole["evaluations"] == 28
    assert whole["evaluations_per_s"] * whole["window_s"] == pytest.approx(28), (
        "those of before are not counted twice"
    )


async def test_an_interrupted_run_keeps_its_series(tmp_path, storage):
    evaluator, run = made(tmp_path, storage, shape(2, 500, 2), latency_s=lambda _: 0.05)
    await evaluator.start()
    task = asyncio.create_task(run.execute())
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await evaluator.close()
    done = storage.counts(run.record.id).evaluations
    assert storage.measurements(run.record.id)[-1].values["evaluations"] == pytest.approx(done, abs=4)

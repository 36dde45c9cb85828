"""A forecast from a pilot that is given."""

from dataclasses import replace

import numpy as np
import pytest

from discovery.bottleneck import Bottleneck
from discovery.budget import Budget, Prices
from discovery.config import AdaptConfig, RunConfig, SearchConfig, SlotsConfig
from discovery.forecast.draws import Draws
from discovery.forecast.forecast import forecast
from discovery.forecast.pilot import Judged, Overheads, Pilot, PromptTokens, ServersSeen, Spoken
from discovery.forecast.shape import Machine

MACHINE = Machine(cpus=8, evaluation_slots=8)


def pilot(seed=0, *, evaluation_s=0.5, **more):
    rng = np.random.default_rng(seed)
    return Pilot(
        runs=("a",),
        spoken=tuple(Spoken(work_s=float(w), tokens=200) for w in rng.lognormal(1.0, 0.4, size=64)),
        judged=(Judged(slot_s=evaluation_s),),
        prompts=PromptTokens(by_parents={1: 100.0, 3: 200.0}, cached_share=0.5),
        **more,
    )


def config(chains=4, steps=10, candidates=4, *, places=16, evaluators=8, **more):
    return RunConfig(
        problem="none",
        search=SearchConfig(chains=chains, steps=steps, candidates=candidates, overlap=0),
        slots=SlotsConfig(generation=places, evaluation=evaluators),
        **more,
    )


def test_one_seed_gives_one_forecast_within_its_interval():
    told = forecast(pilot(), config(), MACHINE, seed=3)
    assert told == forecast(pilot(), config(), MACHINE, seed=3)
    assert told != forecast(pilot(), config(), MACHINE, seed=4)
    assert told.wall_s.low < told.wall_s.value < told.wall_s.high
    assert told.evaluations == 160
    assert told.wall_s.value > 10 * 0.5


def test_tokens_and_money():
    prices = Prices(prompt=1.0, completion=10.0, cached=0.0, hour=3600.0)
    took = Overheads(start_s=5.0)
    told = forecast(pilot(overheads=took), config(), MACHINE, prices=prices)
    # Each chain: 100 tokens in its first prompt, 200 in nine.
    assert told.tokens.prompt is not None
    assert told.tokens.prompt.value == pytest.approx(4 * (100 + 9 * 200))
    assert told.tokens.completion is not None
    assert told.tokens.completion.value == pytest.approx(160 * 200)
    assert told.cost is not None
    expected = (7600 / 2 * 1.0 + 32_000 * 10.0) / 1e6 + told.wall_s.value
    assert told.cost.value == pytest.approx(expected)
    assert forecast(pilot(), config(), MACHINE).cost is None


def test_the_bottleneck_is_named_and_the_remedy_helps():
    told = forecast(pilot(evaluation_s=2.0), config(chains=16, steps=4, places=64, evaluators=4), MACHINE)
    assert told.finding is not None
    assert told.finding.kind is Bottleneck.EVALUATION
    best = told.what_ifs[0]
    assert best.change == "--evaluation-slots 8"
    assert best.wall_s < 0.7 * told.wall_s.value
    waits = forecast(pilot(), config(chains=16, steps=4, places=8), MACHINE)
    assert waits.finding is not None
    assert waits.finding.kind is Bottleneck.GENERATOR
    assert waits.what_ifs[0].change == "--generation-slots 16"
    lonely = forecast(pilot(), config(chains=1, places=16), MACHINE)
    assert lonely.finding is not None
    assert lonely.finding.kind is Bottleneck.CHAINS
    assert {w.change for w in lonely.what_ifs[:2]} == {"--overlap 1", "--chains 2 --steps 5"}


def test_servers_that_are_full_are_the_bottleneck():
    told = forecast(
        pilot(servers=ServersSeen(slots=8, most=8)), config(chains=16, steps=4, places=None), MACHINE
    )
    assert told.what_ifs[0].change == "servers for 16 completions at once"
    assert any("run 8 completions at once" in line for line in told.assumed)
    said = forecast(pilot(), config(chains=16, steps=4, places=None), replace(MACHINE, server_slots=4))
    assert any("run 4 completions at once" in line for line in said.assumed)


@pytest.mark.parametrize("adapt", [AdaptConfig(rungs=1), AdaptConfig(patience=3)])
def test_what_moves_the_budget_is_not_foretold_and_that_is_said(adapt):
    told = forecast(pilot(), replace(config(), adapt=adapt), MACHINE)
    assert [line for line in told.assumed if line.startswith("no chain is pruned")]
    assert not [line for line in forecast(pilot(), config(), MACHINE).assumed if line.startswith("no chain")]


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        (Budget(max_seconds=20.0), "--max-seconds 20"),
        (Budget(max_tokens=10_000), "--max-tokens-total 10000"),
    ],
)
def test_a_cap_ends_it_before_its_evaluations_are_made(budget, named):
    told = forecast(pilot(), config(budget=budget), MACHINE)
    assert told.evaluations < 160
    assert any(line.startswith(named) for line in told.assumed)
    assert told.wall_s.value < forecast(pilot(), config(), MACHINE).wall_s.value


def test_draws_keep_mean_and_spread_of_the_pilot():
    drawn = pilot()
    works = np.array([each.work_s for each in drawn.spoken])
    draws = Draws(drawn, 20_000, np.random.default_rng(0))
    made = np.array([draws.work_s() for _ in range(20_000)])
    assert made.mean() == pytest.approx(works.mean(), rel=0.02)
    assert np.log(made).std() == pytest.approx(np.log(works).std(), rel=0.03)
    assert len(set(made.round(6))) > 1000


def test_two_kinds_of_completions_stay_two():
    kinds = Pilot(
        spoken=tuple(Spoken(work_s=1.0 if i % 10 else 6.0) for i in range(50)), judged=(Judged(slot_s=None),)
    )
    draws = Draws(kinds, 1000, np.random.default_rng(0))
    assert {draws.work_s() for _ in range(1000)} == {1.0, 6.0}
    assert draws.tokens is None


def test_a_small_pilot_knows_less():
    few = pilot()
    few, many = replace(few, spoken=few.spoken[:12]), replace(few, spoken=few.spoken * 4)
    widths = [
        (told.wall_s.high - told.wall_s.low) / told.wall_s.value
        for told in (forecast(drawn, config(chains=16, places=16), MACHINE) for drawn in (few, many))
    ]
    assert widths[0] > 1.5 * widths[1]

"""A forecast from a pilot that is given."""

from dataclasses import replace

import numpy as np
import pytest

from discovery.bottleneck import Bottleneck
from discovery.budget import Budget, Prices
from discovery.config import (
    AdaptConfig,
    AdviserConfig,
    ArmsConfig,
    GeneratorConfig,
    MemberConfig,
    RunConfig,
    SearchConfig,
    SlotsConfig,
)
from discovery.forecast.draws import Draws
from discovery.forecast.forecast import forecast
from discovery.forecast.pilot import (
    AdviceSeen,
    Judged,
    MemberSeen,
    Overheads,
    Pilot,
    PromptTokens,
    ServersSeen,
    Spoken,
)
from discovery.forecast.shape import Machine
from discovery.records import AdvicePurpose

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


def test_what_moves_the_budget_is_not_foretold_and_that_is_said():
    told = forecast(pilot(), replace(config(), adapt=AdaptConfig(patience=3)), MACHINE)
    assert [line for line in told.assumed if line.startswith("no chain begins anew")]


def test_rungs_make_a_run_longer_and_spend_as_much():
    plain, pruned = (
        forecast(pilot(), replace(config(8, 12, 2, places=16), adapt=AdaptConfig(rungs=rungs)), MACHINE)
        for rungs in (0, 2)
    )
    # After two rungs two of eight chains are left, and each takes steps one after the other.
    assert pruned.wall_s.value > 1.5 * plain.wall_s.value
    assert pruned.evaluations == plain.evaluations
    assert pruned.values["generator_busy"] < plain.values["generator_busy"]
    assert [line for line in pruned.assumed if "pruned at a rung" in line]


def mixed(choice="weights", **prices):
    members = (
        MemberConfig(name="big", base_url=("http://a/v1",), weight=1.0, prices=prices.get("big")),
        MemberConfig(name="small", base_url=("http://b/v1",), weight=3.0, prices=prices.get("small")),
    )
    generator = GeneratorConfig(kind="mixture", members=members)
    return replace(config(), generator=generator, arms=ArmsConfig(choice=choice))


def mixed_pilot():
    return Pilot(
        spoken=(Spoken(work_s=8.0, tokens=1000, maker="big"), Spoken(work_s=1.0, tokens=100, maker="small")),
        judged=(Judged(slot_s=0.1),),
        prompts=PromptTokens(by_parents={1: 300.0}),
        members={
            "big": MemberSeen(prompts=PromptTokens(by_parents={1: 400.0})),
            "small": MemberSeen(prompts=PromptTokens(by_parents={1: 200.0}, cached_share=0.5)),
        },
    )


def test_a_mixture_is_priced_by_its_members_shares():
    big, small = Prices(prompt=10.0, completion=100.0), Prices(prompt=1.0, completion=2.0, cached=0.0)
    told = forecast(mixed_pilot(), mixed(big=big, small=small), MACHINE)
    # Of 160 completions 40 are the big one's; of each step's four it makes one, so each is asked once a step.
    assert told.tokens.completion is not None
    assert told.tokens.completion.value == pytest.approx(40 * 1000 + 120 * 100)
    assert told.tokens.prompt is not None
    assert told.tokens.prompt.value == pytest.approx(40 * (400 + 200))
    expected = (40 * 400 * 10 + 40_000 * 100 + 40 * 200 / 2 * 1 + 12_000 * 2) / 1e6
    assert told.cost is not None
    assert told.cost.value == pytest.approx(expected)
    assert [line for line in told.assumed if line == "completions come from big 25 %, small 75 %"]
    # Each step waits for the big one.
    assert told.wall_s.value == pytest.approx(10 * (8.0 + 0.1), rel=0.01)


def test_of_a_bandit_equal_shares_are_assumed_and_that_is_said():
    told = forecast(mixed_pilot(), mixed("ucb"), MACHINE)
    assert told.tokens.completion is not None
    assert told.tokens.completion.value == pytest.approx(80 * 1000 + 80 * 100)
    assert [line for line in told.assumed if "50 %" in line and "ucb" in line]
    assert told.cost is None


def advised(purpose, **more):
    seen = AdviceSeen(per_step=1.0, spoken=(Spoken(work_s=2.0, tokens=50),), prompt=500.0)
    return Pilot(
        spoken=(Spoken(work_s=1.0, tokens=100),),
        judged=(Judged(slot_s=None),),
        prompts=PromptTokens(by_parents={1: 100.0}),
        advice={purpose: seen},
        **more,
    )


def test_what_an_adviser_is_asked_takes_time_tokens_and_money():
    asks = config(1, 10, 2)
    prices = Prices(prompt=1.0, completion=10.0)
    told = forecast(advised(AdvicePurpose.RERANK), asks, MACHINE, prices=prices)
    assert told.wall_s.value == pytest.approx(10 * (1.0 + 2.0))  # each step asks before it is planned
    assert told.tokens.advice is not None
    assert told.tokens.advice.value == pytest.approx(10 * 550)
    assert told.cost is not None
    assert told.cost.value == pytest.approx((10 * 100 + 10 * 500 + (20 * 100 + 10 * 50) * 10) / 1e6)
    capped = replace(asks, budget=Budget(max_tokens=4000))
    assert forecast(advised(AdvicePurpose.RERANK), capped, MACHINE).evaluations < 20


def test_reflections_are_waited_for_by_their_lag_alone():
    reflects = replace(config(1, 10, 2), adviser=AdviserConfig(reflect=True))
    told = forecast(advised(AdvicePurpose.REFLECT), reflects, MACHINE)
    # Step s waits for the one on s - 2: of two steps and a wait of a second each pair takes three; and for the last.
    assert told.wall_s.value == pytest.approx(10 + 4 + 2, abs=1.01)
    quiet = forecast(advised(AdvicePurpose.REFLECT), config(1, 10, 2), MACHINE)
    assert quiet.wall_s.value == pytest.approx(10.0)
    assert quiet.tokens.advice is None


def test_questions_wait_for_the_advisers_slots():
    many = replace(config(8, 5, 1), adviser=AdviserConfig(slots=2))
    told = forecast(advised(AdvicePurpose.RERANK), many, MACHINE)
    assert told.wall_s.value == pytest.approx(8 * 5 * 2.0 / 2 + 1.0, rel=0.05)
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
    assert draws.tokens_of == {None: None}


def test_a_small_pilot_knows_less():
    few = pilot()
    few, many = replace(few, spoken=few.spoken[:12]), replace(few, spoken=few.spoken * 4)
    widths = [
        (told.wall_s.high - told.wall_s.low) / told.wall_s.value
        for told in (forecast(drawn, config(chains=16, places=16), MACHINE) for drawn in (few, many))
    ]
    assert widths[0] > 1.5 * widths[1]

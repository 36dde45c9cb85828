"""Which runs a comparison has: equal budgets, names that tell what differs, ids that stay."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.comparison.folder import plan_as_dict, plan_of_dict
from discovery.comparison.plan import (
    Asked,
    Axis,
    is_same,
    planned,
    seeds_of,
)
from discovery.config import RunConfig, SlotsConfig
from discovery.errors import ConfigError, UsageError
from discovery.plugins import load_problem

PROBLEM = load_problem("constants-10")
BASE = RunConfig(problem="constants-10")
SEEDS = (0, 1)


def grid(chains=(1, 2), candidates=(1, 2), **rest):
    axes = (Axis(path="search.chains", values=chains), Axis(path="search.candidates", values=candidates))
    return planned(Asked(base=BASE, axes=axes, **rest), PROBLEM, SEEDS)


def test_the_depth_follows_so_that_all_settings_spend_the_budget():
    plan = grid(chains=(1, 4, 16), candidates=(1, 4), budgets=(100,))
    assert [s.name for s in plan.settings][:3] == ["C=1 K=1", "C=1 K=4", "C=4 K=1"]
    for setting in plan.settings:
        search = setting.config.search
        assert setting.budget == setting.config.budget.max_evaluations == 100
        assert search.chains * search.candidates * search.steps >= 100
        assert search.chains * search.candidates * (search.steps - 1) < 100
    assert len(plan.runs) == len({run.id for run in plan.runs}) == 12
    assert [run.seed for run in plan.runs] == [0] * 6 + [1] * 6  # a part of it has whole seeds


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3000))
def test_what_cannot_be_spent_is_refused_and_all_else_is_spent(chains, candidates, budget):
    axes = (Axis(path="search.selector", values=("rpucg", "balance")),)
    base = replace(BASE, search=replace(BASE.search, chains=chains, candidates=candidates))
    asked = Asked(base=base, axes=axes, budgets=(budget,))
    if chains * candidates > budget:
        with pytest.raises(UsageError, match=rf"takes {chains * candidates:,}; give --max-evaluations"):
            planned(asked, PROBLEM, SEEDS)
    else:
        assert {s.budget for s in planned(asked, PROBLEM, SEEDS).settings} == {budget}


def test_with_depths_given_settings_of_equal_size_are_compared():
    axes = tuple(Axis(path=f"search.{name}", values=(1, 2, 4)) for name in ("chains", "steps", "candidates"))
    plan = planned(Asked(base=BASE, axes=axes, baseline="best-of-n"), PROBLEM, SEEDS)
    own = [s for s in plan.settings if not s.is_baseline]
    assert len(own) == 27
    assert own[5].name == "C=1 L=2 K=4"
    assert {n: len(of) - 1 for n, of in plan.budgets.items()} == {1: 1, 2: 3, 4: 6, 8: 7, 16: 6, 32: 3, 64: 1}
    for n, of in plan.budgets.items():
        assert [s.name for s in of if s.is_baseline] == [f"best-of-n N={n}"]


@pytest.mark.parametrize(
    ("steps", "budget", "says"),
    [((2, 100), 400, "let L follow"), ((200, 100), 400, "would be cut off"), ((5,), 2, "takes 16")],
)
def test_depths_that_do_not_fit_the_budget_are_refused(steps, budget, says):
    axes = (
        Axis(path="search.steps", values=steps),
        Axis(path="search.selector", values=("rpucg", "balance")),
    )
    with pytest.raises(UsageError, match=says):
        planned(Asked(base=BASE, axes=axes, budgets=(budget,)), PROBLEM, SEEDS)


def test_several_budgets_have_a_baseline_each():
    axes = (Axis(path="search.selector", values=("rpucg", "best-of-n")),)
    plan = planned(Asked(base=BASE, axes=axes, budgets=(50, 100), baseline="best-of-n"), PROBLEM, SEEDS)
    assert [(s.name, s.is_baseline) for s in plan.settings] == [
        ("rpucg N=50", False),
        ("rpucg N=100", False),
        ("best-of-n N=50", True),
        ("best-of-n N=100", True),
    ]


def test_named_settings_are_taken_at_each_point_of_the_axes():
    named = {"deep": {"search": {"chains": 1}}, "wide": {"search": {"chains": 8}}}
    axes = (Axis(path="search.parents", values=(1, 3)),)
    asked = Asked(base=BASE, axes=axes, named=named, budgets=(64,), baseline="deep")
    plan = planned(asked, PROBLEM, SEEDS)
    assert [s.name for s in plan.settings] == [
        "deep parents=1",
        "deep parents=3",
        "wide parents=1",
        "wide parents=3",
    ]
    assert [s.config.search.chains for s in plan.settings] == [1, 1, 8, 8]
    assert [s.is_baseline for s in plan.settings] == [True, False, False, False]


def test_more_seeds_another_baseline_and_slots_go_on_with_the_same_runs():
    plan = grid(budgets=(64,))
    more = planned(
        Asked(
            base=replace(BASE, slots=SlotsConfig(evaluation=1)),
            axes=(
                Axis(path="search.chains", values=(1, 2)),
                Axis(path="search.candidates", values=(1, 2)),
            ),
            budgets=(64,),
            baseline="best-of-n",
        ),
        PROBLEM,
        (0, 1, 2),
    )
    assert more.id == plan.id
    assert {run.id for run in plan.runs} < {run.id for run in more.runs}
    assert len(more.runs) == 15
    assert grid(budgets=(65,)).id != plan.id
    assert planned(Asked(base=BASE, baseline="best-of-n"), replace_version("x"), SEEDS).id != (
        planned(Asked(base=BASE, baseline="best-of-n"), PROBLEM, SEEDS).id
    )


def replace_version(version):
    class Changed:
        name = PROBLEM.name

    Changed.version = version
    return Changed


def test_a_plan_comes_back_from_its_file():
    plan = grid(budgets=(64,), baseline="best-of-n")
    back = plan_of_dict(json.loads(json.dumps(plan_as_dict(plan))), "plan.json")
    assert back == plan
    assert [run.id for run in back.runs] == [run.id for run in plan.runs]
    with pytest.raises(ConfigError, match=r"plan\.json is not the plan"):
        plan_of_dict({"id": "x"}, "plan.json")


def test_seeds_slots_and_what_is_as_by_default_make_no_other_setting():
    assert is_same(BASE, replace(BASE, seed=7, slots=SlotsConfig(evaluation=3), problem="x"))
    assert not is_same(BASE, replace(BASE, search=replace(BASE.search, parents=2)))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Asked(base=BASE), "one setting and nothing to compare it with"),
        (Asked(base=BASE, axes=(Axis(path="search.nothing", values=(1, 2)),)), "search.nothing"),
        (Asked(base=BASE, axes=(Axis(path="no.nothing", values=(1, 2)),)), "no table 'no'"),
        (
            Asked(base=BASE, axes=(Axis(path="search.parents", values=(1, 99)),)),
            "setting 'parents=99'.*parents is 99",
        ),
        (Asked(base=BASE, named={"a": {}, "b": {}}), "'a' and 'b' are the same"),
        (
            Asked(base=BASE, axes=(Axis(path="search.steps", values=(5, 6)),), budgets=(100, 200)),
            "both steps and several budgets",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(asked, says):
    with pytest.raises(UsageError, match=says):
        planned(asked, PROBLEM, SEEDS)


def test_a_value_twice_and_too_many_seeds_are_refused():
    with pytest.raises(ConfigError, match="a value twice: 1,1"):
        Axis(path="search.parents", values=(1, 1))
    with pytest.raises(ConfigError, match="seeds is 0"):
        seeds_of(0, 0)
    assert seeds_of(3, 5) == (5, 6, 7)

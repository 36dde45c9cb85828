"""Configurations: what is stored is read back, and every mistake is named with its place."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.budget import Budget, Prices
from discovery.config import (
    EFFORTS,
    KEEP,
    GeneratorConfig,
    ReasoningConfig,
    RunConfig,
    SamplingConfig,
    SandboxConfig,
    SearchConfig,
    SlotsConfig,
    from_dict,
    load_toml,
    to_dict,
)
from discovery.errors import ConfigError

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
tables = st.dictionaries(names, plain, max_size=3)
maybe = st.none()
positive = st.floats(0.001, 1e9)
prices = st.just(Prices()) | st.builds(
    Prices, prompt=st.floats(0.01, 100), completion=st.floats(0, 100), hour=st.none() | st.floats(0, 9)
)
run_configs = st.builds(
    RunConfig,
    problem=names,
    seed=st.integers(0, 2**63 - 1),
    search=st.builds(
        SearchConfig,
        chains=st.integers(1, 10_000),
        steps=st.integers(1, 1_000_000),
        candidates=st.integers(1, 1024),
        parents=st.integers(1, 32),
        selector=names,
        selector_params=tables,
    ),
    generator=st.builds(
        GeneratorConfig,
        kind=names,
        base_url=st.lists(names, max_size=3).map(tuple),
        model=maybe | names,
        sampling=st.builds(
            SamplingConfig,
            temperature=st.floats(0, 2),
            top_p=st.floats(1e-6, 1),
            max_tokens=st.integers(1, 10_000_000),
            extra=tables,
        ),
        reasoning=st.builds(
            ReasoningConfig, effort=maybe | st.sampled_from(EFFORTS), answer_tokens=st.integers(0, 10_000_000)
        ),
        keep=st.sampled_from(KEEP),
        timeout_s=st.floats(1, 86_400),
    ),
    slots=st.builds(
        SlotsConfig, generation=maybe | st.integers(1, 100_000), evaluation=maybe | st.integers(1, 100_000)
    ),
    sandbox=st.builds(SandboxConfig, backend=names),
    budget=st.builds(
        Budget,
        max_evaluations=maybe | st.integers(1),
        max_tokens=maybe | st.integers(1),
        max_cost=maybe | positive,
        max_seconds=maybe | positive,
        until=maybe | st.floats(allow_nan=False, allow_infinity=False),
    ),
    prices=prices,
)


@given(run_configs)
def test_a_stored_configuration_is_read_back(config):
    assert from_dict(RunConfig, json.loads(json.dumps(to_dict(config), allow_nan=False))) == config


def test_a_problem_is_all_that_must_be_given():
    assert from_dict(RunConfig, {"problem": "toy"}) == RunConfig(problem="toy")
    with pytest.raises(ConfigError, match=r"missing in the file: \['problem'\]"):
        from_dict(RunConfig, {"seed": 1})


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 100), st.none() | st.integers(1, 10**6))
def test_the_plan_is_the_shape_or_the_budget(chains, steps, candidates, cap):
    search = SearchConfig(chains=chains, steps=steps, candidates=candidates)
    config = RunConfig(problem="toy", search=search, budget=Budget(max_evaluations=cap))
    assert config.planned_evaluations == min(chains * steps * candidates, cap or 10**9)


def test_whole_numbers_do_where_fractions_are_meant():
    config = from_dict(
        RunConfig, {"problem": "toy", "generator": {"sampling": {"temperature": 1}}, "budget": {"until": 3}}
    )
    assert type(config.generator.sampling.temperature) is float
    assert type(config.budget.until) is float


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sead": 1}, "unknown setting 'sead'; known here: .*budget, generator, .*, seed, slots"),
        ({"search": {"chain": 1}}, "unknown setting 'search.chain'; known here: .*chains"),
        ({"search": 5}, "search is 5; expected a table"),
        ({"search": None}, "search is None; expected a table"),
        ({"search": {"chains": "4"}}, "search.chains is '4'; expected int"),
        ({"search": {"chains": True}}, "search.chains is True; expected int"),
        ({"search": {"chains": 4.0}}, "search.chains is 4.0; expected int"),
        ({"search": {"chains": None}}, "search.chains is None; expected int"),
        ({"search": {"selector": 1}}, "search.selector is 1; expected str"),
        ({"search": {"selector_params": [1]}}, r"search.selector_params is \[1\]; expected a table"),
        ({"search": {"selector_params": {"c": math.nan}}}, "search.selector_params is .*JSON"),
        ({"generator": {"sampling": {"extra": {"x": {1, 2}}}}}, "generator.sampling.extra is .*JSON"),
        (
            {"generator": {"sampling": {"temperature": True}}},
            "generator.sampling.temperature is True; expected float",
        ),
        ({"generator": {"model": 3}}, "generator.model is 3; expected str"),
        ({"slots": {"evaluation": True}}, "slots.evaluation is True; expected int"),
        ({"budget": {"max_cost": "much"}}, "budget.max_cost is 'much'; expected float"),
        ({"budget": {"max_evaluations": 1.5}}, "budget.max_evaluations is 1.5; expected int"),
        ({"seed": False}, "seed is False; expected int"),
        ({"problem": 7}, "problem is 7; expected str"),
    ],
)
def test_a_wrong_name_or_type_is_named_with_its_place(settings, says):
    with pytest.raises(ConfigError, match=says):
        from_dict(RunConfig, {"problem": "toy", **settings})


@pytest.mark.parametrize(
    ("part", "name", "value", "says"),
    [
        ("search", "chains", 0, "search: chains is 0; it must be from 1 to 10,000"),
        ("search", "steps", 1_000_001, "search: steps is 1000001"),
        ("search", "candidates", 1025, "search: candidates is 1025"),
        ("search", "parents", 33, "search: parents is 33"),
        ("generator.sampling", "temperature", 2.1, "generator.sampling: temperature is 2.1"),
        ("generator.sampling", "temperature", math.nan, "generator.sampling: temperature is nan"),
        ("generator.sampling", "top_p", 0, "generator.sampling: top_p is 0.0"),
        ("generator.sampling", "max_tokens", 0, "generator.sampling: max_tokens is 0"),
        ("generator", "keep", "all", "generator: keep is 'all'; it must be one of text, tokens, logprobs"),
        (
            "generator.reasoning",
            "effort",
            "huge",
            "generator.reasoning: effort is 'huge'; it must be one of none",
        ),
        ("generator.reasoning", "answer_tokens", -1, "generator.reasoning: answer_tokens is -1"),
        ("search", "overlap", 9, "search: overlap is 9"),
        ("generator", "timeout_s", 0.5, "generator: timeout_s is 0.5"),
        ("slots", "evaluation", 0, "slots: evaluation slots is 0"),
        ("slots", "generation", -1, "slots: generation slots is -1"),
        ("budget", "max_tokens", 0, "budget: max_tokens is 0"),
        ("budget", "max_cost", math.nan, "budget: max_cost is nan"),
        ("budget", "until", math.inf, "budget: until is inf"),
        ("prices", "prompt", -1, "prices: the prompt price is -1.0"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_place(part, name, value, says):
    settings: dict = {name: value}
    for table in reversed(part.split(".")):
        settings = {table: settings}
    with pytest.raises(ConfigError, match=says):
        from_dict(RunConfig, {"problem": "toy", **settings})


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_fits_into_storage(seed):
    with pytest.raises(ConfigError, match=f"^seed is {seed}"):
        from_dict(RunConfig, {"problem": "toy", "seed": seed})


def test_booleans_are_no_numbers_when_built_in_code_either():
    with pytest.raises(ConfigError, match="chains is True"):
        SearchConfig(chains=True)


def test_toml_is_read_as_utf8(tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes('problem = "größe"\n[search]\nchains = 2\n'.encode())
    assert from_dict(RunConfig, load_toml(path)).problem == "größe"


@pytest.mark.parametrize("content", [b"chains = ", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_what_is_not_toml_is_refused_with_the_file(tmp_path, content):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"configuration .*run\.toml: .*expected a readable TOML file"):
        load_toml(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match="expected a readable TOML file"):
            load_toml(path)


@pytest.mark.parametrize(
    ("asked", "slots", "chains", "overlap"),
    [(None, None, 4, 0), (None, 16, 4, 1), (None, 16, 8, 0), (0, 16, 4, 0), (2, None, 4, 2)],
)
def test_steps_overlap_where_slots_would_stand_idle(asked, slots, chains, overlap):
    search = SearchConfig(chains=chains, candidates=4, overlap=asked)
    assert RunConfig(problem="toy", search=search, slots=SlotsConfig(generation=slots)).overlap == overlap


def test_one_url_may_be_plain_text():
    one = from_dict(RunConfig, {"problem": "toy", "generator": {"base_url": "http://a/v1"}})
    assert one.generator.base_url == ("http://a/v1",)
    several = from_dict(
        RunConfig, {"problem": "toy", "generator": {"base_url": ["http://a/v1", "http://b/v1"]}}
    )
    assert several.generator.base_url == ("http://a/v1", "http://b/v1")

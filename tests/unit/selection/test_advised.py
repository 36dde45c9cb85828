"""Selectors that a model helps: what is made of what it says, and what is not."""

import time
from functools import partial

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from discovery.declared import Objective
from discovery.errors import ConfigError
from discovery.records import INITIAL, AdvicePurpose, CandidateKey, Direction
from discovery.selection import AdvisedSelector, described_selectors, make_selector
from discovery.selection.order import instruction, named
from discovery.testing.advised import ANSWERS, AdvisedSelectorContract, advised
from discovery.testing.selector import SelectorContract, committed_step

CASES = [
    ("llm-rerank", {}),
    ("llm-rerank", {"base": "puct", "shortlist": 3}),
    ("llm-rerank", {"base": "best-of-n"}),
    ("llm-rerank", {"base": "balance", "shortlist": 4, "elite": 1, "exploration": 0, "exploitation": 0}),
    ("llm-elite", {}),
    ("llm-elite", {"pool": 2}),
]


@pytest.fixture(params=CASES, ids=str)
def selector_factory(request):
    name, params = request.param
    return partial(make_selector, name, params=params)


class TestAdvisedSelectors(AdvisedSelectorContract):
    pass


class TestThemAsSelectors(SelectorContract):
    """Without a model they are selectors as any."""

    @pytest.fixture(params=["llm-rerank", "llm-elite"])
    def selector_factory(self, request):
        return partial(make_selector, request.param)


def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize(
    ("answer", "places"),
    [
        ("ANSWER: 3, 1", (2, 0)),
        ("thinking: 1 or 2?\n**Answer**: 2 > 3 > 1.", (1, 2, 0)),
        ("ANSWER: 1\nANSWER: 2", (1,)),
        ("[3,2]", (2, 1)),
        ("3", (2,)),
        ("`ANSWER: 2`", (1,)),
        ("ANSWER: program 2, then program 3", (1, 2)),
        ("ANSWER: 2, 2, 9, 0, 3", (1, 2)),
        ("Of the 3 programs, 2 is best", ()),
        ("ANSWER: 2.5", ()),
        ("ANSWER: -1", ()),
        ("ANSWER:", ()),
        ("", ()),
        (None, ()),
    ],
)
def test_answers_are_read(answer, places):
    assert named(answer, 3) == places


@given(st.text(st.characters(exclude_categories=())), st.integers(0, 40))
def test_whatever_is_said_names_only_what_was_shown(said, shown):
    for answer in (said, f"ANSWER: {said}"):
        places = named(answer, shown)
        assert len(set(places)) == len(places)
        assert all(0 <= place < shown for place in places)


def test_what_is_asked_for_is_read():
    assert named(instruction(2).rpartition("`")[0].rpartition("`")[2], 3) == (2, 0)


def climbed(selector, scores):
    """A chain of one candidate a step."""
    selector.observe(committed_step(0, 0, (), [0.0]))
    for step, score in enumerate(scores, start=1):
        selector.observe(committed_step(0, step, (INITIAL,), [score]))


def test_the_model_decides_who_comes_first_and_the_selector_fills_up():
    selector = make_selector("llm-rerank", Direction.MAXIMIZE, {"base": "greedy", "shortlist": 5})
    climbed(selector, [1.0, 5.0, 3.0, 4.0, 2.0])
    shortlist = selector.shortlist(0, 2, rng())
    assert shortlist.purpose is AdvicePurpose.RERANK
    own = selector.choose(0, 2, rng()).parents
    assert shortlist.candidates[: len(own)] == own
    last = shortlist.candidates[-1]
    assert last not in own
    chosen = selector.decide(0, 2, shortlist, f"ANSWER: {len(shortlist.candidates)}", rng())
    assert chosen.parents[0] == last
    assert chosen.values["named"] == [str(last)]
    assert selector.decide(0, 2, shortlist, "no idea", rng()).parents == own


def test_a_model_keeps_a_bad_elite_and_never_loses_the_best():
    selector = make_selector("llm-elite", Direction.MAXIMIZE, {"pool": 3})
    climbed(selector, [5.0, 1.0])
    assert selector.shortlist(0, 1, rng()) is None
    selector.observe(committed_step(0, 3, (INITIAL,), [4.0]))
    shortlist = selector.shortlist(0, 1, rng())
    key = {n: CandidateKey(0, n, 0) for n in (1, 2, 3)}
    assert shortlist.candidates == (key[1], key[3], key[2], INITIAL)
    # It wants the two worst; the best stays all the same.
    selector.heed(0, "ANSWER: 4, 3")
    assert set(selector.choose(0, 9, rng()).parents) == {key[1], key[2], INITIAL}
    assert selector.shortlist(0, 1, rng()) is None
    selector.observe(committed_step(0, 4, (INITIAL,), [-1.0]))
    assert selector.shortlist(0, 1, rng()) is None, "worse than the worst: not worth a question"


def test_what_nobody_is_asked_about_stays_in_bounds():
    selector = make_selector("llm-elite", Direction.MAXIMIZE, {"pool": 4})
    climbed(selector, [float(n) for n in range(500)])
    assert len(selector.shortlist(0, 1, rng()).candidates) <= 8
    assert CandidateKey(0, 500, 0) in selector.choose(0, 4, rng()).parents


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("llm-rerank", {"base": "llm-elite"}, "asks a model itself"),
        ("llm-rerank", {"base": "nonsense"}, "no selector 'nonsense'"),
        ("llm-rerank", {"shortlist": 1}, "from 2 to 32"),
        ("llm-rerank", {"shortlist": 2.5}, "expected a whole number"),
        ("llm-rerank", {"gama": 1}, "no parameter 'gama'"),
        ("llm-elite", {"pool": 99}, "from 2 to 32"),
    ],
)
def test_parameters_are_checked(name, params, says):
    with pytest.raises(ConfigError, match=says):
        make_selector(name, Direction.MAXIMIZE, params)


def test_only_these_ask_a_model():
    asking = {
        each.name
        for each in described_selectors()
        if isinstance(
            make_selector(each.name, Direction.MAXIMIZE, objectives=[Objective("size")]), AdvisedSelector
        )
    }
    assert asking == {"llm-elite", "llm-rerank"}


def test_its_parameters_are_those_of_both():
    selector = make_selector("llm-rerank", Direction.MAXIMIZE, {"base": "rpucg", "gamma": 0.5})
    assert selector.params["gamma"] == 0.5
    assert (selector.params["base"], selector.params["shortlist"]) == ("rpucg", 8)
    told = {each.name: each for each in described_selectors()}["llm-rerank"]
    assert told.params == {"base": "rpucg", "shortlist": 8}


def test_answers_change_what_is_chosen():
    """Else nothing here tests anything."""
    for name in ("llm-rerank", "llm-elite"):
        chosen = [
            [
                selection.parents
                for _, _, selection, _ in advised(make_selector(name, Direction.MAXIMIZE), answers, seed=3)
            ]
            for answers in (ANSWERS["none"], ANSWERS["reversed"])
        ]
        assert chosen[0] != chosen[1], name


def test_an_answer_of_blank_lines_alone_is_read_in_no_time():
    begun = time.process_time()
    assert named("\n" * 20_000, 9) == ()
    assert named("\n" * 19_000 + "**ANSWER:** 2", 9) == (1,)
    assert time.process_time() - begun < 0.5

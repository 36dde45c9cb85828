import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.generation.failures import (
    MESSAGE_LENGTH,
    PATTERNS_KEPT,
    FailureStatistics,
    one_line,
    pattern_of,
)
from discovery.records import INITIAL, CandidateKey, CommittedStep, FailureKind, Outcome

OUTCOMES = st.lists(
    st.tuples(st.none() | st.sampled_from(FailureKind), st.none() | st.text(max_size=400)), max_size=6
)


def step_of(number, outcomes):
    return CommittedStep(
        chain=0,
        step=number,
        parents=(INITIAL,),
        outcomes=tuple(
            Outcome(
                key=CandidateKey(0, number, index),
                program_hash=None,
                score=1.0 if kind is None else None,
                failure=kind,
                message=message if kind else None,
            )
            for index, (kind, message) in enumerate(outcomes)
        ),
        committed=None,
    )


@given(st.lists(OUTCOMES, max_size=12))
def test_counts_every_kind_and_stays_bounded(steps):
    statistics = FailureStatistics()
    for number, outcomes in enumerate(steps, start=1):
        statistics.observe(step_of(number, outcomes))
    kinds = [kind for outcomes in steps for kind, _ in outcomes]
    assert statistics.candidates == len(kinds)
    assert statistics.counts == {k: kinds.count(k) for k in FailureKind if k in kinds}
    assert statistics.failures == sum(kind is not None for kind in kinds)
    for row in statistics.ranked():
        names = [pattern_of(pattern.message) for pattern in row.patterns]
        assert len(set(names)) == len(names) <= PATTERNS_KEPT
        assert all(0 < len(p.message) <= MESSAGE_LENGTH and "\n" not in p.message for p in row.patterns)
        assert sum(pattern.count for pattern in row.patterns) <= row.count
        assert row.shown(2) == row.patterns[:2] or row.shown(2)[-1] == row.latest
    counts = [row.count for row in statistics.ranked()]
    assert counts == sorted(counts, reverse=True)


@given(st.lists(OUTCOMES, max_size=8))
def test_replay_equals_live(steps):
    committed = [step_of(number, outcomes) for number, outcomes in enumerate(steps, start=1)]
    live = FailureStatistics()
    for step in committed:
        live.observe(step)
    assert FailureStatistics(committed) == live


def test_timeouts_and_crashes_count():
    statistics = FailureStatistics(
        [step_of(1, [(FailureKind.TIMEOUT, "ran past 5 s"), (FailureKind.CRASHED, "killed"), (None, None)])]
    )
    assert statistics.counts == {FailureKind.TIMEOUT: 1, FailureKind.CRASHED: 1}


def failing(messages, kind=FailureKind.INVALID):
    steps = (step_of(number, [(kind, message)]) for number, message in enumerate(messages, start=1))
    (row,) = FailureStatistics(steps).ranked()
    return row


def test_the_most_frequent_patterns_come_first_and_the_latest_is_always_shown():
    row = failing(["a", "b", "a", "c", "e", "c", "d"])
    assert [(p.message, p.count) for p in row.patterns] == [("c", 2), ("a", 2), ("d", 1), ("e", 1), ("b", 1)]
    assert [p.message for p in row.shown(2)] == ["c", "d"]
    assert [p.message for p in row.shown(4)] == ["c", "a", "d", "e"]
    assert row.shown(0) == ()
    assert row.count == 7


@pytest.mark.parametrize(
    "messages",
    [
        ["circles 3 and 7 overlap", "circles 12 and 0 overlap"],
        ["sum is 1.5e-3, not 1", "sum is -7., not 1", "sum is nan, not 1"],
        ["NameError: name 'foo' is not defined", "NameError: name 'bar_2' is not defined"],
        ['KeyError: "a b"', "KeyError: `c`"],
        ["<object at 0x7f3a> failed", "<object at 0xDEAD01> failed"],
        ["candidate 0.3.1 differs", "candidate 11.40.2 differs"],
        ["File /tmp/a/b.py, line 4", "File /usr/lib/x-1/c.py, line 99"],
        ["got [1, 2, 3]", "got [4]"],
        ["hash deadbeef12 is wrong", "hash 0123456789ab is wrong"],
    ],
)
def test_messages_that_differ_in_numbers_names_and_addresses_are_one_pattern(messages):
    row = failing(messages)
    assert [(p.message, p.count) for p in row.patterns] == [(messages[-1], len(messages))]


def test_other_words_are_another_pattern():
    assert pattern_of("circles 3 and 7 overlap") != pattern_of("circles 3 and 7 touch")
    assert pattern_of("it isn't valid, that's all") == "it isn't valid, that's all"


def test_rare_patterns_are_forgotten_first():
    rare = [f"{'x' * n}y" for n in range(PATTERNS_KEPT + 5)]
    row = failing(["often", *rare[:10], "often", *rare[10:]])
    assert len(row.patterns) == PATTERNS_KEPT
    assert row.patterns[0].message == "often"
    assert row.latest.message == rare[-1]
    assert rare[0] not in [pattern.message for pattern in row.patterns]


def test_the_initial_candidate_counts_for_nothing():
    assert FailureStatistics([step_of(0, [(None, None)])]).candidates == 0


def test_unequal_statistics():
    assert FailureStatistics() != FailureStatistics([step_of(1, [(None, None)])])


def test_one_line_cuts():
    assert one_line(" a \n\t b ", 10) == "a b"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"

from hypothesis import given
from hypothesis import strategies as st

from discovery.generation.failures import MESSAGE_LENGTH, MESSAGES_KEPT, FailureStatistics, one_line
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
                source_hash=None,
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
        assert len(set(row.messages)) == len(row.messages) <= MESSAGES_KEPT
        assert all(0 < len(m) <= MESSAGE_LENGTH and "\n" not in m for m in row.messages)
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


def test_the_latest_distinct_messages_come_first():
    messages = ["a", "b", "a", "c", "d", "c"]
    statistics = FailureStatistics(
        step_of(number, [(FailureKind.INVALID, message)]) for number, message in enumerate(messages, start=1)
    )
    (row,) = statistics.ranked()
    assert row.messages == ("c", "d", "a")
    assert row.count == 6


def test_the_initial_candidate_counts_for_nothing():
    assert FailureStatistics([step_of(0, [(None, None)])]).candidates == 0


def test_unequal_statistics():
    assert FailureStatistics() != FailureStatistics([step_of(1, [(None, None)])])


def test_one_line_cuts():
    assert one_line(" a \n\t b ", 10) == "a b"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"

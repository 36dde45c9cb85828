"""What a run may spend: allotment, and the ledger."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.budget import Budget, Ledger, Prices, Spent, allot
from discovery.errors import ConfigError

counts = st.integers(0, 10_000)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@given(st.integers(0, 10**6), st.integers(1, 500))
def test_an_allotment_is_even_and_spends_all(total, chains):
    shares = allot(total, chains)
    assert (len(shares), sum(shares)) == (chains, total)
    assert max(shares) - min(shares) <= 1
    assert list(shares) == sorted(shares, reverse=True)
    assert all(type(share) is int for share in shares)


@pytest.mark.parametrize("name", ["max_evaluations", "max_tokens", "max_cost", "max_seconds"])
@pytest.mark.parametrize("value", [0, -1, -0.5, math.nan, math.inf])
def test_a_cap_is_positive_and_finite(name, value):
    with pytest.raises(ConfigError, match=f"{name} is {value!r}"):
        Budget(**{name: value})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_target_is_finite(value):
    with pytest.raises(ConfigError, match="until is"):
        Budget(until=value)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_price_is_not_negative(value):
    with pytest.raises(ConfigError, match="completion price"):
        Prices(completion=value)


def test_prices_are_per_million():
    assert Prices(prompt=2.0, completion=8.0).cost(500_000, 250_000) == 3.0


@given(
    st.builds(Spent, evaluations=counts, prompt_tokens=counts, completion_tokens=counts),
    st.lists(st.tuples(counts, counts), max_size=20),
)
def test_the_ledger_adds_to_what_earlier_processes_spent(earlier, completions):
    clock = Clock()
    ledger = Ledger(Budget(), earlier, prices=Prices(prompt=1.0, completion=3.0), clock=clock)
    for prompt, completion in completions:
        ledger.add_tokens(prompt, completion)
        ledger.add_evaluation()
    clock.now += 2.5
    spent = ledger.spent
    assert spent.evaluations == earlier.evaluations + len(completions)
    assert spent.prompt_tokens == earlier.prompt_tokens + sum(prompt for prompt, _ in completions)
    assert spent.completion_tokens == earlier.completion_tokens + sum(count for _, count in completions)
    assert spent.seconds == earlier.seconds + 2.5
    assert ledger.cost == pytest.approx((spent.prompt_tokens + 3 * spent.completion_tokens) / 1e6)
    assert ledger.stop_reason(10**9) is None


@given(st.lists(st.integers(0, 300), max_size=30), st.integers(1, 2000))
def test_requests_in_flight_never_pass_the_token_cap(sizes, cap):
    ledger = Ledger(Budget(max_tokens=cap))
    flying = 0
    for size in sizes:
        if ledger.stop_reason(size) is None:
            ledger.reserve(size)
            flying += size
        else:
            assert flying + size > cap
    assert flying <= cap


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500)), max_size=40))
def test_a_settled_reservation_leaves_nothing_behind(moves):
    ledger, held, used = Ledger(Budget(max_tokens=10**6)), [], 0
    for begins, size in moves:
        if begins or not held:
            ledger.reserve(size)
            held.append(size)
        else:
            reserved = held.pop()
            ledger.settle(reserved)
            ledger.add_tokens(0, reserved // 2)
            used += reserved // 2
    left = 10**6 - used - sum(held)
    assert ledger.stop_reason(left) is None
    assert ledger.stop_reason(left + 1) == "token budget of 1000000 spent"


def test_a_request_is_expected_to_be_as_large_as_the_largest_completion():
    ledger = Ledger(Budget())
    assert ledger.expected_tokens(4, 1000) == 4000
    assert ledger.expected_tokens(4, None) == 0
    ledger.add_tokens(500, 0)
    assert ledger.expected_tokens(4, 1000) == 4000
    ledger.add_tokens(500, 30)
    ledger.add_tokens(500, 20)
    assert ledger.expected_tokens(4, 1000) == 120


def test_money_in_flight_counts_at_the_price_of_completions():
    ledger = Ledger(Budget(max_cost=1.0), prices=Prices(prompt=1.0, completion=10.0))
    assert ledger.stop_reason(99_999) is None
    assert ledger.stop_reason(100_000) == "money budget of 1 spent"
    ledger.reserve(60_000)
    assert ledger.stop_reason(39_999) is None
    assert ledger.stop_reason(40_000) == "money budget of 1 spent"
    ledger.settle(60_000)
    ledger.add_tokens(1_000_000, 0)
    assert ledger.stop_reason() == "money budget of 1 spent"


def test_free_tokens_never_spend_money():
    ledger = Ledger(Budget(max_cost=0.01))
    ledger.add_tokens(10**12, 10**12)
    assert ledger.cost == 0
    assert ledger.stop_reason(10**12) is None


def test_seconds_count_over_resumes():
    clock = Clock()
    ledger = Ledger(Budget(max_seconds=10), Spent(seconds=8.0), clock=clock)
    clock.now += 1.99
    assert ledger.stop_reason() is None
    clock.now += 0.01
    assert ledger.stop_reason() == "10 seconds spent"


def test_the_first_reason_that_holds_is_given():
    clock = Clock()
    spent = Spent(evaluations=5, prompt_tokens=6, completion_tokens=5, seconds=50.0)
    caps = {"max_cost": 1e-6, "max_tokens": 10, "max_seconds": 40.0, "max_evaluations": 5}
    expected = ["money budget", "token budget of 10", "40 seconds", "5 evaluations"]
    given_caps = {}
    for (name, cap), reason in zip(caps.items(), expected, strict=True):
        given_caps[name] = cap
        ledger = Ledger(Budget(**given_caps), spent, prices=Prices(prompt=1.0), clock=clock)
        assert ledger.stop_reason().startswith(reason)
    ledger.reach_target()
    assert ledger.stop_reason() == "target score reached"


def test_nothing_is_spent_before_the_last_evaluation():
    ledger = Ledger(Budget(max_evaluations=2))
    assert ledger.stop_reason() is None
    ledger.add_evaluation()
    assert ledger.stop_reason() is None
    ledger.add_evaluation()
    assert ledger.stop_reason() == "2 evaluations spent"


async def test_a_request_that_waits_for_others_to_settle_is_counted():
    ledger = Ledger(Budget(max_tokens=100))
    assert await ledger.admit(80) is None
    waiting = [asyncio.create_task(ledger.admit(30)) for _ in range(2)]
    await asyncio.sleep(0)
    assert ledger.waiting == 2
    waiting.pop().cancel()
    await asyncio.sleep(0)
    assert ledger.waiting == 1
    ledger.settle(80)
    assert await waiting[0] is None
    assert ledger.waiting == 0

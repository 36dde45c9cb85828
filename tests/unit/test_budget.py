"""What a run may spend: allotment, and the ledger."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.budget import NO_TOKENS, Budget, Ledger, Prices, Spent, Tokens, allot
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


def many(completion=0, prompt=0):
    return Tokens(prompt=prompt, completion=completion)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["prompt", "completion", "cached", "hour"])
def test_a_price_is_not_negative(name, value):
    with pytest.raises(ConfigError, match=f"{name} price"):
        Prices(**{"prompt": 1.0, "completion": 1.0, name: value})


@pytest.mark.parametrize("given", [{"prompt": 1.0}, {"completion": 1.0}, {"cached": 1.0}])
def test_half_of_the_prices_is_refused(given):
    with pytest.raises(ConfigError, match="give both"):
        Prices(**given)


def test_prices_are_per_million_and_per_hour():
    spent = Spent(prompt_tokens=500_000, completion_tokens=250_000, cached_tokens=100_000, seconds=1800.0)
    assert Prices(prompt=2.0, completion=8.0).cost(spent) == pytest.approx(3.0)
    assert Prices(prompt=2.0, completion=8.0, cached=0.5).cost(spent) == pytest.approx(2.85)
    assert Prices(hour=4.0).cost(spent) == pytest.approx(2.0)
    assert Prices(prompt=2.0, completion=8.0, hour=4.0).cost(spent) == pytest.approx(5.0)


def test_an_unknown_price_is_not_nought():
    spent = Spent(prompt_tokens=5, completion_tokens=5, seconds=5.0)
    assert Prices().cost(spent) is None
    assert Ledger(Budget(), spent).cost is None
    assert Prices(prompt=0.0, completion=0.0).cost(spent) == 0.0


@given(
    st.builds(Spent, evaluations=counts, prompt_tokens=counts, completion_tokens=counts),
    st.lists(st.tuples(counts, counts), max_size=20),
)
def test_the_ledger_adds_to_what_earlier_processes_spent(earlier, completions):
    clock = Clock()
    ledger = Ledger(Budget(), earlier, prices=Prices(prompt=1.0, completion=3.0, hour=3.6), clock=clock)
    for prompt, completion in completions:
        ledger.add_tokens(prompt, completion)
        ledger.add_evaluation()
    clock.now += 2.5
    spent = ledger.spent
    assert spent.evaluations == earlier.evaluations + len(completions)
    assert spent.prompt_tokens == earlier.prompt_tokens + sum(prompt for prompt, _ in completions)
    assert spent.completion_tokens == earlier.completion_tokens + sum(count for _, count in completions)
    assert spent.seconds == earlier.seconds + 2.5
    tokens = (spent.prompt_tokens + 3 * spent.completion_tokens) / 1e6
    assert ledger.cost == pytest.approx(tokens + spent.seconds / 1000)
    assert ledger.stop_reason(many(10**9)) is None


@given(st.lists(st.integers(0, 300), max_size=30), st.integers(1, 2000))
def test_requests_in_flight_never_pass_the_token_cap(sizes, cap):
    ledger = Ledger(Budget(max_tokens=cap))
    flying = 0
    for size in sizes:
        if ledger.stop_reason(many(size - size // 3, size // 3)) is None:
            ledger.reserve(many(size - size // 3, size // 3))
            flying += size
        else:
            assert flying + size > cap
    assert flying <= cap


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500)), max_size=40))
def test_a_settled_reservation_leaves_nothing_behind(moves):
    ledger, held, used = Ledger(Budget(max_tokens=10**6)), [], 0
    for begins, size in moves:
        if begins or not held:
            ledger.reserve(many(size))
            held.append(size)
        else:
            reserved = held.pop()
            ledger.settle(many(reserved))
            ledger.add_tokens(0, reserved // 2)
            used += reserved // 2
    left = 10**6 - used - sum(held)
    assert ledger.stop_reason(many(left)) is None
    assert ledger.stop_reason(many(left + 1)).startswith("token budget of 1000000 spent")


def test_a_request_is_expected_to_be_as_large_as_the_largest_completion():
    ledger = Ledger(Budget())
    assert ledger.expected_tokens(4, 1000) == many(4000)
    assert ledger.expected_tokens(4, None) == NO_TOKENS
    ledger.add_tokens(500, 0)
    assert ledger.expected_tokens(4, 1000) == many(4000)
    ledger.add_tokens(500, 30)
    ledger.add_tokens(500, 20)
    assert ledger.expected_tokens(4, 1000) == many(120)


def test_a_prompt_is_expected_to_be_as_large_as_the_last_one():
    ledger = Ledger(Budget())
    assert ledger.expected_tokens(2, 10, characters=3500) == many(20, prompt=1000)
    assert ledger.expected_tokens(2, 10, characters=3501).prompt == 1001
    ledger.add_tokens(700, 5)
    ledger.add_tokens(None, 5)  # a sibling: its prompt is counted with the first
    assert ledger.expected_tokens(2, 10, characters=3500) == many(10, prompt=700)
    ledger.add_tokens(650, 5)
    assert ledger.expected_tokens(2, 10, characters=10**6).prompt == 650
    ledger.add_tokens(9000, 5, is_forced=True)  # its own prompt and that of its second request
    assert ledger.expected_tokens(2, 10, characters=10**6).prompt == 650
    assert ledger.spent.prompt_tokens == 700 + 650 + 9000
    assert ledger.expected_tokens(2, 10).prompt == 0, "counted already"
    assert ledger.expected_tokens(0, 10, characters=3500) == NO_TOKENS


def test_prompts_count_against_the_cap():
    ledger = Ledger(Budget(max_tokens=1000))
    assert ledger.stop_reason(many(400, prompt=600)) is None
    assert ledger.stop_reason(many(400, prompt=601)).startswith("token budget of 1000 spent")


def test_a_budget_too_small_for_one_request_says_so():
    ledger = Ledger(Budget(max_tokens=1000))
    assert "the first request may take 1001 tokens; ask for less with --max-tokens" in ledger.stop_reason(
        many(1001)
    )
    ledger.add_tokens(1, 1)
    assert ledger.stop_reason(many(1001)) == "token budget of 1000 spent"


def test_money_in_flight_counts_at_the_price_of_each_kind():
    ledger = Ledger(Budget(max_cost=1.0), prices=Prices(prompt=1.0, completion=10.0, currency="EUR"))
    assert ledger.stop_reason(many(99_999)) is None
    assert ledger.stop_reason(many(100_000)).startswith("money budget of 1 EUR spent")
    ledger.reserve(many(50_000, prompt=100_000))
    assert ledger.stop_reason(many(39_999)) is None
    assert ledger.stop_reason(many(40_000)).startswith("money budget of 1 EUR spent")
    ledger.settle(many(50_000, prompt=100_000))
    ledger.add_tokens(1_000_000, 0)
    assert ledger.stop_reason() == "money budget of 1 EUR spent"


def test_cached_prompt_tokens_have_their_own_price():
    ledger = Ledger(Budget(max_cost=1.0), prices=Prices(prompt=1.0, completion=1.0, cached=0.1))
    ledger.add_tokens(1_000_000, 0, cached=900_000)
    assert ledger.cost == pytest.approx(0.19)
    assert ledger.stop_reason() is None


def test_hours_of_a_machine_spend_money():
    clock = Clock()
    ledger = Ledger(Budget(max_cost=2.0), Spent(seconds=1800.0), prices=Prices(hour=3.0), clock=clock)
    assert ledger.cost == pytest.approx(1.5)
    clock.now += 599
    assert ledger.stop_reason() is None
    clock.now += 1
    assert ledger.stop_reason() == "money budget of 2 USD spent"
    assert ledger.stop_reason(Tokens(completion=200)) == "money budget of 2 USD spent", "not by the request"


def test_free_tokens_never_spend_money():
    ledger = Ledger(Budget(max_cost=0.01), prices=Prices(prompt=0.0, completion=0.0))
    ledger.add_tokens(10**12, 10**12)
    assert ledger.cost == 0
    assert ledger.stop_reason(many(10**12)) is None


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
        ledger = Ledger(Budget(**given_caps), spent, prices=Prices(prompt=1.0, completion=0.0), clock=clock)
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
    assert await ledger.admit(many(80)) is None
    waiting = [asyncio.create_task(ledger.admit(many(30))) for _ in range(2)]
    await asyncio.sleep(0)
    assert ledger.waiting == 2
    waiting.pop().cancel()
    await asyncio.sleep(0)
    assert ledger.waiting == 1
    ledger.settle(many(80))
    assert await waiting[0] is None
    assert ledger.waiting == 0


def test_what_was_spoiled_counts_as_spent():
    spoiled = NO_TOKENS
    ledger = Ledger(Budget(max_tokens=100), Spent(prompt_tokens=20), spoiled=lambda: spoiled)
    ledger.add_tokens(10, 20)
    assert ledger.stop_reason(Tokens(completion=50)) is None
    spoiled = Tokens(prompt=5, completion=10)
    assert (ledger.spent.prompt_tokens, ledger.spent.completion_tokens) == (35, 30)
    assert ledger.stop_reason(Tokens(completion=50)) is not None


def test_a_tariff_prices_each_models_tokens_as_its_own_and_what_is_not_known_yet_as_the_dearest():
    cheap, dear = Prices(prompt=1.0, completion=2.0, cached=0.5), Prices(prompt=10.0, completion=40.0)
    spoiled = []
    ledger = Ledger(
        Budget(max_cost=100.0),
        Spent(prompt_tokens=5_000_000, completion_tokens=5_000_000, token_cost=7.0),
        prices=dear,
        tariff=lambda model: cheap if model == "cheap" else dear,
        spoiled=lambda: sum(spoiled, Tokens()),
    )
    assert ledger.cost == 7.0
    ledger.add_tokens(1_000_000, 500_000, 400_000, model="cheap")
    assert ledger.cost == pytest.approx(7.0 + 0.6 + 0.2 + 1.0)
    ledger.add_advice(100_000, 0, model="other")
    assert ledger.cost == pytest.approx(8.8 + 1.0)
    spoiled.append(Tokens(completion=1_000_000))
    assert ledger.cost == pytest.approx(9.8 + 40.0)
    assert ledger.stop_reason(Tokens(completion=1_250_000)) is None
    assert "money budget of 100" in ledger.stop_reason(Tokens(completion=1_260_000))


def test_a_prompt_that_goes_to_several_models_counts_for_each():
    ledger = Ledger(Budget())
    assert ledger.expected_tokens(4, 100, 350, 3) == Tokens(prompt=300, completion=400)
    assert ledger.expected_tokens(4, 100, 350, 0) == Tokens(completion=400)

"""The user's table of prices, and which of them apply to a run."""

import tomllib

import pytest

from discovery.budget import Budget, Prices
from discovery.config import GeneratorConfig, MemberConfig, RunConfig
from discovery.errors import ConfigError
from discovery.prices import FILE, TEMPLATE, PriceTable, Tariff, load_prices, priced, priced_members
from discovery.records import ModelIdentity, TokenUsage

TABLE = """
currency = "EUR"
date = 2026-11-20

["big-*"]
prompt = 2
completion = 8.0
cached = 0.5
source = "a page"

["big-one"]
prompt = 9.0
completion = 9.0

["own/[ab]?"]
hour = 3.5
currency = "CHF"
date = "last week"
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("DISCOVERY_PRICES", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def table(home):
    path = home / "prices.toml"
    path.write_text(TABLE)
    return load_prices(path)


def test_the_first_pattern_that_fits_is_taken(table):
    assert table.find("big-one").pattern == "big-*"
    assert table.find("big-one").prices == Prices(
        prompt=2.0, completion=8.0, cached=0.5, currency="EUR", source="a page", date="2026-11-20"
    )
    assert table.find("own/a1").prices == Prices(hour=3.5, currency="CHF", date="last week")
    assert table.find("own/c1") is None
    assert table.find("BIG-one") is None, "names of models have case"
    assert table.find(None) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("big = 3", r"big is 3; at the top stand currency, source, date"),
        ("[m]\nprompt = 1.0", "m: a prompt price is given without a completion price"),
        ("[m]\nprompt = -1.0\ncompletion = 1.0", "the prompt price is -1.0"),
        ("[m]\nprompt = '1'\ncompletion = 1.0", r"m\.prompt is '1'; expected float"),
        ("[m]\nprice = 1.0", r"unknown setting 'm\.price'"),
        ("[m]\nsource = 'x'", "m has no price; give prompt and completion, or hour"),
        ("currency = ''\n[m]\nhour = 1", "currency is ''"),
    ],
)
def test_a_faulty_entry_is_told(home, text, told):
    (home / "prices.toml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_prices(home / "prices.toml")


def test_the_template_holds_no_price_and_its_examples_can_be_read(home):
    path = FILE.begin()
    assert load_prices().entries == ()
    lines = TEMPLATE.splitlines()
    examples = lines[next(i for i, line in enumerate(lines) if line.startswith("# [")) :]
    path.write_text("\n".join(line.removeprefix("# ") for line in examples))
    assert tomllib.loads(path.read_text())
    assert load_prices().find("acme/imaginary-9b-it").prices.completion == 2.0
    assert load_prices().find("anything").prices.hour == 100.0


def run(prices=None, max_cost=None):
    return RunConfig(problem="toy", prices=prices or Prices(), budget=Budget(max_cost=max_cost))


def test_a_runs_own_prices_win(table):
    own = Prices(prompt=1.0, completion=1.0)
    assert priced(run(own), "big-one", table).prices == own
    assert priced(run(), "big-one", table).prices == table.find("big-one").prices
    assert priced(run(), "unheard-of", table).prices == Prices()
    assert priced(run(max_cost=1.0), "own/b2", table).prices.hour == 3.5


@pytest.mark.parametrize(
    ("prices", "model", "told"),
    [
        (None, "unheard-of", r"no price is known for model 'unheard-of'; add it to .*prices\.toml"),
        (None, None, "the embedded mutations cost nothing"),
        (Prices(prompt=0.0, completion=0.0), "big-one", "all prices are 0, so it is never reached"),
    ],
)
def test_a_money_cap_that_could_never_be_reached_is_refused(table, prices, model, told):
    with pytest.raises(ConfigError, match=rf"max_cost is 5, but {told}"):
        priced(run(prices, max_cost=5.0), model, table)


def mixed(*members, **more):
    generator = GeneratorConfig(kind="mixture", members=members)
    return RunConfig(problem="p", generator=generator, **more)


def member(name, **more):
    return MemberConfig(name=name, base_url=(f"http://{name}/v1",), **more)


FREE = MemberConfig(name="free", kind="mutation")
MODELS = {"big": "big-one", "own": "own/a1", "free": "mutation-2"}


def test_each_member_of_a_mixture_has_its_models_prices_and_the_run_the_dearest(table):
    cheap = Prices(prompt=3.0, completion=4.0, currency="EUR")
    models = {**MODELS, "cheap": "unlisted"}
    config = priced_members(mixed(member("big"), FREE, member("cheap", prices=cheap)), models, table)
    big, free, kept = (m.prices for m in config.generator.members)
    assert (big, kept) == (table.find("big-one").prices, cheap)
    assert (free.prompt, free.completion) == (0.0, 0.0)
    dearest = config.prices
    assert (dearest.prompt, dearest.completion, dearest.cached, dearest.currency) == (3.0, 8.0, 3.0, "EUR")
    assert priced_members(config, models, PriceTable()) == config, (
        "a resumed run keeps the prices of its time"
    )
    tariff = Tariff.of(config, models)
    assert tariff.price("big-one") == big
    assert tariff.price("somebody else") == dearest
    usage = TokenUsage(prompt=1_000_000, completion=500_000, cached=400_000)
    spent = {
        ModelIdentity(generator="openai", model="big-one"): usage,
        ModelIdentity(generator="openai", model="big-one", server="another"): usage,
        ModelIdentity(generator="openai", model="unlisted"): usage,
        ModelIdentity(generator="mutation", model="mutation-2"): TokenUsage(),
    }
    one = 0.6 * 2.0 + 0.4 * 0.5 + 0.5 * 8.0
    assert tariff.cost(spent) == pytest.approx(2 * one + 3.0 + 2.0)


def test_an_hour_of_a_mixture_costs_all_machines(table):
    own, other = member("own", prices=Prices(hour=2.0)), member("other", prices=Prices(hour=3.0))
    config = priced_members(mixed(own, other), {"own": "a", "other": "b"}, table)
    assert config.prices == Prices(hour=5.0, source="the dearest of several models")


def test_a_price_for_the_whole_run_is_that_of_all_members(table):
    config = mixed(member("big"), FREE, prices=Prices(prompt=1.0, completion=1.0))
    assert priced_members(config, MODELS, table) == config
    assert Tariff.of(config, MODELS) is None


def test_a_mixture_whose_prices_are_not_all_known_has_none(table):
    config = mixed(member("big"), member("own"))
    assert priced_members(config, {"big": "big-one", "own": "unlisted"}, table) == config
    capped = mixed(member("big"), member("own"), budget=Budget(max_cost=1.0))
    with pytest.raises(ConfigError, match="no price is known for model 'unlisted'"):
        priced_members(capped, {"big": "big-one", "own": "unlisted"}, table)


def test_prices_that_do_not_go_together_are_refused(table):
    with pytest.raises(ConfigError, match="prices in CHF, EUR; give them in one currency"):
        priced_members(mixed(member("big"), member("own")), MODELS, table)
    twice = mixed(member("big"), member("too", prices=Prices(prompt=1.0, completion=1.0)))
    with pytest.raises(ConfigError, match="model 'big-one' has several prices"):
        priced_members(twice, {"big": "big-one", "too": "big-one"}, table)

"""Budgets of tokens, money and time in whole runs: where they end, and that nothing paid for is lost."""

import asyncio
import dataclasses
import json
import os
import threading
import time
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest

from discovery.budget import Budget, Ledger, Prices, Tokens
from discovery.cli import main
from discovery.cli.report import as_json
from discovery.config import GeneratorConfig, RunConfig, SearchConfig, from_dict
from discovery.errors import ConfigError
from discovery.evaluator import Evaluator
from discovery.launch import reopened, started
from discovery.plugins import load_problem
from discovery.prices import Entry, PriceTable
from discovery.records import RunStatus, TokenUsage
from discovery.run import Run, new_run
from discovery.sandbox import make_backend
from discovery.selection import make_selector
from discovery.storage import open_storage
from discovery.summary import summarize
from discovery.testing.fakes import InProcessBackend, ScriptedGenerator
from discovery.testing.server import FakeConfig, FakeServer

PLUGIN = """
from discovery import problem

@problem(name="climb", statement="Return a number.", initial="def solve():\\n    return 0\\n")
def score(program):
    return float(program.call("solve"))
"""
CHAINS, EACH = 4, 2


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


def number(key, request):
    return f"def solve():\n    return {key.step + key.index}\n"


class Metered(ScriptedGenerator):
    """Says what each choice cost; the prompt's tokens come with the first of a request."""

    def __init__(self, prompt, completion, latency_s=0.002):
        super().__init__(number, latency_s=lambda key: latency_s * (1 + key.chain))
        self.prompt, self.completion, self.cached, self.forced = prompt, completion, None, None
        self.max_tokens = 100

    async def sample(self, request):
        prompt = self.prompt
        async for completion in super().sample(request):
            usage = TokenUsage(
                prompt=prompt,
                completion=self.completion(completion.key),
                cached=self.cached if prompt else None,
            )
            yield dataclasses.replace(completion, tokens=usage, forced=self.forced)
            prompt = None


@asynccontextmanager
async def running(tmp_path, storage, generator, steps=50, **options):
    path = tmp_path / "climb.py"
    path.write_text(PLUGIN)
    problem = load_problem(str(path))
    search = SearchConfig(chains=CHAINS, steps=steps, candidates=EACH)
    config = RunConfig(problem="climb", search=search, **options)
    evaluator = Evaluator(problem, InProcessBackend(), slots=2)
    await evaluator.start()
    selector = make_selector(search.selector, problem.direction, {})
    parts = {"generator": generator, "selector": selector, "evaluator": evaluator}
    try:
        yield Run(new_run(problem, config), config, problem, storage, **parts, is_new=True)
    finally:
        await evaluator.close()


async def finished(tmp_path, storage, generator, **options):
    async with running(tmp_path, storage, generator, **options) as run:
        summary = await asyncio.wait_for(run.execute(), 30)
    counts = storage.counts(summary.run)
    assert summary.status is RunStatus.FINISHED
    assert counts.completions == counts.evaluations == len(generator.requested), "what is paid for is kept"
    assert all(storage.open_steps(summary.run, chain) == [] for chain in range(CHAINS))
    return summary


async def test_prompts_in_flight_count(tmp_path, storage):
    """Nothing surprises once a prompt was seen: as many requests as fit are sent, and not one more."""
    generator = Metered(prompt=1000, completion=lambda key: 10)
    summary = await finished(tmp_path, storage, generator, budget=Budget(max_tokens=20_000))
    assert summary.tokens == Tokens(prompt=19 * 1000, completion=19 * EACH * 10)
    assert summary.message == "token budget of 20000 spent"


async def test_a_prompt_that_was_counted_is_in_flight_no_more(tmp_path, storage, monkeypatch):
    reserved, reserve = [], Ledger.reserve

    def seen(ledger, tokens):
        reserved.append(tokens)
        reserve(ledger, tokens)

    monkeypatch.setattr(Ledger, "reserve", seen)
    generator = Metered(prompt=1000, completion=lambda key: 10)
    await finished(tmp_path, storage, generator, steps=2)
    each, again = Tokens(prompt=1000, completion=EACH * 10), Tokens(prompt=0, completion=(EACH - 1) * 10)
    # On admission, when the request is sent, and for what is left of it after its first completion.
    assert Counter(reserved)[each] == 2 * CHAINS
    assert Counter(reserved)[again] == 2 * CHAINS
    reserved.clear()
    generator = Metered(prompt=1000, completion=lambda key: 10)
    generator.forced = (1, 2)
    await finished(tmp_path, storage, generator, steps=2)
    assert Counter(reserved)[again] == 0, "what was counted is another request's prompt"


async def test_the_cap_is_passed_by_the_surprise_of_requests_in_flight_at_most(tmp_path, storage):
    """Completions grow by one token per step, so each request in flight surprises by its choices at most."""
    generator = Metered(prompt=100, completion=lambda key: 20 + key.step)
    summary = await finished(tmp_path, storage, generator, budget=Budget(max_tokens=6000))
    surprise = CHAINS * EACH
    assert 6000 - (100 + EACH * 60) < summary.tokens.total <= 6000 + surprise


async def test_money_ends_a_run_at_the_price_of_each_kind(tmp_path, storage):
    generator = Metered(prompt=1000, completion=lambda key: 10)
    generator.cached = 500
    prices = Prices(prompt=15.0, completion=100.0, cached=5.0, currency="EUR")
    summary = await finished(
        tmp_path, storage, generator, budget=Budget(max_cost=0.1205), prices=prices, steps=20
    )
    # A request costs 0.012, but 0.017 is reserved, since what is cached is not known before: the tenth is too much.
    assert summary.tokens == Tokens(prompt=9000, completion=180)
    assert (summary.cost, summary.currency) == (pytest.approx(0.108), "EUR")
    assert summary.cost_per_evaluation == pytest.approx(0.006)
    assert summary.message == "money budget of 0.1205 EUR spent"


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(max_seconds=0.15), "0.15 seconds spent"),
        (Budget(max_cost=1.5), "money budget of 1.5 USD spent"),
    ],
)
async def test_time_and_its_price_end_a_run_after_what_is_in_flight(
    tmp_path, storage, monkeypatch, budget, message
):
    """The ledger's clock stands still until more is asked for than one step of each chain, however slow the machine."""
    generator = Metered(prompt=1, completion=lambda key: 1, latency_s=0.02)
    began = []

    def clock():
        if not began and len(generator.requested) <= CHAINS * EACH:
            return 0.0
        began.append(time.monotonic())
        return began[-1] - began[0]

    monkeypatch.setattr("discovery.run.Ledger", partial(Ledger, clock=clock))
    prices = Prices(hour=36_000.0)
    summary = await finished(tmp_path, storage, generator, steps=1000, budget=budget, prices=prices)
    assert summary.message == message
    assert summary.evaluations >= CHAINS * EACH
    assert summary.wall_s >= 0.15
    assert summary.cost == pytest.approx(summary.wall_s * 10)


async def test_a_run_without_a_price_has_no_cost(tmp_path, storage):
    generator = Metered(prompt=1, completion=lambda key: 1)
    summary = await finished(tmp_path, storage, generator, steps=1)
    assert summary.cost is None
    assert as_json(summary)["cost"] is None


def model_run(url, **budget):
    return RunConfig(
        problem="constants-10",
        search=SearchConfig(chains=1, steps=1, candidates=2),
        generator=GeneratorConfig(kind="openai", base_url=(url,), timeout_s=20),
        budget=Budget(**budget),
    )


def table(model, **prices):
    return PriceTable(entries=(Entry(pattern=model, prices=Prices(**prices)),))


async def test_what_applied_is_stored_and_a_resume_goes_on_with_it(storage):
    """The server says which model it is; later changes of the table do not change what the run cost."""
    backend = make_backend("process")
    async with FakeServer(FakeConfig(slots=8)) as server:
        with pytest.raises(ConfigError, match="max_cost is 5, but no price is known for model"):
            async with started(model_run(server.url, max_cost=5), storage, backend, prices=PriceTable()):
                raise AssertionError("unreachable")
        assert storage.list_runs() == []
        first = table("*", prompt=1.0, completion=3.0, currency="EUR", source="a page")
        async with started(model_run(server.url, max_cost=5), storage, backend, prices=first) as run:
            summary = await run.execute()
        record = storage.get_run(summary.run)
        config = from_dict(RunConfig, record.config)
        assert config.prices == first.entries[0].prices
        assert summary.cost == pytest.approx((summary.tokens.prompt + 3 * summary.tokens.completion) / 1e6)
        deeper = dataclasses.replace(config, search=dataclasses.replace(config.search, steps=2))
        other = table("*", prompt=99.0, completion=99.0)
        async with reopened(record, deeper, storage, backend, prices=other) as run:
            await run.execute()
    after = summarize(storage, summary.run)
    assert after.evaluations == 4
    assert from_dict(RunConfig, storage.get_run(summary.run).config).prices == first.entries[0].prices
    told = json.loads(json.dumps(as_json(after)))["cost"]
    assert told["currency"] == "EUR"
    assert told["total"] == pytest.approx((after.tokens.prompt + 3 * after.tokens.completion) / 1e6)
    assert told["per_evaluation"] == pytest.approx(told["total"] / 4)


@contextmanager
def served(config):
    """A server in a thread of its own, for a command line that has this one; its URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = FakeServer(config)

    def there(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    try:
        there(server.__aenter__())
        yield server.url
        there(server.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_the_command_line_tells_the_cost_and_takes_another_table_on_resume(tmp_path, monkeypatch, capsys):
    (tmp_path / ".discovery").mkdir()
    (tmp_path / ".discovery" / "prices.toml").write_text('["*"]\nprompt = 1\ncompletion = 3\n')
    (tmp_path / "other.toml").write_text('currency = "EUR"\n["*"]\nprompt = 2\ncompletion = 6\n')
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DISCOVERY_")]:
        monkeypatch.delenv(name)
    # No picture of a run is shown here.
    monkeypatch.setenv("DISCOVERY_PICTURES", "off")
    shape = ("--chains", "1", "--steps", "1", "--candidates", "2", "--sandbox", "process")

    def discovery(*arguments):
        assert main(list(arguments)) == 0
        return capsys.readouterr().out

    with served(FakeConfig(slots=8)) as url:
        where = ("--base-url", url, "--scheduler", "local", "--max-cost", "1", "--json")
        before = json.loads(discovery("run", "constants-10", *shape, *where))
        more = ("--max-evaluations", "4", "--prices", "other.toml", "--scheduler", "local")
        reported = discovery("resume", before["run"], *more)
    after = json.loads(discovery("show", before["run"], "--json"))
    for told, factor, currency in ((before, 1, "USD"), (after, 2, "EUR")):
        tokens, cost = told["tokens"], told["cost"]
        assert cost["total"] == pytest.approx(factor * (tokens["prompt"] + 3 * tokens["completion"]) / 1e6)
        assert cost["currency"] == currency
    assert after["evaluations"] == 4
    for said in (reported, discovery("show", before["run"])):
        (line,) = [line for line in said.splitlines() if line.split()[:1] == ["cost"]]
        assert line.endswith(" EUR per evaluation")

"""Asking: what is stored is never asked again, what is spent is counted, what fails is told."""

import asyncio
import itertools
import re
from datetime import UTC, datetime

import pytest

from discovery.adviser import TRIES, Adviser, Question
from discovery.budget import Budget, Ledger, Tokens
from discovery.config import AdviserConfig
from discovery.errors import GeneratorRefused, GeneratorUnavailable, LeaseLost
from discovery.progress import Progress
from discovery.records import (
    AdvicePurpose,
    CandidateKey,
    Completion,
    Direction,
    Message,
    ModelIdentity,
    TokenUsage,
)
from discovery.storage import open_storage
from discovery.storage.journal import Journal
from discovery.testing.fakes import ScriptedGenerator
from discovery.testing.storage import start

MESSAGES = (Message(role="user", content="why " * 100),)


class Oracle(ScriptedGenerator):
    """Answers with a text of 7 tokens to a prompt of 100, or with what is scripted: an error, a None."""

    max_tokens = 50

    def __init__(self, *scripted):
        super().__init__(lambda key, request: "wisdom")
        self.scripted = list(scripted)
        self.asked, self.together, self.is_up = [], 0, True
        self._active = 0

    async def ready(self):
        return self.is_up

    async def sample(self, request):
        self.asked.append(request)
        self._active += 1
        self.together = max(self.together, self._active)
        try:
            await asyncio.sleep(0.001)
            said = self.scripted.pop(0) if self.scripted else "wisdom"
            if isinstance(said, Exception):
                raise said
            yield Completion(
                key=CandidateKey(request.prompt.chain, request.prompt.step, 0),
                text=said,
                finish_reason="stop" if said else "length",
                model=ModelIdentity(generator="oracle", model="m"),
                seed=request.seed,
                tokens=TokenUsage(prompt=100, completion=7, cached=60),
                latency_s=0.5,
                created_at=datetime.now(UTC),
            )
        finally:
            self._active -= 1


class Setting:
    def __init__(self, storage, run, oracle, *, budget=None, is_shared=False, **config):
        self.leases = start(storage, run)
        self.oracle = oracle
        self.ledger = Ledger(budget or Budget())
        self.progress = Progress(Direction.MAXIMIZE, 0, 2)
        self.journal = Journal(storage)
        self.pauses = []
        self.adviser = Adviser(
            run,
            AdviserConfig(**config),
            7,
            2,
            generator=oracle,
            storage=storage,
            journal=self.journal,
            ledger=self.ledger,
            progress=self.progress,
            is_shared=is_shared,
            sleep=self.sleep,
        )

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def ask(self, step=1, purpose=AdvicePurpose.REFLECT, chain=0, spent=0):
        question = Question(
            step=step, purpose=purpose, subject=CandidateKey(chain, step, 0), messages=lambda: MESSAGES
        )
        return await self.adviser.ask(self.leases[chain], question, spent)


@pytest.fixture
async def setting(tmp_path):
    storage = open_storage(str(tmp_path / "a.db"))
    made, runs = [], itertools.count()

    def make(*scripted, **options):
        made.append(Setting(storage, f"run-{next(runs)}", Oracle(*scripted), **options))
        made[-1].storage = storage
        return made[-1]

    yield make
    for each in made:
        await each.journal.close()
    storage.close()


async def test_an_answer_is_stored_before_it_is_given_and_never_asked_again(setting):
    s = setting()
    asked = await s.ask()
    assert (asked.text, asked.failure, asked.subject) == ("wisdom", None, CandidateKey(0, 1, 0))
    assert (asked.messages, asked.model.model, asked.latency_s) == (MESSAGES, "m", 0.5)
    assert s.storage.consultation("run-0", 0, 1, AdvicePurpose.REFLECT) == asked
    again = await s.ask()
    assert again == asked
    assert len(s.oracle.asked) == 1
    assert (s.ledger.spent.prompt_tokens, s.ledger.spent.completion_tokens) == (100, 7)
    assert s.ledger.spent.cached_tokens == 60
    assert (s.progress.consultations, s.progress.prompt_tokens) == (1, 100)
    counts = s.storage.counts("run-0")
    assert (counts.prompt_tokens, counts.completion_tokens, counts.cached_tokens) == (100, 7, 60)
    # What an answer took says nothing of what completions will take, and nothing of it is in flight.
    assert s.ledger.expected_tokens(1, 1000, 350) == Tokens(prompt=100, completion=1000)
    assert s.ledger._in_flight == Tokens()


async def test_places_and_purposes_have_seeds_of_their_own(setting):
    s = setting()
    places = [(1, AdvicePurpose.REFLECT, 0), (1, AdvicePurpose.RERANK, 0), (2, AdvicePurpose.REFLECT, 0)]
    places.append((1, AdvicePurpose.REFLECT, 1))
    seeds = [(await s.ask(*place)).seed for place in places]
    assert len(set(seeds)) == 4
    other = setting()
    assert [(await other.ask(*place)).seed for place in places] == seeds


async def test_no_more_are_in_flight_than_it_has_slots(setting):
    s = setting(slots=3)
    await asyncio.gather(*(s.ask(step) for step in range(1, 13)))
    assert s.oracle.together == 3
    assert s.adviser.meter.busy == 0


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (GeneratorRefused("the prompt is too long\nby far"), "the prompt is too long by far"),
        (None, r"no text \(it ended with 'length'\)"),
        ("  \n", r"no text"),
    ],
)
async def test_what_is_refused_is_stored_without_an_answer(setting, said, told):
    s = setting(said)
    asked = await s.ask()
    assert asked.text is None
    assert re.search(told, asked.failure)
    assert (await s.ask()) == asked
    assert len(s.oracle.asked) == 1
    assert s.ledger._in_flight == Tokens()


async def test_an_answer_of_no_use_is_kept_and_told_apart(setting):
    s = setting()
    question = Question(
        step=1,
        purpose=AdvicePurpose.RERANK,
        messages=lambda: MESSAGES,
        flaw=lambda text: f"is {text!r}" if text == "wisdom" else None,
    )
    asked = await s.adviser.ask(s.leases[0], question, 0)
    assert (asked.text, asked.failure) == ("wisdom", "the answer is 'wisdom' (it ended with 'stop')")
    assert s.storage.counts("run-0").consultations_in_vain == 1
    await s.ask(2)
    counts = s.storage.counts("run-0")
    assert (counts.consultations, counts.consultations_in_vain) == (2, 1)


async def test_servers_that_are_gone_are_asked_again_and_given_up(setting):
    gone = GeneratorUnavailable("nobody there")
    s = setting(gone, gone)
    assert (await s.ask()).text == "wisdom"
    assert s.pauses == [2.0, 4.0]
    lost = setting(*[gone] * TRIES)
    asked = await lost.ask()
    assert (asked.text, asked.failure) == (None, "nobody there")
    assert len(lost.oracle.asked) == TRIES


async def test_the_generators_own_servers_are_waited_for_as_the_search_waits(setting):
    """While they are gone no question is given up; a budget that ends meanwhile ends the waiting."""
    gone = GeneratorUnavailable("nobody there")
    s = setting(*[gone] * 3 * TRIES, is_shared=True)
    s.oracle.is_up = False
    assert (await s.ask()).text == "wisdom"
    assert len(s.oracle.asked) == 3 * TRIES + 1
    vain = setting(*[gone] * 3, is_shared=True)
    vain.oracle.is_up = False
    vain.ledger.reach_target()
    vain.oracle.scripted = [gone] * 99
    assert (await vain.ask()).failure == "target score reached"


async def test_a_chain_has_a_share_of_the_token_budget(setting):
    """By what it is told that was spent, never by what happens to be spent by then."""
    s = setting(budget=Budget(max_tokens=10_000), share=0.2)
    assert (await s.ask(1, spent=999)).text == "wisdom"
    asked = await s.ask(2, spent=1000)
    assert asked.failure == "this chain's share of the token budget is 1000, and it has spent 1000"
    assert len(s.oracle.asked) == 1


async def test_a_spent_budget_is_spent_but_evaluations_are_none_of_its_business(setting):
    s = setting(budget=Budget(max_tokens=200, max_evaluations=1), share=1.0)
    s.ledger.add_evaluation()
    assert (await s.ask(1)).text == "wisdom"
    assert "token budget of 200 spent" in (await s.ask(2)).failure
    assert len(s.oracle.asked) == 1


async def test_who_lost_the_chain_gets_no_answer(setting):
    s = setting()
    s.storage.release([s.leases[0]])
    with pytest.raises(LeaseLost):
        await s.ask()
    assert s.ledger.spent.prompt_tokens == 0


def test_a_question_has_the_room_that_the_context_leaves_beside_an_answer(setting):
    class Counting(Oracle):
        context_tokens = 1000

        async def count_tokens(self, messages):
            return None

    assert setting().adviser.room is None
    s = setting()
    s.adviser._generator = Counting()
    assert s.adviser.room == (1000 - Oracle.max_tokens) * 5 // 2

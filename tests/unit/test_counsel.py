"""What a chain asks its adviser, and when it heeds the answer: whatever the timing, and whoever dies."""

import asyncio
import dataclasses
import random
import re
from contextlib import nullcontext
from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from discovery.adviser import Adviser
from discovery.budget import Budget
from discovery.config import AdviserConfig
from discovery.errors import StorageError
from discovery.generation.insights import MOST
from discovery.records import AdvicePurpose, CandidateKey, Completion, ModelIdentity, TokenUsage
from discovery.selection import make_selector
from discovery.testing.fakes import ScriptedGenerator
from tests.unit.test_chain import (
    Dying,
    Model,
    Process,
    a_run,
    at_random,
    problem,
    shape,
    storage,
    stored,
    until,
)

__all__ = ["problem", "storage"]

LAG = 1


class Oracle(ScriptedGenerator):
    """Says of each attempt which one it is, and names programs as its seed says; 107 tokens each."""

    def __init__(self, delay=lambda: 0.0):
        super().__init__(lambda key, request: "")
        self.asked = []
        self.held = asyncio.Event()
        self.held.set()
        self._delay = delay

    async def sample(self, request):
        prompt = request.prompt
        is_reflection = "# The attempt" in prompt.messages[1].content
        self.asked.append((prompt.chain, prompt.step, is_reflection))
        await self.held.wait()
        await asyncio.sleep(self._delay())
        places = [request.seed % 3 + 1, request.seed % 5 + 1]
        text = f"ANSWER: {places[0]}, {places[1]}"
        if is_reflection:
            text = f"APPROACH: tried in step {prompt.step}\nINSIGHT: seed {request.seed}"
        yield Completion(
            key=CandidateKey(prompt.chain, prompt.step, 0),
            text=text,
            model=ModelIdentity(generator=self.name),
            seed=request.seed,
            tokens=TokenUsage(prompt=100, completion=7),
            created_at=datetime.now(UTC),
        )


def advising(run, oracle, search, reflect=True, share=1.0):
    """Makes the adviser of a process."""

    def make(process):
        return Adviser(
            run,
            AdviserConfig(reflect=reflect, slots=3, share=share),
            5,
            search.chains,
            generator=oracle,
            storage=process.storage,
            journal=process.journal,
            ledger=process.ledger,
            progress=process.progress,
            sleep=lambda seconds: asyncio.sleep(0),
        )

    return make


def selector_of(problem, name):
    """With a pool that is full at once, so that the model is asked about it."""
    params = {"pool": 2} if name == "llm-elite" else {}
    return make_selector(name, problem.direction, params)


def advice(storage, run, search):
    """All that was asked and answered, apart from when."""
    found = {}
    for chain in range(search.chains):
        for answer in storage.answers(run, chain):
            asked = storage.consultation(run, chain, answer.step, answer.purpose)
            found[chain, answer.step, answer.purpose] = (
                asked.messages,
                asked.text,
                asked.failure,
                asked.seed,
            )
    return found


def check_what_was_shown(storage, run, search):
    """Each prompt shows what was learned up to a fixed number of steps before it, and nothing else."""
    for chain in range(search.chains):
        committed = {s.step: s.committed for s in storage.committed_steps(run, chain)}
        for number in committed:
            text = storage.step(run, chain, number).prompt.messages[1].content
            shown = [int(step) for step in re.findall(r"tried in step (\d+)", text)]
            told = [s for s, key in committed.items() if key and s <= number - 1 - search.overlap - LAG]
            assert set(shown) <= set(told)
            assert shown == sorted(shown)
            assert len(shown) == min(MOST, len(told))
            assert told[-1:] == shown[-1:]


@settings(max_examples=settings.default.max_examples // 10)
@given(
    overlap=st.integers(0, 2),
    selector=st.sampled_from(["llm-elite", "llm-rerank", "rpucg"]),
    cuts=st.lists(st.integers(5, 60), min_size=1, max_size=3),
    timing=st.integers(0, 10**6),
    share=st.sampled_from([1.0, 4e-4]),
)
def test_neither_timing_nor_the_end_of_processes_changes_what_is_asked(
    problem, storage, overlap, selector, cuts, timing, share
):
    search = shape(chains=2, steps=6, candidates=2, overlap=overlap, selector=selector)
    budget = Budget(max_tokens=10**6)

    async def undisturbed():
        run = a_run(problem, storage)
        adviser = advising(run, Oracle(), search, share=share)
        process = Process(problem, storage, run, search, budget=budget, adviser=adviser)
        process.selector = selector_of(problem, selector)
        reasons = await process.work()
        assert all(isinstance(reason, str) for reason in reasons), reasons
        return stored(storage, run, 2), advice(storage, run, search)

    async def in_pieces():
        run = a_run(problem, storage)
        for place, cut in enumerate([*cuts, None]):
            rng = random.Random(timing + place)
            oracle = Oracle(lambda rng=rng: rng.choice([0, 0, 0.001, 0.005]))
            before = advice(storage, run, search)
            process = Process(
                problem,
                storage if cut is None else Dying(storage, cut),
                run,
                search,
                model=Model(**at_random(timing + place)),
                budget=budget,
                adviser=advising(run, oracle, search, share=share),
            )
            process.selector = selector_of(problem, selector)
            assert process.ledger.spent.completion_tokens == storage.counts(run).completion_tokens
            try:
                ended = await process.work()
            except StorageError:
                assert cut is not None
            again = {(c, s, p is AdvicePurpose.REFLECT) for c, s, p in before} & set(oracle.asked)
            assert not again, "a stored answer was asked for again"
        assert all(isinstance(reason, str) for reason in ended), ended
        counts = storage.counts(run)
        assert process.ledger.spent.completion_tokens == counts.completion_tokens
        answered = sum(text is not None for _, text, _, _ in advice(storage, run, search).values())
        assert counts.consultation_tokens == 107 * answered
        if share == 1.0:
            check_what_was_shown(storage, run, search)
        else:
            assert answered < counts.consultations, "the share is to end before the run does"
        return stored(storage, run, 2), advice(storage, run, search)

    assert asyncio.run(in_pieces()) == asyncio.run(undisturbed())


@pytest.mark.parametrize("overlap", [0, 2])
async def test_prompts_show_what_was_learned_by_a_fixed_lag(problem, storage, overlap):
    """Of a long chain they show few, the newest always; every committed candidate is reflected on once."""
    run, search, oracle = a_run(problem, storage), shape(steps=20, overlap=overlap), Oracle()
    process = Process(problem, storage, run, search, adviser=advising(run, oracle, search))
    assert await process.work() == ["all steps taken"]
    check_what_was_shown(storage, run, search)
    committed = {s.step: s.committed for s in storage.committed_steps(run, 0) if s.committed}
    assert sorted(oracle.asked) == [(0, step, True) for step in committed]
    for step, key in committed.items():
        asked = storage.consultation(run, 0, step, AdvicePurpose.REFLECT)
        assert asked.subject == key
        assert "made from programs with these scores" in asked.messages[1].content
    assert "the best until then" in storage.step(run, 0, 20).prompt.messages[1].content


@pytest.mark.parametrize("overlap", [0, 1])
async def test_an_adviser_that_is_slow_holds_up_planning_only_as_far_as_the_lag(problem, storage, overlap):
    """Candidates are made and evaluated meanwhile, and the evaluator is free: only the next plan waits."""
    run, search, oracle = a_run(problem, storage), shape(steps=6, overlap=overlap), Oracle()
    oracle.held.clear()
    process = Process(problem, storage, run, search, adviser=advising(run, oracle, search))
    task = asyncio.create_task(process.work())
    # Step 1's reflection is waited for by step 1 + 1 + overlap + LAG.
    far = 1 + overlap + LAG
    await until(lambda: storage.counts(run).evaluations == 3 * far)
    await asyncio.sleep(0.05)
    assert storage.counts(run).evaluations == 3 * far
    assert storage.counts(run).consultations == 0
    oracle.held.set()
    assert await task == ["all steps taken"]
    check_what_was_shown(storage, run, search)


async def test_answers_decide_and_are_stored_with_the_step(problem, storage):
    search = shape(steps=12, overlap=0, selector="llm-rerank")
    run = a_run(problem, storage)
    process = Process(problem, storage, run, search, adviser=advising(run, Oracle(), search, reflect=False))
    await process.work()
    followed = 0
    for step in storage.committed_steps(run, 0):
        values = storage.step(run, 0, step.step).step.selection["values"]
        asked = storage.consultation(run, 0, step.step, AdvicePurpose.RERANK)
        if asked is None:
            assert "shortlist" not in values
            continue
        for number, name in enumerate(values["shortlist"], start=1):
            score = (
                0.0
                if name == "initial"
                else next(
                    o.score for s in storage.committed_steps(run, 0) for o in s.outcomes if str(o.key) == name
                )
            )
            assert f"# Program {number}\n\nScore: {score!r}" in asked.messages[1].content
        assert [str(key) for key in step.parents[: len(values["named"])]] == values["named"]
        followed += bool(values["named"])
    assert followed > 5


async def test_without_an_adviser_a_selector_that_asks_needs_none(problem, storage):
    run = a_run(problem, storage)
    assert await Process(problem, storage, run, shape(selector="llm-elite")).work() == ["all steps taken"]
    assert storage.counts(run).consultations == 0


@pytest.mark.parametrize("overlap", [0, 1])
async def test_a_pool_that_a_model_keeps_is_the_same_after_a_resume(problem, storage, overlap):
    """It keeps the worst of those shown beside the best, which no score would; what it kept is replayed."""

    class Contrary(Oracle):
        async def sample(self, request):
            shown = len(re.findall(r"^# Program", request.prompt.messages[1].content, re.MULTILINE))
            async for said in super().sample(request):
                yield dataclasses.replace(said, text=f"ANSWER: {shown}")

    search, ends = shape(steps=14, candidates=1, overlap=overlap, selector="llm-elite"), []
    for cuts in ([None], [45, None]):
        run = a_run(problem, storage)
        for cut in cuts:
            seen_by = storage if cut is None else Dying(storage, cut)
            adviser = advising(run, Contrary(), search, reflect=False)
            process = Process(problem, seen_by, run, search, adviser=adviser)
            process.selector = selector_of(problem, "llm-elite")
            with nullcontext() if cut is None else pytest.raises(StorageError):
                for ended in await process.work():
                    if isinstance(ended, Exception):
                        raise ended
            if cut is not None:
                assert 4 < len(list(storage.committed_steps(run, 0))) < 12
        ends.append((stored(storage, run, 1), advice(storage, run, search)))
    assert len(ends[0][1]) > 3
    assert ends[0] == ends[1]

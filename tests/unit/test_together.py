"""All that makes a search cleverer at once, over whole runs: neither timing nor sudden ends change what comes of them.

Everything is the real thing but the generator, the adviser and the scoring of one candidate, which need no process.
"""

import asyncio
import dataclasses
import hashlib
import random
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.budget import Budget
from discovery.config import DUPLICATES, AdaptConfig, AdviserConfig, PromptConfig, RunConfig, SearchConfig
from discovery.errors import StorageError
from discovery.evaluator import Durations, Evaluator, Verdict
from discovery.launch import selector_of
from discovery.plugins import load_problem
from discovery.records import (
    INITIAL,
    Failure,
    FailureKind,
    RunStatus,
    Score,
    TokenUsage,
)
from discovery.run import Run, new_run, resumed
from discovery.selection import selector_names
from discovery.selection.base import AdvisedSelector
from discovery.storage import open_storage
from discovery.testing.fakes import InProcessBackend, ScriptedGenerator

PLUGIN = """
from discovery import Feature, Objective, problem

@problem(
    name="climb",
    statement="Return a number.",
    initial="# EVOLVE-BLOCK-START\\ndef solve():\\n    return 3\\n# EVOLVE-BLOCK-END\\n",
    bounds=(-1e6, 1e6),
    direction="{direction}",
    features=[Feature("half", 0, 20), Feature("digit", 0, 3, bins=3)],
    objectives=Objective("digit", "minimize"),
)
def score(program):
    return float(program.call("solve"))
"""
INSIGHTS = ("go up", "go down", "```\n# Task\nstay", "\x1b[31mred\ud800")


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    folder = tmp_path_factory.mktemp("problem")
    found = {}
    for direction in ("maximize", "minimize"):
        path = folder / f"{direction}.py"
        path.write_text(PLUGIN.format(direction=direction))
        found[direction] = load_problem(str(path))
    return found


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    opened = open_storage(str(tmp_path_factory.mktemp("storage") / "runs.db"))
    yield opened
    opened.close()


def drawn(*of):
    """A number from what is asked, down to the last character."""
    return int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:4], "big")


def number_in(source):
    return int(re.search(r"return (-?\d+)", source).group(1))


def said(request):
    return [message.content for message in request.prompt.messages]


def written(key, request):
    """An answer that depends on all that the model may see; now and then the same as another chain's, or none."""
    seen = [number_in(view.source) for view in (*request.parents, *request.trail)]
    dice = drawn(said(request), seen, key.index)
    value = seen[0] + dice % 7 - 3
    if dice % 23 == 0:
        return "I would rather not."
    if "SEARCH" in said(request)[0]:
        if dice % 19 == 0:
            return "<<<<<<< SEARCH\n    return 'elsewhere'\n=======\n    return 1\n>>>>>>> REPLACE\n"
        block = f"<<<<<<< SEARCH\n    return {seen[0]}\n=======\n    return {value}\n>>>>>>> REPLACE\n"
        return f"```\n{block}```"
    note = ["", "  # a note", "\n    # another", ""][dice % 4]
    return f"```python\ndef solve():{note}\n    return {value}\n```"


def advised(key, request):
    dice = drawn(said(request))
    if "# Your choice" in said(request)[-1]:
        return f"ANSWER: {dice % 9}, {dice % 7}" if dice % 5 else "none of them"
    return f"APPROACH: {dice % 100}\nINSIGHT: {INSIGHTS[dice % 4]} {dice % 1000}" if dice % 6 else " "


class Talking(ScriptedGenerator):
    """One whose answers cost tokens and come in any order."""

    def __init__(self, answer, rng, max_tokens=50):
        super().__init__(answer, latency_s=lambda key: rng.choice([0, 0, 0.001, 0.004]) if rng else 0)
        self._rng = rng
        self.max_tokens = max_tokens

    async def sample(self, request):
        order = list(request.indices)
        if self._rng:
            self._rng.shuffle(order)
        for index in order:
            async for completion in super().sample(dataclasses.replace(request, indices=(index,))):
                tokens = 7 + drawn(completion.text) % 5
                yield dataclasses.replace(completion, tokens=TokenUsage(prompt=20, completion=tokens))


class Quick(Evaluator):
    """The real one, but for running and scoring."""

    def __init__(self, problem, storage, run, rng, knows_solutions):
        super().__init__(
            problem,
            InProcessBackend(),
            slots=3,
            find_source=lambda *place: storage.find_source(run, *place),
            knows_solutions=knows_solutions,
        )
        self._rng = rng

    async def _in_slot(self, candidate, purpose, *, anew=False):
        await asyncio.sleep(self._rng.choice([0, 0, 0.001, 0.004]) if self._rng else 0)
        value = number_in(candidate.source)
        verdict = Verdict(score=Score(value=float(value), metrics=metrics_of(value), feedback=f"{value}```"))
        if value % 11 == 4:
            verdict = Verdict(failure=Failure(kind=FailureKind.INVALID, message=f"{value} is unlucky"))
        if value % 13 == 6:
            verdict = Verdict(failure=Failure(kind=FailureKind.STAGE, message=f"{value} at stage 1"))
        found = self._finished(candidate, purpose, verdict, datetime.now(UTC), Durations(wall_s=0.0), None)
        if verdict.score is None:
            # It names a line, which is not that of a twin.
            message = f"{verdict.failure.message}, after {candidate.source.count(chr(10))} lines"
            return dataclasses.replace(found, failure=dataclasses.replace(found.failure, message=message))
        solution = f"{value % 5:064x}" if self._knows_solutions else None
        return dataclasses.replace(found, solution=solution, source_read=value % 4 == 1)


def metrics_of(value):
    return {"half": value / 2, "name": "n"} | ({"digit": value % 3} if value % 4 else {})


class Dying:
    """A storage that takes so many transactions more, and then none: the process ended between two of them."""

    def __init__(self, storage, appends):
        self._storage, self._left = storage, appends

    def __getattr__(self, name):
        return getattr(self._storage, name)

    def append(self, writes):
        self._left -= 1
        if self._left < 0:
            raise StorageError("gone")
        return self._storage.append(writes)


async def executed(problem, storage, config, record=None, timing=None, cut=None):
    """One process's execution of a run, to its end or until it is cut off.

    Args:
        cut: Transactions after which its storage takes no more, tokens that it may spend, or seconds until it is
            interrupted, each with its name; None for no end before the search's.
    """
    rng = random.Random(timing) if timing is not None else None
    kind, most = cut or (None, 0)
    if kind == "tokens":
        config = dataclasses.replace(config, budget=dataclasses.replace(config.budget, max_tokens=most))
    is_new = record is None
    record = new_run(problem, config) if is_new else resumed(record, config, problem)
    selector = selector_of(config, problem)
    asks = config.adviser.reflect or isinstance(selector, AdvisedSelector)
    evaluator = Quick(problem, storage, record.id, rng, config.search.duplicates == "solution")
    run = Run(
        record,
        config,
        problem,
        Dying(storage, most) if kind == "transactions" else storage,
        generator=Talking(written, rng),
        selector=selector,
        evaluator=evaluator,
        advising=Talking(advised, rng, max_tokens=10) if asks else None,
        is_new=is_new,
    )
    summary = None
    try:
        async with asyncio.timeout(most if kind == "seconds" else None):
            summary = await run.execute()
    except (StorageError, TimeoutError):
        assert cut is not None
    finally:
        await evaluator.close()
    return record.id, summary


def contents(storage, run, chains):
    """Everything about a run that timing must not change."""
    found = []
    for chain in range(chains):
        assert storage.open_steps(run, chain) == []
        for step in storage.committed_steps(run, chain, ("half", "digit")):
            whole = storage.step(run, chain, step.step)
            outcomes = [dataclasses.replace(o, duplicate_of=None) for o in step.outcomes]
            found.append(
                (
                    dataclasses.replace(step, outcomes=tuple(outcomes)),
                    whole.prompt.messages,
                    dataclasses.replace(whole.step, planned_at=None, committed_at=None),
                    {index: candidate.source for index, candidate in sorted(whole.candidates.items())},
                )
            )
        found += storage.answers(run, chain)
    return found


def check_history(storage, run, config, problem):
    """Every candidate that is shown is there and was committed in time; the best never gets worse."""
    better = problem.direction.better
    for chain in range(config.search.chains):
        there, best = {INITIAL: 0}, None
        for step in storage.committed_steps(run, chain):
            record = storage.step(run, chain, step.step).step
            for key in record.parents:
                assert there[key] <= max(0, step.step - 1 - config.search.overlap)
            assert best is None or record.best_after is None or not better(best, record.best_after)
            best = record.best_after
            there.update({o.key: step.step for o in step.outcomes if o.score is not None})


def shape_of(draw):
    chains, candidates = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    steps = draw(st.integers(1, 10))
    cap = draw(st.none() | st.integers(1, chains * steps * candidates))
    search = SearchConfig(
        chains=chains,
        steps=steps,
        candidates=candidates,
        parents=draw(st.integers(1, 3)),
        overlap=draw(st.integers(0, 2)),
        duplicates=draw(st.sampled_from(DUPLICATES)),
        selector=(name := draw(st.sampled_from(selector_names()))),
        selector_params=draw(st.sampled_from(PARAMS.get(name, [{}]))),
    )
    patience = draw(st.none() | st.integers(1, 4))
    stall = "restart" if patience is None else draw(st.sampled_from(["restart", "stop"]))
    rungs = draw(st.integers(0, 2)) if (cap or chains * steps * candidates) >= 16 * candidates else 0
    rungs = min(rungs, chains - 1, 2 if chains > 2 else 1)
    share = draw(st.sampled_from([1.0, 0.00002 * chains * 8]))
    return RunConfig(
        problem="climb",
        seed=draw(st.integers(0, 9)),
        search=search,
        prompt=PromptConfig(
            edits=draw(st.sampled_from(["rewrite", "diff"])),
            elites=draw(st.integers(0, 3)),
            context_tokens=draw(st.none() | st.sampled_from([700, 900, 1500])),
        ),
        budget=Budget(max_evaluations=cap, max_tokens=1_000_000),
        adviser=AdviserConfig(reflect=draw(st.booleans()), share=share, slots=draw(st.integers(1, 3))),
        adapt=AdaptConfig(rungs=rungs, patience=patience, on_stall=stall),
    )


PARAMS = {
    "llm-elite": [{"pool": 2}, {"pool": 4}],
    "llm-rerank": [
        {"base": base, "shortlist": 4} for base in ("islands", "puct", "greedy", "rpucg", "pareto")
    ],
    "islands": [{}, {"islands": 2, "migration": 3}],
}
configs = st.composite(shape_of)


CUTS = st.lists(
    st.tuples(st.just("transactions"), st.integers(3, 90))
    | st.tuples(st.just("seconds"), st.floats(0.005, 0.2))
    | st.tuples(st.just("tokens"), st.integers(50, 1500)),
    max_size=3,
)


async def in_pieces(problem, storage, config, timing, cuts):
    """A run that is cut off, and resumed each time; one that has nothing stored yet begins again."""
    if config.adviser.reflect or config.search.selector.startswith("llm"):
        # Questions that the budget has no room for are stored as unanswered.
        cuts = [cut for cut in cuts if cut[0] != "tokens"]
    record = None
    for place, cut in enumerate([*cuts, None]):
        run, summary = await executed(problem, storage, config, record, timing + place, cut)
        try:
            record = storage.get_run(run)
        except LookupError:
            record = None
    return run, summary


@settings(max_examples=settings.default.max_examples // 5)
@given(
    config=configs(),
    direction=st.sampled_from(["maximize", "minimize"]),
    cuts=CUTS,
    timing=st.integers(0, 10**6),
)
def test_a_run_with_everything_is_the_same_whatever_befalls_it(
    problems, storage, config, direction, cuts, timing
):
    problem, chains = problems[direction], config.search.chains
    undisturbed, summary = asyncio.run(executed(problem, storage, config))
    pieces, again = asyncio.run(in_pieces(problem, storage, config, timing, cuts))
    assert summary.status is again.status is RunStatus.FINISHED
    assert contents(storage, pieces, chains) == contents(storage, undisturbed, chains)
    assert [c.evaluations for c in again.chains] == [c.evaluations for c in summary.chains]
    assert again.best_score == summary.best_score
    most, stalls = config.planned_evaluations, config.adapt.stops_after is not None
    assert summary.evaluations == most or (stalls and summary.evaluations < most)
    check_history(storage, undisturbed, config, problem)

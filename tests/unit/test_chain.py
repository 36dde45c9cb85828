"""The order of steps, whatever the timing: one process's chains over a real SQLite file, all else faked."""

import asyncio
import dataclasses
import gc
import random
import re
import secrets
import weakref
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.barrier import Barrier
from discovery.best import BestKeeper, best_announced
from discovery.budget import Budget, Ledger, Spent, Tokens
from discovery.chain import Chain
from discovery.config import AdaptConfig, ArmsConfig, RunConfig, SearchConfig, SlotsConfig
from discovery.errors import GeneratorRefused, LeaseLost, SandboxError, StorageError
from discovery.generation.arms import Arm, Arms
from discovery.generation.mixture import Mixture
from discovery.pace import GenerationGate, Outage
from discovery.past import Course
from discovery.plugins import load_problem
from discovery.ports import Ports
from discovery.progress import Progress
from discovery.records import (
    INITIAL,
    SHARED_CHAIN,
    Candidate,
    CandidateKey,
    CommittedStep,
    Direction,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    ModelIdentity,
    Purpose,
    Score,
    Step,
    StepState,
    TokenUsage,
)
from discovery.run import config_of, new_run
from discovery.rungs import Rungs
from discovery.selection import make_selector, selector_names
from discovery.selection.best_of_n import BestOfN
from discovery.selection.restarting import Restarting
from discovery.step import OpenStep
from discovery.storage import open_storage
from discovery.storage.journal import Journal
from discovery.testing.fakes import ScriptedGenerator
from discovery.testing.selector import committed_step
from discovery.trail import Trail, stored_trail
from discovery.warm import stored_warm_start

PLUGIN = """
from discovery import Feature, Objective, problem

@problem(
    name="climb",
    statement="Return a number.",
    initial="def solve():\\n    return 0\\n",
    bounds=(None, 1e6),
    features=[Feature("half", 0, 20), Feature("digit", 0, 3, bins=3)],
    objectives=Objective("digit", "minimize"),
)
def score(program):
    return float(program.call("solve"))
"""


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "climb.py"
    path.write_text(PLUGIN)
    return load_problem(str(path))


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """One for all, since each test has runs of its own."""
    opened = open_storage(str(tmp_path_factory.mktemp("storage") / "runs.db"))
    yield opened
    opened.close()


def number_in(source):
    return int(re.search(r"return (-?\d+)", source).group(1))


def climb(key, request):
    """The main parent's number plus what tells the siblings, the steps and the trail apart; a negative one fails."""
    if (key.step + key.index) % 4 == 3:
        return f"def solve():\n    return {-key.step}\n"
    more = (key.step * 7 + key.index * 3) % 5 + sum(number_in(view.source) for view in request.trail) % 2
    return f"def solve():\n    return {number_in(request.parents[0].source) + more}\n"


class Judge:
    """Scores by reading the source, after a while."""

    def __init__(self, problem, delay):
        self.problem = problem
        self.failures = {}
        self._delay = delay

    def remember(self, source_hash):
        pass

    async def evaluate(self, candidate, keep):
        await asyncio.sleep(self._delay())
        if (error := self.failures.pop(candidate.key, None)) is not None:
            raise error
        return await keep(judged(self.problem, candidate))

    async def verify(self, candidate, claimed):
        await asyncio.sleep(self._delay())
        return dataclasses.replace(claimed, purpose=Purpose.VERIFY, duplicate_of=None)


def metrics_of(value):
    """One that is always there, one that sometimes is, and one that is no number."""
    return {"half": value / 2, "name": "n"} | ({"digit": value % 3} if value % 4 else {})


def artifact_of(value):
    """Of two scores in three, the initial one not among them."""
    return [value] if value % 3 else None


def judged(problem, candidate):
    value, now = number_in(candidate.source), datetime.now(UTC)
    failure = Failure(kind=FailureKind.INVALID, message=f"{value} is negative") if value < 0 else None
    return Evaluation(
        key=candidate.key,
        state=EvaluationState.FAILED if failure else EvaluationState.SCORED,
        score=None
        if failure
        else Score(value=float(value), metrics=metrics_of(value), artifact=artifact_of(value)),
        failure=failure,
        scorer_version=problem.version,
        started_at=now,
        finished_at=now,
    )


class Model(ScriptedGenerator):
    """Completions in any order, after a while or when a test lets them go; each is 10 tokens.

    Args:
        answer: From key and request to the text.
        delay: Seconds before the next completion.
        shuffle: Puts the indices of a request in the order of their completions.
    """

    def __init__(self, answer=climb, *, delay=lambda: 0.0, shuffle=sorted):
        super().__init__(answer, latency_s=lambda key: delay())
        self.held = {}
        self.active = 0
        self._shuffle = shuffle

    def hold(self, *places):
        for place in places:
            self.held[CandidateKey(*place)] = asyncio.Event()

    def let_go(self):
        for event in self.held.values():
            event.set()

    async def sample(self, request):
        self.active += 1
        order = sorted(self._shuffle(request.indices), key=lambda i: self._key(request, i) in self.held)
        try:
            for index in order:
                if (event := self.held.get(self._key(request, index))) is not None:
                    await event.wait()
                async for completion in super().sample(dataclasses.replace(request, indices=(index,))):
                    yield dataclasses.replace(completion, tokens=TokenUsage(prompt=0, completion=10))
        finally:
            self.active -= 1

    @staticmethod
    def _key(request, index):
        return CandidateKey(request.prompt.chain, request.prompt.step, index)


def at_random(seed):
    """Timing that differs each time: delays, and an order of completions."""
    rng = random.Random(seed)
    return {
        "delay": lambda: rng.choice([0, 0, 0.001, 0.004]),
        "shuffle": lambda indices: rng.sample(indices, len(indices)),
    }


class Member(Model):
    """One of a mixture, with tokens of its own for each completion, and prompts that are counted as they come."""

    def __init__(self, name, tokens, **timing):
        super().__init__(**timing)
        self._identity, self._tokens = ModelIdentity(generator="scripted", model=name), tokens

    async def sample(self, request):
        async for completion in super().sample(request):
            tokens = None if self._tokens is None else self._tokens + completion.seed % 7
            usage = TokenUsage(prompt=100 if self.requested[-1:] else None, completion=tokens)
            yield dataclasses.replace(completion, model=self._identity, tokens=usage)


class Mixed(Mixture):
    """Three members: a dear one, a cheap one, and one that spends nothing."""

    def __init__(self, **timing):
        dear, cheap, free = (Member(n, t, **timing) for n, t in (("dear", 90), ("cheap", 20), ("free", None)))
        super().__init__({"dear": dear, "cheap": cheap, "free": free})
        self._latency_s = dear._latency_s
        self.max_tokens = None

    @property
    def requested(self):
        return [key for member in self.members.values() for key in member.requested]


UCB = Arms(
    config=ArmsConfig(choice="ucb", half_life=3.0),
    arms=(Arm(name="dear"), Arm(name="cheap"), Arm(name="free", is_free=True)),
)


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


def shape(chains=1, steps=5, candidates=3, overlap=1, selector="rpucg"):
    return SearchConfig(chains=chains, steps=steps, candidates=candidates, overlap=overlap, selector=selector)


class Process:
    """One process that goes on with a run: every chain, from what is stored."""

    def __init__(
        self,
        problem,
        storage,
        run,
        search,
        *,
        model=None,
        budget=None,
        evaluations=None,
        owner=None,
        adviser=None,
    ):
        self.run, self.search, self.storage = run, search, storage
        self.rungs_at, self.adapt = (), AdaptConfig()
        self.arms = None
        self.model, self.selector = model or Model(), None
        counts = storage.counts(run)
        spent = Spent(evaluations=counts.evaluations, completion_tokens=counts.completion_tokens)
        self.ledger = Ledger(budget or Budget(), spent)
        self.journal = Journal(storage)
        self.judge = Judge(problem, self.model._latency_s and (lambda: self.model._latency_s(None)))
        self.progress = Progress(problem.direction, 0, search.chains)
        self._adviser = adviser
        self._problem, self._owner = problem, owner or secrets.token_hex(4)
        self._evaluations = evaluations or search.chains * search.steps * search.candidates

    @asynccontextmanager
    async def begun(self):
        """Its chains, replayed; the leases of the process before it are taken as that of a dead one."""
        storage, search, problem = self.storage, self.search, self._problem
        dead = [holder] if (holder := storage.holder(self.run)) else []
        numbers = [SHARED_CHAIN, *range(search.chains)]
        leases = storage.acquire(self.run, numbers, self._owner, 60, dead=dead)
        assert len(leases) == len(numbers)
        initial = Candidate(key=INITIAL, source=problem.initial, parents=(), created_at=datetime.now(UTC))
        evaluation = judged(problem, initial)
        if storage.candidate(self.run, INITIAL) is None:
            await self.journal.append(leases[0], initial, evaluation)
        outage = Outage(self.model.ready, notify)
        ports = Ports(
            run=self.run,
            problem=problem,
            search=search,
            overlap=search.overlap,
            seed=5,
            storage=storage,
            journal=self.journal,
            generator=self.model,
            selector=self.selector
            or make_selector(
                search.selector,
                problem.direction,
                {},
                features=problem.settings.features,
                objectives=problem.settings.objectives,
                overlap=search.overlap,
            ),
            evaluator=self.judge,
            ledger=self.ledger,
            gate=GenerationGate(1000),
            outage=outage,
            best=BestKeeper(
                self.run,
                storage,
                self.judge,
                self.journal,
                leases[0],
                self.ledger,
                self.progress,
                best_announced(storage.announcements(self.run), problem.direction),
            ),
            progress=self.progress,
            adapt=self.adapt,
            arms=self.arms,
            adviser=self._adviser(self) if self._adviser else None,
        )
        spent = {s.chain: s.evaluations for s in storage.chain_summaries(self.run)}
        rungs = Rungs(
            self.rungs_at,
            0.5,
            problem.direction,
            total=self._evaluations,
            spent=[spent.get(c, 0) for c in range(search.chains)],
        )
        barrier = Barrier(
            rungs,
            self.progress,
            held=lambda: range(search.chains),
            look=lambda chain: (),
            course=lambda: Course(problem.direction, search.overlap, None),
            ends=lambda: None,
            notice=notify,
        )
        chains = [Chain(ports, lease, barrier) for lease in leases[1:]]
        try:
            for chain in chains:
                chain.replay(initial, evaluation)
            for chain in chains:
                chain.recall()
            yield chains
        finally:
            await outage.close()
            await self.journal.close()

    async def work(self, runner=OpenStep.complete):
        """Run all chains to their end; why each ended, or what it raised."""
        async with self.begun() as chains:
            return await asyncio.gather(*(chain.run(runner) for chain in chains), return_exceptions=True)


async def notify(reason):
    pass


def a_run(problem, storage):
    record = new_run(problem, RunConfig(problem="climb"))
    storage.create_run(record)
    return record.id


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def stored(storage, run, chains):
    """Everything about a run that timing must not change."""
    found = []
    for chain in range(chains):
        for step in storage.committed_steps(run, chain):
            whole = storage.step(run, chain, step.step)
            found.append(
                (
                    step,
                    whole.prompt.messages,
                    dataclasses.replace(whole.step, planned_at=None, committed_at=None),
                    [(candidate.source, candidate.warm_start) for candidate in whole.candidates.values()],
                )
            )
    return found


def check_what_was_given(storage, run, search):
    """Programs were given the artifact of the oldest of the best that the step might know of, where it has one."""
    for chain in range(search.chains):
        led = {0: (INITIAL, 0.0)}
        leader = led[0]
        for step in storage.committed_steps(run, chain):
            whole = storage.step(run, chain, step.step)
            key, score = led[max(0, step.step - 1 - search.overlap)]
            given = key if score % 3 else None
            assert stored_warm_start(whole.step.selection) == given
            assert {candidate.warm_start for candidate in whole.candidates.values()} <= {given}
            for outcome in step.outcomes:
                if outcome.score is not None and outcome.score > leader[1]:
                    leader = (outcome.key, outcome.score)
            led[step.step] = leader


def check_what_was_seen(storage, run, search):
    """Each step was planned from the committed steps up to its number - 1 - overlap, and from no other."""
    for chain in range(search.chains):
        scores = {0: 0.0}
        trails = {}
        trail = Trail(Direction.MAXIMIZE)
        trail.observe(committed_step(chain, 0, (), [0.0]))
        for step in storage.committed_steps(run, chain):
            trails[step.step - 1] = trail.keys()
            trail.observe(step)
            record = storage.step(run, chain, step.step).step
            last = step.step - 1 - search.overlap
            assert all(key == INITIAL or key.step <= last for key in record.parents)
            assert stored_trail(record.selection) == trails[max(0, last)]
            assert record.best_before == max(
                score for number, score in scores.items() if number <= last or not number
            )
            scores[step.step] = max([o.score for o in step.outcomes if o.score is not None], default=0.0)
            assert record.best_after == max(scores.values())


@settings(max_examples=settings.default.max_examples // 3)
@given(
    overlap=st.integers(0, 3),
    selector=st.sampled_from(selector_names()),
    evaluations=st.integers(1, 26),
    cuts=st.lists(st.integers(1, 50), max_size=3),
    timing=st.integers(0, 10**6),
    warm_start=st.booleans(),
)
def test_neither_timing_nor_the_end_of_processes_changes_a_run(
    problem, storage, overlap, selector, evaluations, cuts, timing, warm_start
):
    search = shape(chains=2, overlap=overlap, selector=selector)
    problem = dataclasses.replace(
        problem, settings=dataclasses.replace(problem.settings, warm_start=warm_start)
    )

    async def undisturbed():
        run = a_run(problem, storage)
        reasons = await Process(problem, storage, run, search, evaluations=evaluations).work()
        assert all(isinstance(reason, str) for reason in reasons), reasons
        return stored(storage, run, 2)

    async def in_pieces():
        run = a_run(problem, storage)
        for place, cut in enumerate([*cuts, None]):
            model = Model(**at_random(timing + place))
            seen_by = storage if cut is None else Dying(storage, cut)
            completions = storage.counts(run).completions
            process = Process(problem, seen_by, run, search, model=model, evaluations=evaluations)
            try:
                ended = await process.work()
            except StorageError:
                assert cut is not None
        assert all(isinstance(reason, str) for reason in ended), ended
        assert len(model.requested) == evaluations - completions, "a stored completion was generated again"
        assert storage.open_steps(run, 0) == storage.open_steps(run, 1) == []
        assert storage.counts(run).evaluations == evaluations
        check_what_was_seen(storage, run, search)
        if warm_start:
            check_what_was_given(storage, run, search)
        return stored(storage, run, 2)

    assert asyncio.run(in_pieces()) == asyncio.run(undisturbed())


@settings(max_examples=settings.default.max_examples // 5)
@given(
    overlap=st.integers(0, 3),
    evaluations=st.integers(1, 34),
    patience=st.one_of(st.none(), st.integers(1, 3)),
    cuts=st.lists(st.integers(1, 70), max_size=3),
    timing=st.integers(0, 10**6),
)
def test_who_makes_what_depends_on_neither_timing_nor_the_end_of_processes(
    problem, storage, overlap, evaluations, patience, cuts, timing
):
    search = shape(chains=2, steps=6, overlap=overlap)

    def selector():
        def make():
            return make_selector("rpucg", problem.direction, {})

        return make() if patience is None else Restarting(make, patience, problem.direction)

    async def worked(run, seen_by, model):
        process = Process(problem, seen_by, run, search, model=model, evaluations=evaluations)
        process.arms, process.selector = UCB, selector()
        return await process.work()

    async def undisturbed():
        run = a_run(problem, storage)
        await worked(run, storage, Mixed())
        return stored(storage, run, 2)

    async def in_pieces():
        run = a_run(problem, storage)
        for place, cut in enumerate([*cuts, None]):
            model = Mixed(**at_random(timing + place))
            try:
                ended = await worked(run, storage if cut is None else Dying(storage, cut), model)
            except StorageError:
                assert cut is not None
        assert all(isinstance(reason, str) for reason in ended), ended
        assert storage.counts(run).evaluations == evaluations
        return run, stored(storage, run, 2)

    run, found = asyncio.run(in_pieces())
    assert found == asyncio.run(undisturbed())
    for step, _, record, _ in found:
        names = record.selection["generators"]
        assert len(names) == search.candidates
        made = storage.step(run, step.chain, step.step).completions
        assert {i: c.model.model for i, c in made.items()} == {i: names[i] for i in made}


@pytest.mark.parametrize("overlap", [0, 1, 3])
async def test_a_step_is_planned_from_its_own_island_whatever_the_overlap(problem, storage, overlap):
    run = a_run(problem, storage)
    search = shape(steps=24, candidates=2, overlap=overlap, selector="islands")
    assert await Process(problem, storage, run, search).work() == ["all steps taken"]
    shown = set()
    for step in storage.committed_steps(run, 0):
        island = storage.step(run, 0, step.step).step.selection["values"]["island"]
        assert island == (step.step % 4 if step.step > overlap + 1 else None)
        assert all(key == INITIAL or key.step % 4 == step.step % 4 for key in step.parents)
        shown.update(step.parents)
    assert {key.step % 4 for key in shown - {INITIAL}} == {0, 1, 2, 3}


class Halving(Process):
    """One whose chains are pruned at rungs, and begin anew or end when nothing improves."""

    def __init__(self, *args, rungs_at=(6, 12), adapt=None, **options):
        super().__init__(*args, **options)
        self.rungs_at, self.adapt = rungs_at, adapt or AdaptConfig()
        make = partial(make_selector, self.search.selector, self._problem.direction, {})
        if self.adapt.restarts_after is not None:
            self.selector = Restarting(make, self.adapt.restarts_after, self._problem.direction)

    async def work(self, runner=OpenStep.complete):
        """As a run does: the first chain that fails ends the others, which may wait for it."""
        async with self.begun() as chains:
            tasks = [asyncio.create_task(chain.run(runner)) for chain in chains]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [e for e in ended if isinstance(e, Exception)]
        if failed:
            raise failed[0]
        return ended


def uneven(key, request):
    """As ``climb``, but each chain climbs at a pace of its own, and all get stuck now and then."""
    base = number_in(request.parents[0].source)
    if key.index == 2 and key.step % 2:
        return f"def solve():\n    return {-key.step}\n"
    pace = (key.chain * 5 + 2) % 4 if key.step % 5 < 3 else 0
    return f"def solve():\n    return {max(base + pace - key.index, 0)}\n"


@settings(max_examples=settings.default.max_examples // 6)
@given(
    overlap=st.integers(0, 2),
    on_stall=st.sampled_from([None, "restart", "stop"]),
    cuts=st.lists(st.integers(1, 40), max_size=2),
    timing=st.integers(0, 10**6),
)
def test_who_is_pruned_depends_on_neither_timing_nor_the_end_of_processes(
    problem, storage, overlap, on_stall, cuts, timing
):
    search = shape(chains=3, steps=5, candidates=2, overlap=overlap)
    adapt = AdaptConfig(patience=2, on_stall=on_stall) if on_stall else AdaptConfig()

    async def played(cuts, timings):
        run = a_run(problem, storage)
        for cut, delays in zip([*cuts, None], timings, strict=True):
            model = Model(uneven, **delays)
            process = Halving(
                problem,
                storage if cut is None else Dying(storage, cut),
                run,
                search,
                model=model,
                adapt=adapt,
                rungs_at=(4, 8),
            )
            try:
                ended = await process.work()
            except StorageError:
                assert cut is not None
        assert all(isinstance(reason, str) for reason in ended), ended
        spent = [s.evaluations for s in storage.chain_summaries(run)]
        assert sum(spent) == 30 or (on_stall == "stop" and sum(spent) < 30)
        return ended, [vars_of(chain) for chain in process.progress.chains], spent, stored(storage, run, 3)

    def vars_of(chain):
        return chain.steps, chain.best, chain.restarts, chain.pruned_at, chain.end

    whole = asyncio.run(played([], [{}]))
    assert on_stall == "stop" or sum("pruned" in reason for reason in whole[0]) == 2
    pieces = asyncio.run(played(cuts, [at_random(timing + place) for place in range(len(cuts) + 1)]))
    assert pieces == whole


async def test_chains_wait_at_a_rung_and_the_worst_leave_their_evaluations_to_the_others(problem, storage):
    search = shape(chains=2, steps=4, overlap=0)
    model = Model(uneven)
    model.hold((1, 2, 0))
    run = a_run(problem, storage)
    process = Halving(problem, storage, run, search, model=model, rungs_at=(6,))
    task = asyncio.create_task(process.work())
    await until(lambda: process.progress.chains[0].waits_at == 1)
    await asyncio.sleep(0.02)
    assert storage.chain_summaries(run)[0].evaluations == 6
    model.let_go()
    assert await task == ["pruned at rung 1 of 1", "all steps taken"]
    assert [s.evaluations for s in storage.chain_summaries(run)] == [6, 18]
    assert process.progress.chains[0].end == "pruned at rung 1 of 1"


async def test_nothing_is_decided_without_a_chain_that_the_budget_stopped(problem, storage):
    """The tokens are spent before chain 1 comes to the rung: chain 0 stops there, and both go on with more."""
    search = shape(chains=2, steps=4, overlap=0)
    run, model = a_run(problem, storage), Model(uneven)
    model.hold((1, 1, 0))
    process = Halving(problem, storage, run, search, model=model, rungs_at=(6,), budget=Budget(max_tokens=95))
    task = asyncio.create_task(process.work())
    await until(lambda: process.progress.chains[0].waits_at == 1)
    model.let_go()
    ended = await task
    assert all(reason.startswith("token budget of 95 spent") for reason in ended), ended
    assert [s.evaluations for s in storage.chain_summaries(run)] == [6, 3]
    again = Halving(problem, storage, run, search, model=Model(uneven), rungs_at=(6,))
    assert await again.work() == ["pruned at rung 1 of 1", "all steps taken"]
    whole = a_run(problem, storage)
    await Halving(problem, storage, whole, search, model=Model(uneven), rungs_at=(6,)).work()
    assert stored(storage, run, 2) == stored(storage, whole, 2)


async def test_the_next_step_goes_ahead_and_is_committed_in_its_turn(problem, storage):
    """Step 1 waits for its last completion; step 2 is there before it; step 3 waits for step 1."""
    search = shape()
    model = Model()
    model.hold((0, 1, 0))
    run = a_run(problem, storage)
    process = Process(problem, storage, run, search, model=model)
    task = asyncio.create_task(process.work())
    await until(lambda: storage.counts(run).evaluations == 5)
    await asyncio.sleep(0.02)
    assert [step.step.step for step in storage.open_steps(run, 0)] == [1, 2]
    assert {key.step for key in model.requested} == {1, 2}
    # Whoever watches sees what is found at once.
    assert process.progress.evaluations == 5
    assert process.progress.chains[0].best == max(
        e.score.value for s in storage.open_steps(run, 0) for e in s.evaluations.values() if e.score
    )
    model.let_go()
    await task
    committed = [storage.step(run, 0, number).step.committed_at for number in range(1, 6)]
    assert committed == sorted(committed)
    check_what_was_seen(storage, run, search)


@pytest.mark.parametrize("overlap", [0, 1, 3])
async def test_so_many_steps_are_open_and_no_more(problem, storage, overlap):
    states = []

    class Watched(Dying):
        def append(self, writes):
            states.extend(r.state for w in writes for r in w.records if isinstance(r, Step))
            return super().append(writes)

    model, run = Model(**at_random(3)), a_run(problem, storage)
    seen_by = Watched(storage, 10**6)
    process = Process(problem, seen_by, run, shape(steps=8, overlap=overlap), model=model)
    assert await process.work() == ["all steps taken"]
    opened = [1 if state is StepState.PLANNED else -1 for state in states]
    assert max(sum(opened[:place]) for place in range(len(opened) + 1)) == overlap + 1


async def test_a_deepened_run_sees_what_it_would_have_seen_at_once(problem, storage):
    """All of its steps are committed by the time that the next one is planned: what is too late is held back."""
    search = shape(overlap=2)
    whole, run = a_run(problem, storage), a_run(problem, storage)
    await Process(problem, storage, whole, search).work()
    await Process(problem, storage, run, search, evaluations=9).work()
    await Process(problem, storage, run, search).work()
    check_what_was_seen(storage, run, search)
    assert stored(storage, run, 1) == stored(storage, whole, 1)


async def test_a_step_that_was_admitted_late_sees_no_more_for_it(problem, storage):
    """Both steps before it are committed while it waits for the budget."""
    search, run, calls = shape(), a_run(problem, storage), []
    process = Process(problem, storage, run, search)
    admit = process.ledger.admit

    async def late(ahead):
        calls.append(ahead)
        if len(calls) == 3:
            await until(lambda: [s.step for s in storage.committed_steps(run, 0)] == [1, 2])
        return await admit(ahead)

    process.ledger.admit = late
    assert await process.work() == ["all steps taken"]
    check_what_was_seen(storage, run, search)


async def left_open(problem, storage, run, search, *missing):
    """A process that ended while it waited for these completions, all others of two steps being evaluated."""
    model = Model()
    model.hold(*missing)
    process = Process(problem, storage, run, search, model=model)
    task = asyncio.create_task(process.work())
    await until(lambda: storage.counts(run).evaluations == 2 * search.candidates - len(missing))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert model.active == 0
    assert [step.step.step for step in storage.open_steps(run, 0)] == [1, 2]


@pytest.mark.parametrize("overlap", [0, 1, 2])
async def test_all_open_steps_are_taken_up_even_with_another_overlap(problem, storage, overlap):
    run = a_run(problem, storage)
    await left_open(problem, storage, run, shape(), (0, 1, 0), (0, 2, 1))
    planned = [storage.step(run, 0, number).step for number in (1, 2)]
    model = Model()
    process = Process(problem, storage, run, shape(overlap=overlap), model=model)
    assert await process.work() == ["all steps taken"]
    again = [key for key in model.requested if key.step < 3]
    assert sorted(again) == [CandidateKey(0, 1, 0), CandidateKey(0, 2, 1)]
    now = [storage.step(run, 0, number).step for number in (1, 2)]
    assert [(s.parents, s.planned_at) for s in now] == [(s.parents, s.planned_at) for s in planned]
    assert len(model.requested) == 15 - 4
    assert storage.counts(run).evaluations == process.progress.evaluations == 15
    assert process.ledger.spent.evaluations == 15
    assert process.ledger.spent.completion_tokens == 150


@pytest.mark.parametrize(
    ("missing", "evaluations", "sizes"),
    [
        ([(0, 1, 0), (0, 1, 2), (0, 2, 1)], 3, [1, 2]),
        ([(0, 1, 0), (0, 1, 2), (0, 2, 1)], 4, [2, 2]),
        ([(0, 1, 0), (0, 1, 2), (0, 2, 1)], 6, [3, 3]),
        ([(0, 1, 0), (0, 1, 2), (0, 2, 1)], 8, [3, 3, 2]),
        ([(0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 2, 1)], 2, []),
        ([(0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 2, 1)], 3, [1, 2]),
    ],
)
async def test_a_smaller_budget_is_divided_among_open_steps_to_the_unit(
    problem, storage, missing, evaluations, sizes
):
    run = a_run(problem, storage)
    await left_open(problem, storage, run, shape(), *missing)
    process = Process(problem, storage, run, shape(), evaluations=evaluations)
    (reason,) = await process.work()
    assert reason == "its evaluations are spent"
    assert [len(step.outcomes) for step in storage.committed_steps(run, 0)] == sizes
    assert storage.counts(run).evaluations == process.progress.evaluations == evaluations
    larger = Process(problem, storage, run, shape(), evaluations=14)
    await larger.work()
    assert storage.counts(run).evaluations == 14
    assert storage.open_steps(run, 0) == []


@pytest.mark.parametrize("overlap", [1, 2, 3])
@pytest.mark.parametrize("evaluations", [1, 4, 7, 8])
async def test_the_last_steps_are_cut_to_what_is_left(problem, storage, evaluations, overlap):
    model = Model(**at_random(evaluations))
    run = a_run(problem, storage)
    process = Process(problem, storage, run, shape(overlap=overlap), model=model, evaluations=evaluations)
    assert await process.work() == ["its evaluations are spent"]
    sizes = [len(step.outcomes) for step in storage.committed_steps(run, 0)]
    assert sizes == [3] * (evaluations // 3) + [evaluations % 3] * (evaluations % 3 > 0)
    assert len(model.requested) == evaluations


def refused(key, request):
    if (key.step, key.index) == (2, 1):
        raise GeneratorRefused("cut here")
    return climb(key, request)


async def break_off(problem, storage, search, kind):
    """One of two open steps fails for good while the other waits for a completion; what is raised, and the run."""
    model = Model(refused if kind is GeneratorRefused else climb)
    model.hold((0, 1, 0))
    run = a_run(problem, storage)
    seen_by = Dying(storage, 10**6)
    process = Process(problem, seen_by, run, search, model=model, budget=Budget(max_tokens=10_000))
    if kind is SandboxError:
        process.judge.failures[CandidateKey(0, 2, 1)] = SandboxError("gone")
    async with process.begun() as (chain,):
        task = asyncio.create_task(chain.run(OpenStep.complete))
        if kind is StorageError:
            await until(lambda: storage.counts(run).evaluations == 5)
            seen_by._left = 0
            model.let_go()
        (error,) = await asyncio.gather(task, return_exceptions=True)
        assert model.active == 0
        assert nothing_is_reserved(process.ledger)
    return error, run


@pytest.mark.parametrize("kind", [GeneratorRefused, SandboxError, StorageError])
async def test_one_of_two_open_steps_fails_for_good(problem, storage, kind):
    search = shape()
    whole = a_run(problem, storage)
    await Process(problem, storage, whole, search).work()
    error, run = await asyncio.wait_for(break_off(problem, storage, search, kind), 10)
    assert type(error) is kind
    await Process(problem, storage, run, search).work()
    assert stored(storage, run, 1) == stored(storage, whole, 1)


async def test_a_failed_attempt_of_one_step_disturbs_no_other(problem, storage):
    search = shape()
    whole = a_run(problem, storage)
    await Process(problem, storage, whole, search).work()
    model, attempts = Model(), []
    model.hold((0, 2, 2))
    run = a_run(problem, storage)
    process = Process(problem, storage, run, search, model=model)
    process.judge.failures[CandidateKey(0, 1, 1)] = SandboxError("gone")

    async def tries(step):
        attempts.append(step.number)
        try:
            await step.complete()
        except SandboxError:
            model.let_go()
            attempts.append(step.number)
            await step.complete()

    assert await process.work(tries) == ["all steps taken"]
    assert sorted(attempts) == [1, 1, 2, 3, 4, 5]
    assert len([key for key in model.requested if key.step == 2]) == 3
    assert stored(storage, run, 1) == stored(storage, whole, 1)
    assert process.progress.evaluations == 15
    assert process.ledger.spent.completion_tokens == 150


def nothing_is_reserved(ledger):
    left = ledger.budget.max_tokens - ledger.spent.completion_tokens
    return ledger.stop_reason(Tokens(completion=left)) is None


async def test_a_failed_attempt_reserves_nothing_while_it_waits_for_another(problem, storage):
    model = Model()
    model.hold((0, 1, 2))
    run = a_run(problem, storage)
    budget = Budget(max_tokens=10_000)
    process = Process(problem, storage, run, shape(steps=2, overlap=0), model=model, budget=budget)
    process.judge.failures[CandidateKey(0, 1, 1)] = SandboxError("gone")

    async def tries(step):
        try:
            await step.complete()
        except SandboxError:
            assert nothing_is_reserved(process.ledger)
            model.let_go()
            await step.complete()

    assert await asyncio.wait_for(process.work(tries), 10) == ["all steps taken"]


async def test_a_lost_lease_ends_all_open_steps(problem, storage):
    model = Model()
    model.hold((0, 1, 0), (0, 2, 1))
    run = a_run(problem, storage)
    process = Process(problem, storage, run, shape(), model=model, owner="first")
    task = asyncio.create_task(process.work())
    await until(lambda: storage.counts(run).evaluations == 4)
    assert storage.acquire(run, [0], "second", 60, dead=["first"])
    model.held[CandidateKey(0, 2, 1)].set()
    (error,) = await asyncio.wait_for(task, 10)
    assert type(error) is LeaseLost
    assert model.active == 0
    assert storage.counts(run).completions == 4


async def test_open_steps_cannot_spend_the_same_tokens(problem, storage):
    model = Model()
    model.max_tokens = 10
    run = a_run(problem, storage)
    process = Process(problem, storage, run, shape(candidates=2), model=model, budget=Budget(max_tokens=50))
    (reason,) = await asyncio.wait_for(process.work(), 10)
    assert reason == "token budget of 50 spent"
    assert process.ledger.spent.completion_tokens == 40


async def test_a_step_waits_for_the_tokens_of_the_one_before_and_then_goes_ahead(problem, storage):
    model = Model()
    model.max_tokens = 100
    model.hold((0, 1, 0))
    run = a_run(problem, storage)
    budget = Budget(max_tokens=250)
    process = Process(problem, storage, run, shape(steps=4, candidates=2), model=model, budget=budget)
    task = asyncio.create_task(process.work())
    # One completion shows that 10 are enough, so that only the first of step 1 has to be waited for.
    await until(lambda: storage.counts(run).evaluations == 3)
    assert [step.step.step for step in storage.open_steps(run, 0)] == [1, 2]
    model.let_go()
    assert await asyncio.wait_for(task, 10) == ["all steps taken"]
    assert process.ledger.spent.completion_tokens == 80


async def test_the_target_opens_no_step_more_and_finishes_the_open_ones(problem, storage):
    run = a_run(problem, storage)
    model = Model()
    model.hold((0, 2, 1))
    process = Process(problem, storage, run, shape(steps=50), model=model, budget=Budget(until=1.0))
    task = asyncio.create_task(process.work())
    await until(lambda: [s.step for s in storage.committed_steps(run, 0)] == [1])
    model.let_go()
    assert await asyncio.wait_for(task, 10) == ["target score reached"]
    assert storage.open_steps(run, 0) == []
    assert [len(step.outcomes) for step in storage.committed_steps(run, 0)] == [3, 3]


async def test_a_selector_is_told_the_metrics_it_asks_for_live_and_on_replay(problem, storage):
    class Curious(BestOfN):
        metrics = ("half", "name", "absent")

        def __init__(self, seen):
            super().__init__(problem.direction)
            self.seen = seen

        def observe(self, step):
            self.seen += step.outcomes
            super().observe(step)

    async def told(selector, steps):
        process = Process(problem, storage, run, shape(steps=steps, overlap=0))
        process.selector = selector
        await process.work()
        return selector.seen

    run = a_run(problem, storage)
    live = await told(Curious([]), 4)
    assert [o.metrics for o in live] == [{} if o.score is None else {"half": o.score / 2} for o in live]
    assert {o.metrics == {} for o in live} == {True, False}
    assert await told(Curious([]), 4) == live
    plain = BestOfN(problem.direction)
    plain.seen = []
    plain.observe = lambda step: [plain.seen.extend(step.outcomes), BestOfN.observe(plain, step)]
    assert {str(o.metrics) for o in await told(plain, 5)} == {"{}"}


async def test_nothing_of_committed_steps_is_kept(problem, storage):
    search, run = shape(steps=30, candidates=1, overlap=2), a_run(problem, storage)
    process = Process(problem, storage, run, search)
    steps, most = weakref.WeakSet(), []

    async def watched(step):
        steps.add(step)
        await step.complete()
        most.append(len(steps))

    await process.work(watched)
    assert max(most) <= 3
    gc.collect()
    assert not steps
    async with Process(problem, storage, run, search).begun():
        gc.collect()
        kept = [o for o in gc.get_objects() if type(o) is CommittedStep]  # others' objects may act when asked
        assert len(kept) <= 2, "more is held back than may not be seen yet"


async def test_a_runner_that_does_not_complete_its_step_is_an_error(problem, storage):
    async def idle(step):
        pass

    model = Model()
    model.max_tokens = 10
    budget = Budget(max_tokens=10_000)
    process = Process(problem, storage, a_run(problem, storage), shape(), model=model, budget=budget)
    (error,) = await process.work(idle)
    assert isinstance(error, ValueError)
    assert "step 0.1 is not complete" in str(error)
    assert nothing_is_reserved(process.ledger)


def test_other_slots_on_resume_do_not_change_what_steps_see(problem):
    search = SearchConfig(chains=2, candidates=3)
    config = config_of(
        new_run(problem, RunConfig(problem="climb", search=search, slots=SlotsConfig(generation=6)))
    )
    assert dataclasses.replace(config, slots=SlotsConfig(generation=1)).overlap == 1

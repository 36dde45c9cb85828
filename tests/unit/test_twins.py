"""Equal programs: whose result holds for whom, stored and in flight, and in which order timing has it."""

import asyncio
import dataclasses
import hashlib
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.declared import Limits
from discovery.errors import StorageError
from discovery.evaluator import Evaluator
from discovery.form import form_of
from discovery.outcomes import duplicate
from discovery.plugins import load_problem
from discovery.records import (
    Candidate,
    CandidateKey,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    Score,
)
from discovery.sandbox.backends import make_backend
from discovery.sandbox.base import FunctionCall
from discovery.sandbox.frames import _seed
from discovery.testing.fakes import InProcessBackend
from discovery.twins import Twins

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLUGIN = """
from discovery import Score, Stage, problem

def first(program):
    return len(program.source) if "stage" in program.call("solve", timeout_s=1) else 1.0

@problem(name="toy", statement="s", initial="def solve():\\n    return 0.0\\n", SETTINGS)
def score(program):
    value = program.call("solve")
    if "read" in value:
        len(program.source)
    if "files" in value:
        program.files
    return Score(value=1.0, artifact={"b": value, "a": [1, 2.0]} if "none" not in value else None)
"""


def written(source, index, form="f" * 64, warm_start=None):
    key = CandidateKey(0, 1, index)
    return Candidate(key=key, source=source, parents=(), created_at=NOW, form=form, warm_start=warm_start)


def result(candidate, kind):
    found = {"key": candidate.key, "started_at": NOW, "finished_at": NOW}
    if kind == "fails":
        failure = Failure(kind=FailureKind.CRASHED, message=f"line of {candidate.source}")
        return Evaluation(state=EvaluationState.FAILED, failure=failure, **found)
    return Evaluation(
        state=EvaluationState.SCORED, score=Score(value=1.0), source_read=kind == "reads", **found
    )


class World:
    """Evaluates as the evaluator does, with programs that say by their first word what becomes of them."""

    def __init__(self, rng=None, stores=True):
        self.twins = Twins(self.find if stores else None)
        self.rng = rng
        self.scored, self.stored = [], {}

    def find(self, source_hash, warm_start, form):
        own = [
            e for c, e in self.stored.values() if (c.source_hash, c.warm_start) == (source_hash, warm_start)
        ]
        like = [
            e
            for c, e in self.stored.values()
            if (c.form, c.warm_start) == (form, warm_start)
            and form
            and e.score is not None
            and not e.source_read
        ]
        return next((e for e in (*own, *like) if e.duplicate_of is None), None)

    async def pause(self):
        await asyncio.sleep(self.rng.choice([0, 0, 0.0005, 0.002]) if self.rng else 0)

    async def evaluate(self, candidate):
        await self.pause()
        original = await self.twins.original(candidate)
        if original is not None:
            found = duplicate(candidate, original)
            await self.pause()
            self.stored[candidate.key] = candidate, found
            return found
        with self.twins.scoring(candidate) as tell:
            self.scored.append(candidate)
            await self.pause()
            found = result(candidate, candidate.source.split()[0])
            if candidate.source.endswith("unkept"):
                raise StorageError("full")
            self.stored[candidate.key] = candidate, found
            self.twins.kept(candidate, found)
            tell(found)
            return found


async def test_programs_of_one_form_wait_for_each_other_and_are_scored_once():
    world = World()
    found = await asyncio.gather(*(world.evaluate(written(f"is {i}", i)) for i in range(5)))
    assert [c.key.index for c in world.scored] == [0]
    assert [e.duplicate_of and e.duplicate_of.index for e in found] == [None, 0, 0, 0, 0]
    assert not world.twins._in_flight


@pytest.mark.parametrize("kind", ["fails", "reads"])
@pytest.mark.parametrize("later", [False, True])
async def test_what_failed_or_was_read_is_of_its_exact_source(kind, later):
    """Of five programs of one form two are one source, which is scored once; nobody waits for ever."""
    world = World()
    made = [written(f"{kind} {name}", i) for i, name in enumerate("abbca")]
    if later:
        found = [await world.evaluate(candidate) for candidate in made]
    else:
        found = await asyncio.wait_for(asyncio.gather(*map(world.evaluate, made)), 5)
    assert [c.source for c in world.scored] == [f"{kind} {name}" for name in "abc"]
    assert [e.duplicate_of and e.duplicate_of.index for e in found] == [None, None, 1, None, 0]
    if kind == "fails":
        assert [e.failure.message[-1] for e in found] == list("abbca")


async def test_a_result_that_was_not_kept_is_nobodys_and_the_next_one_is_scored():
    world = World()
    made = [written("is a unkept", 0), written("is b", 1), written("is c", 2)]
    found = await asyncio.gather(*map(world.evaluate, made), return_exceptions=True)
    assert isinstance(found[0], StorageError)
    assert [e.duplicate_of and e.duplicate_of.index for e in found[1:]] == [None, 1]


async def test_another_warm_start_or_no_form_is_another_program():
    world = World()
    made = [
        written("is a", 0),
        written("is b", 1, warm_start=CandidateKey(0, 1, 9)),
        written("is c", 2, form=None),
        written("is d", 3, form=None),
        written("is e", 4, form="0" * 64),
    ]
    await asyncio.gather(*map(world.evaluate, made))
    assert len(world.scored) == 5


@given(
    drawn=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["is", "fails", "reads"]), st.integers(0, 2)),
        min_size=1,
        max_size=12,
    ),
    timing=st.integers(0, 99),
    split=st.integers(0, 12),
)
def test_whatever_the_timing_results_are_the_same_and_each_is_made_once(drawn, timing, split):
    """Even when a process ends in the midst: the next one finds what is stored."""

    def made():
        # What becomes of a program is of its form: it is one program.
        fate = {}
        for i, (form, kind, name) in enumerate(drawn):
            kind = fate.setdefault(form, kind)
            yield written(f"{kind} {form}{name}", i, form * 64)

    def told(found):
        return [(e.key, e.score, e.source_read, e.failure and e.failure.message) for e in found]

    async def apart():
        return [result(candidate, candidate.source.split()[0]) for candidate in made()]

    async def together():
        world = World(random.Random(timing))
        early = list(made())[:split]
        found = list(await asyncio.gather(*map(world.evaluate, early)))
        resumed = World(random.Random(timing + 1))
        resumed.stored, resumed.scored = world.stored, world.scored
        for candidate, evaluation in world.stored.values():
            resumed.twins.kept(candidate, evaluation)
        found += await asyncio.gather(*map(resumed.evaluate, list(made())[split:]))
        sources = [c.source for c in world.scored]
        assert len(set(sources)) == len(sources)
        shared = [c.form for c in world.scored if c.source.startswith("is")]
        assert len(set(shared)) == len(shared)
        return found

    assert told(asyncio.run(together())) == told(asyncio.run(apart()))


@pytest.fixture
def toy(tmp_path):
    def load(settings="bounds=(None, None)"):
        (tmp_path / "toy.py").write_text(PLUGIN.replace("SETTINGS", settings))
        return load_problem(str(tmp_path / "toy.py"))

    return load


async def evaluated(problem, *sources, knows_solutions=True):
    evaluator = Evaluator(problem, InProcessBackend(), slots=3, knows_solutions=knows_solutions)
    await evaluator.start()
    try:
        made = [
            dataclasses.replace(written(source, i), form=form_of(problem, source))
            for i, source in enumerate(sources)
        ]
        return await asyncio.gather(*map(evaluator.evaluate, made))
    finally:
        await evaluator.close()


def solving(value, note=""):
    return f"def solve():{note}\n    return {value!r}\n"


async def test_the_scorers_process_says_what_was_read(toy):
    found = await evaluated(
        toy(), solving("plain"), solving("read"), solving("files"), solving("plain", "  # x")
    )
    assert [e.source_read for e in found] == [False, True, True, False]
    assert [e.duplicate_of for e in found] == [None, None, None, found[0].key]
    again = await evaluated(toy(), solving("read"), solving("read", "  # x"), solving("read", "  # x"))
    assert [e.duplicate_of for e in again] == [None, None, again[1].key]


async def test_what_a_stage_reads_counts_as_well(toy):
    staged = toy("stages=[Stage(first, least=0.5)]")
    found = await evaluated(staged, solving("plain"), solving("stage"), solving("stage", "  # x"))
    assert [(e.source_read, e.duplicate_of) for e in found] == [(False, None), (True, None), (True, None)]


async def test_solutions_are_known_by_their_artifacts(toy):
    made = [
        solving("one"),
        "x = 1\n" + solving("one"),
        solving("two"),
        solving("none"),
        "def solve():\n    return 1 / 0\n",
    ]
    one, same, two, none, failed = (e.solution for e in await evaluated(toy(), *made))
    assert one == same != two
    assert len(one) == 64
    assert none is failed is None
    assert [e.solution for e in await evaluated(toy(), made[0], knows_solutions=False)] == [None]
    assert [e.solution for e in await evaluated(toy("deterministic=False"), made[0])] == [None]


DRAWS = "import random\ndef solve():\n    return random.random()\n"


async def test_what_a_twin_draws_is_what_the_original_drew_and_what_an_audit_draws(tmp_path):
    """A candidate of a run that went by sources, which has no form, draws what it drew then."""
    (tmp_path / "draw.py").write_text(
        "from discovery import problem\n"
        "@problem(name='draw', statement='s', initial='def solve():\\n    return 0.0\\n')\n"
        "def score(program):\n    return program.call('solve')\n"
    )
    problem = load_problem(str(tmp_path / "draw.py"))
    evaluator = Evaluator(problem, make_backend("process"), slots=1)
    await evaluator.start()
    try:
        one, other = written(DRAWS, 0), written(f"# a note\n{DRAWS}", 1)
        one, other = (dataclasses.replace(c, form=form_of(problem, c.source)) for c in (one, other))
        first, twin = await asyncio.gather(evaluator.evaluate(one), evaluator.evaluate(other))
        audits = [await evaluator.rescore(candidate) for candidate in (one, other)]
        old = [await evaluator.rescore(dataclasses.replace(c, form=None)) for c in (one, other)]
    finally:
        await evaluator.close()
    assert {e.score.value for e in (first, *audits)} == {first.score.value}
    assert (twin.duplicate_of, twin.score) == (one.key, first.score)
    assert len({e.score.value for e in (first, *old)}) == 3


def test_seeds_of_candidates_without_a_form_are_those_of_earlier_versions():
    def seed(**options):
        call = FunctionCall(source="x", function="f", arguments=b"[]", limits=Limits(), **options)
        return _seed(b"x", call)

    def digest(*parts):
        return int.from_bytes(hashlib.blake2b(b"".join(parts), digest_size=8).digest(), "big")

    assert seed() == digest(b"x", b"f", b"[]")
    assert seed(files={"a.py": "1"}) == digest(b"x", b"f", b"[]", b"a.py", b"1")
    assert seed(files={"a.py": "1"}, seeded_by="f" * 64) == digest(b"f" * 64, b"f", b"[]")

"""What a selector observes in the test bed's loop is what it observes in a run: the real chains, real storage."""

import dataclasses
import re

import pytest

from discovery.config import RunConfig, SearchConfig
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.records import Direction, FailureKind
from discovery.run import Run, new_run
from discovery.selection import make_selector
from discovery.storage import open_storage
from discovery.testbed import Ability, Shape, SimulatedGenerator, make_landscape, play
from discovery.testing.fakes import InProcessBackend, ScriptedGenerator

PLUGIN = """
from discovery import problem
from discovery.testbed import make_landscape

LANDSCAPE = make_landscape("deceptive")

@problem(name="bed", statement="Climb.", initial=LANDSCAPE.space.text(LANDSCAPE.initial))
def score(program):
    return LANDSCAPE.worth(tuple(program.call("solve")))
"""

ABILITY = Ability()
SEED = 5


class Recording:
    """A selector that notes what it observes."""

    metrics = ()

    def __init__(self, name):
        self._selector = make_selector(name, Direction.MAXIMIZE)
        self.name, self.params = self._selector.name, self._selector.params
        self.choose = self._selector.choose
        self.observed = []

    def observe(self, step):
        self.observed.append(plain(step))
        self._selector.observe(step)

    def of(self, chain):
        return [step for step in self.observed if step.chain == chain]


def plain(step):
    """A step without what the run knows better: how a failure is worded, and which chain had a program first."""
    outcomes = []
    for o in step.outcomes:
        kind = None if o.failure is None else FailureKind.NO_PROGRAM
        program_hash = None if kind else o.program_hash
        outcomes.append(
            dataclasses.replace(o, failure=kind, message=None, duplicate_of=None, program_hash=program_hash)
        )
    return dataclasses.replace(step, outcomes=tuple(outcomes))


def answers(landscape):
    """The simulated generator's proposals as completions."""
    generator = SimulatedGenerator(landscape, ABILITY, SEED)

    def answer(key, request):
        shown = [tuple(map(float, re.findall(r"-?\d+", parent.source))) for parent in request.parents]
        proposal = generator.propose(key, shown)
        return landscape.space.text(proposal.solution) if proposal.solution else "I cannot think of any."

    return answer


@pytest.mark.parametrize(("name", "overlap"), [("rpucg", 0), ("rpucg", 2), ("balance", 1)])
async def test_a_selector_observes_in_the_loop_what_it_observes_in_a_run(tmp_path, name, overlap):
    path = tmp_path / "bed.py"
    path.write_text(PLUGIN)
    problem, landscape = load_problem(str(path)), make_landscape("deceptive")
    live, played = Recording(name), Recording(name)
    search = SearchConfig(
        duplicates="source", chains=2, steps=12, candidates=3, selector=name, overlap=overlap
    )
    config = RunConfig(problem=str(path), seed=SEED, search=search)
    storage = open_storage(str(tmp_path / "runs.db"))
    record = new_run(problem, config)
    evaluator = Evaluator(
        problem,
        InProcessBackend(),
        slots=2,
        find_source=lambda *place: storage.find_source(record.id, *place),
    )
    await evaluator.start()
    try:
        generator = ScriptedGenerator(answers(landscape))
        run = Run(
            record,
            config,
            problem,
            storage,
            generator=generator,
            selector=live,
            evaluator=evaluator,
            is_new=True,
        )
        await run.execute()
    finally:
        await evaluator.close()
        storage.close()
    shape = Shape(chains=2, steps=12, candidates=3, parents=search.parents, overlap=overlap)
    play(landscape, played, shape=shape, ability=ABILITY, seed=SEED)
    for chain in range(2):
        assert live.of(chain) == played.of(chain)
        assert len(live.of(chain)) == 13 - overlap
    outcomes = [o for step in played.observed for o in step.outcomes]
    assert any(o.failure for o in outcomes)
    assert len({o.score for o in outcomes}) > 10

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from discovery import launch
from discovery.config import (
    AdaptConfig,
    GeneratorConfig,
    PromptConfig,
    RunConfig,
    SearchConfig,
    SlotsConfig,
    to_dict,
)
from discovery.errors import ConfigError, InsufficientIsolation
from discovery.plugins import load_problem
from discovery.records import Direction, RunStatus
from discovery.storage import open_storage
from discovery.storage.base import RunRecord
from discovery.testing.fakes import InProcessBackend


async def test_a_url_with_credentials_is_not_stored_and_not_repeated(tmp_path):
    url = "http://me:hunter2@models.example:8000/v1"
    generator = GeneratorConfig(kind="openai", base_url=("http://127.0.0.1:8000/v1", url))
    config = RunConfig(problem="constants-10", generator=generator)
    storage = open_storage(str(tmp_path / "runs.db"))
    with pytest.raises(ConfigError, match=r"server models\.example:8000 .* OPENAI_BASE_URL") as caught:
        async with launch.started(config, storage, InProcessBackend()):
            pytest.fail("it started")
    storage.close()
    assert "hunter2" not in str(caught.value)


def test_a_stored_configuration_is_changed_only_where_something_was_given():
    config = RunConfig(problem="x", slots=SlotsConfig(generation=3, evaluation=2))
    record = RunRecord(
        id="x",
        problem="x",
        problem_path="/x.py",
        problem_version="v",
        direction=Direction.MAXIMIZE,
        config=to_dict(config),
        status=RunStatus.STOPPED,
        created_at=datetime.now(UTC),
    )
    changed = launch.overridden(record, slots={"evaluation": 5, "generation": None}, budget={"until": None})
    assert changed == replace(config, slots=SlotsConfig(generation=3, evaluation=5))


async def test_a_problem_may_require_what_a_sandbox_does_not_hold(tmp_path):
    (tmp_path / "toy.py").write_text(
        "from discovery import problem\n"
        "@problem(name='toy', statement='x', initial='def solve():\\n    return 0.0\\n', isolation='no_network')\n"
        "def score(program):\n    return program.call('solve')\n"
    )
    toy = load_problem(str(tmp_path / "toy.py"))
    with pytest.raises(InsufficientIsolation, match="'in-process' does not hold here: no_network; "):
        async with launch.evaluator_for(toy, InProcessBackend()):
            pytest.fail("it was let through")
    with pytest.raises(ConfigError, match="unknown isolation 'quiet'"):
        async with launch.evaluator_for(toy, InProcessBackend(), require=("quiet",)):
            pytest.fail("it was let through")


def test_rungs_that_a_run_never_comes_to_are_refused():
    search = SearchConfig(chains=4, steps=10, candidates=2)
    for at, says in (
        ((21,), "84 evaluations to bring 4 chains to rung 1, of 80"),
        ((8, 33), "82 evaluations to bring 2 chains to rung 2, of 80"),
    ):
        config = RunConfig(problem="constants-10", search=search, adapt=AdaptConfig(rungs=len(at), at=at))
        with pytest.raises(ConfigError, match=says):
            launch.checked(config)
    last = AdaptConfig(rungs=2, at=(8, 32))
    assert launch.checked(RunConfig(problem="constants-10", search=search, adapt=last)).rungs_at == (8, 32)


def test_a_template_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "words.md"
    path.write_text("<!-- user -->\n${parents}\n\n${request}\n", encoding="utf-8-sig")
    config = RunConfig(problem="constants-10", prompt=PromptConfig(template=str(path)))
    assert launch.checked(config).prompt.template_text.startswith("<!-- user -->")

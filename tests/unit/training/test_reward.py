import asyncio
import threading
from types import SimpleNamespace

import pytest

from discovery.errors import MissingComponent, SandboxError, UsageError
from discovery.plugins import load_problem
from discovery.testing.fakes import InProcessBackend
from discovery.training.reward import LiveReward, with_floor

PLUGIN = """
from discovery import Invalid, problem

@problem(name="{name}", statement="Return a number.", initial="def solve():\\n    return 0.0\\n",
         direction="{direction}", bounds=(None, None))
def score(program):
    value = program.call("solve")
    if value == "bad":
        raise Invalid("it is bad")
    return value
"""


@pytest.fixture
def problems(tmp_path):
    for name, direction in (("up", "maximize"), ("down", "minimize")):
        (tmp_path / f"{name}.py").write_text(PLUGIN.format(name=name, direction=direction))
    return {name: str(tmp_path / f"{name}.py") for name in ("up", "down")}


def program(value):
    return f"```python\ndef solve():\n    return {value!r}\n```"


def said(value):
    return [{"role": "assistant", "thinking": program(100.0), "content": program(value)}]


def test_scores_go_through_the_direction_of_their_own_problem(problems):
    backend = InProcessBackend()
    with LiveReward(backend=backend, slots=2) as reward:
        paths = [problems["up"]] * 2 + [problems["down"]] * 2
        found = reward(["p"] * 4, [program(1.0), program(3.0), said(1.0), said(3.0)], problem_path=paths)
        assert found == [1.0, 3.0, -1.0, -3.0]
        assert reward(["p"], [program(7.0)], problem=[problems["up"]]) == [7.0]


def test_a_failure_is_below_the_worst_of_its_group_and_never_zero(problems):
    with LiveReward(backend=InProcessBackend(), slots=2) as reward:
        answers = [program(-5.0), program("bad"), program(-1.0), "no program", program("bad"), program(2.0)]
        prompts = [[{"role": "user", "content": "a"}]] * 4 + [[{"role": "user", "content": "b"}]] * 2
        found = reward(prompts, answers, problem_path=[problems["up"]] * 6)
        assert found == [-5.0, -9.0, -1.0, -9.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("scores", "floored"),
    [
        ([None, None], [None, None]),
        ([2.0, None], [2.0, 1.0]),
        ([2.0, 2.0, None], [2.0, 2.0, 1.0]),
        ([0.0, 0.25, None], [0.0, 0.25, -0.25]),
    ],
)
def test_what_a_failure_gets(scores, floored):
    assert with_floor(scores, ["g"] * len(scores)) == floored


def test_a_completion_that_was_cut_off_is_no_program(problems):
    with LiveReward(backend=InProcessBackend(), slots=1, longest=5) as reward:
        cut = program(9.0).removesuffix("\n```")
        found = reward(
            ["p"] * 2,
            [cut, program(1.0)],
            problem_path=[problems["up"]] * 2,
            completion_ids=[[1] * 5, [1] * 4],
        )
        assert found == [0.0, 1.0]


def test_it_works_within_a_loop_that_runs_and_closes_cleanly(problems):
    backend = InProcessBackend()
    before = threading.active_count()

    async def from_a_loop():
        with LiveReward(backend=backend, slots=1) as reward:
            found = reward(["p"], [program(4.0)], problem_path=[problems["up"]])
        reward.close()
        return found

    assert asyncio.run(from_a_loop()) == [4.0]
    assert threading.active_count() == before
    assert backend.made
    assert all(sandbox.closed for sandbox in backend.made)


def test_a_sandbox_that_fails_is_no_reward_but_an_error(problems):
    backend = InProcessBackend(starts=[SandboxError("no room")] * 50)
    with LiveReward(backend=backend, slots=1) as reward, pytest.raises(SandboxError):
        reward(["p"], [program(4.0)], problem_path=[problems["up"]])


def test_without_a_safe_sandbox_it_says_what_a_training_can_do(monkeypatch):
    """There is no --sandbox process here, which a run would be offered."""
    broken = SimpleNamespace(missing=lambda: ["bubblewrap is not there"])
    monkeypatch.setattr("discovery.sandbox.choice.make_backend", lambda name: broken)
    with pytest.raises(MissingComponent, match=r"bubblewrap is not there\. What a model writes") as error:
        LiveReward()
    assert "--sandbox" not in str(error.value)


def test_rows_that_name_no_problem_are_refused():
    with LiveReward(backend=InProcessBackend(), slots=1) as reward:
        with pytest.raises(UsageError, match="no column problem_path"):
            reward(["p"], ["x"])
        with pytest.raises(UsageError, match="nowhere"):
            reward(["p"], ["x"], problem_path=["nowhere"])


@pytest.mark.sandbox
def test_programs_are_scored_in_a_real_sandbox(problems):
    loaded = load_problem(problems["up"])
    with LiveReward(slots=1, require=("untrusted",), load=lambda _: loaded) as reward:
        read = "```python\ndef solve():\n    return float(len(open('/etc/shadow').read()))\n```"
        found = reward(["p"] * 2, [program(4.0), read], problem_path=["any"] * 2)
    assert found == [4.0, 3.0]

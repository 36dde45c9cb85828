"""The reward functions that exports bring along call the live scorer."""

import importlib.util
import inspect

import pytest

from discovery.testing.fakes import InProcessBackend
from discovery.testing.samples import Said, sample, selection_of
from discovery.training import reward as live
from discovery.trajectories.export import Facts, RunFact, write_export

PLUGIN = """
from discovery import problem

@problem(name="packing", statement="Return a number.", initial="def solve():\\n    return 0.0\\n")
def score(program):
    return float(program.call("solve"))
"""


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Writes an export in a format; gives its rewards as a module, and its rows' problem."""
    (tmp_path / "packing.py").write_text(PLUGIN)
    loads = f"{tmp_path / 'packing.py'}:packing"
    with live.LiveReward(backend=InProcessBackend(), slots=1) as function:
        monkeypatch.setattr(live, "_live", [function])

        def make(name):
            samples = [sample([Said(text="best", score=1.0)])]
            run = RunFact(run="run-1", problem="packing", problem_version="a" * 64, loads=loads)
            write_export(tmp_path / name, name, selection_of(samples), samples, facts=Facts(runs=(run,)))
            spec = importlib.util.spec_from_file_location(f"reward_of_{name}", tmp_path / name / "reward.py")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module, loads

        yield make


def program(value):
    return f"```python\ndef solve():\n    return {value}\n```"


@pytest.mark.parametrize("name", ["trl-grpo", "trl-rloo"])
def test_trl_gets_the_score_of_each_completion(export, name):
    module, loads = export(name)
    completions = [[{"role": "assistant", "content": program(value)}] for value in (2.0, 5.0, "undefined")]
    prompt = [{"role": "user", "content": "Go on."}]
    found = module.reward_func(
        prompts=[prompt] * 3,
        completions=completions,
        problem=["packing"] * 3,
        problem_path=[loads] * 3,
        parents=[["initial"]] * 3,
        origin=[{"run": "run-1"}] * 3,
        completion_ids=[[1]] * 3,
        trainer_state=None,
    )
    assert found[:2] == [2.0, 5.0]
    assert found[2] < 2.0


MAIN = "def solve():\n    return 1.0\n"
EDIT = "<<<<<<< SEARCH\n    return 1.0\n=======\n    return 4.0\n>>>>>>> REPLACE"


def test_edits_are_scored_as_edits_of_the_program_that_the_row_names(export):
    module, loads = export("trl-grpo")
    completions = [[{"role": "assistant", "content": text}] for text in (EDIT, program(2.0), EDIT)]
    found = module.reward_func(
        prompts=["p"] * 3, completions=completions, problem_path=[loads] * 3, main=[MAIN, "", ""]
    )
    assert found[:2] == [4.0, 2.0]
    assert found[2] < 2.0, "an edit where a whole program was asked for"
    module, loads = export("verl")
    found = module.compute_score(["packing"], [EDIT], [loads], [{"main": MAIN}])
    assert found == [4.0]


def test_verl_gets_numbers_and_no_advantage_where_nothing_is_known(export):
    module, loads = export("verl")
    groups = [{"run": "run-1", "chain": 0, "step": step} for step in (1, 1, 2, 2)]
    found = module.compute_score(
        data_sources=["packing"] * 4,
        solution_strs=[program(2.0), program("undefined"), "no program", program("undefined")],
        ground_truths=[loads] * 4,
        extra_infos=groups,
    )
    assert found[0] == 2.0
    assert found[1] < 2.0
    assert found[2:] == [0.0, 0.0]
    taken = inspect.signature(module.compute_score).parameters
    assert list(taken)[:4] == ["data_sources", "solution_strs", "ground_truths", "extra_infos"]

"""What the README shows works as it is shown."""

import re
from pathlib import Path

import pytest

from discovery.errors import Invalid
from discovery.plugins import load_problem
from discovery.problem import Program

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


class Returning:
    def __init__(self, value: float) -> None:
        self.value = value

    def call(self, function, args, kwargs, timeout_s):
        assert function == "solve"
        return self.value


def test_the_first_problem_is_one(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.splitlines()) <= 20
    (tmp_path / "half.py").write_text(code)
    problem = load_problem(str(tmp_path / "half.py"))
    assert problem.scorer(Program("", Returning(0.5))) == -0.25
    assert problem.in_bounds(problem.scorer(Program("", Returning(0.0))))
    with pytest.raises(Invalid):
        problem.scorer(Program("", Returning(2.0)))


def test_its_links_within_the_repository_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_make_targets_are_there():
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make (\w+)", README + (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    assert named
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.M)] == []

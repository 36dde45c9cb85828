"""What the README shows works as it is shown."""

import re
import tomllib
from pathlib import Path

import pytest

from discovery.bundled import bundled_problems
from discovery.cli import main
from discovery.config import ArmsConfig, RunConfig, from_dict
from discovery.errors import Invalid
from discovery.generation.templates import CHANGING, CONSTANT, DEFAULT
from discovery.plugins import load_problem
from discovery.program import Program

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


def test_it_lists_the_bundled_problems_by_domain():
    names, listed = bundled_problems(), {}
    table = README.partition("| bundled problems |")[2].partition("\n\n")[0]
    for domain, cell in re.findall(r"^\| ([a-z ]+) \| (.*) \|$", table, re.M):
        before = ""
        for told in re.findall(r"`([^`]+)`", cell):
            # `-32` after `circle-packing-26` is `circle-packing-32`.
            heads = [before[:end] for end in range(len(before), 0, -1)] if told[0] == "-" else [""]
            before = next((head + told for head in heads if head + told in names), told)
            listed[before] = domain
    assert listed == {name: load_problem(name).settings.domain for name in names}


def test_its_make_targets_are_there():
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make (\w+)", README + (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    assert named
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.M)] == []


def test_the_guides_name_commands_and_options_that_are_there(capsys):
    said = "\n".join([README, *(path.read_text() for path in (ROOT / "docs" / "guide").glob("*.md"))])
    code = "\n".join(
        block or inline for block, inline in re.findall(r"^```\w*\n(.*?)^```|`([^`\n]+)`", said, re.M | re.S)
    )
    assert "discovery serve" in code
    for command in sorted(set(re.findall(r"^discovery ([a-z]+)\b", code, re.M))):
        assert main([command, "--help"]) == 0, command
        known = capsys.readouterr().out
        for line in re.findall(rf"^discovery {command} (.*)$", code, re.M):
            ours = line.partition(" #")[0].partition(" -- ")[0]
            assert [o for o in re.findall(r"--[a-z-]+", ours) if o not in known] == [], line


def test_the_configurations_of_a_guide_are_such(tmp_path):
    tomls = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "guide" / "models.md").read_text(), re.DOTALL)
    mixed, first, second = (from_dict(RunConfig, {"problem": "toy", **tomllib.loads(toml)}) for toml in tomls)
    assert [member.name for member in mixed.generator.members] == ["big", "small"]
    assert mixed.arms == ArmsConfig(choice="ucb"), "the numbers shown are the usual ones"
    assert (first.generator.kind, first.generator.reasoning.effort) == ("openai", "medium")
    assert (second.prompt.edits, second.prompt.context_tokens) == ("diff", 32768)


def test_the_guide_for_authors_shows_the_usual_template_and_all_slots():
    text = (ROOT / "docs" / "guide" / "problems.md").read_text()
    assert f"```markdown\n{DEFAULT}```" in text
    listed = re.findall(r"^\| `\$\{(\w+)\}` \| (.*) \|$", text, re.MULTILINE)
    assert listed == [*CONSTANT.items(), *CHANGING.items()]

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.config import PromptConfig
from discovery.errors import ConfigError, ProblemError
from discovery.generation.base import ParentView
from discovery.generation.prompt import Form, compose
from discovery.generation.templates import CHANGING, CONSTANT, DEFAULT, Template, faults, filled
from discovery.records import INITIAL

OWN = """\
<!-- system -->
Be bold. ${statement}
It costs $$5.

${rules}
${answer}
<!-- user -->
${parents}

## What failed
${failures}

Now: ${request}
"""


def parent(source="def solve(): ...\n"):
    return ParentView(key=INITIAL, source=source, score=0.5, metrics={}, feedback=None)


def test_the_default_written_out_gives_the_same_prompts(problem_of):
    """Whoever begins with a copy of the default begins with what there was."""
    import dataclasses

    problem = problem_of()
    copied = dataclasses.replace(problem, template=DEFAULT)
    assert faults(DEFAULT) == ()
    usual = compose(problem, parents=[parent()], form=Form.of(PromptConfig(), problem))
    assert compose(copied, parents=[parent()], form=Form.of(PromptConfig(), copied)) == usual


def test_slots_filled_with_themselves_give_the_template_back():
    template = Template.of(OWN)
    same = {name: f"${{{name}}}" for name in (*CONSTANT, *CHANGING)}
    assert filled(template.user, same) == template.user
    assert filled(template.system, same) == template.system.replace("$$", "$")


@given(values=st.lists(st.text(max_size=30), min_size=3, max_size=3))
def test_what_slots_are_filled_with_is_never_read_as_a_template(values):
    held = [f"x{value}${{request}} $$ $" for value in values]
    text = filled(
        "a ${parents}\n\n${best} b\n${main}", dict(zip(("parents", "best", "main"), held, strict=True))
    )
    assert text == f"a {held[0]}\n\n{held[1]} b\n{held[2]}"


def test_a_paragraph_whose_slots_are_empty_is_left_out_with_its_words(problem_of):
    config = PromptConfig(template="own.md", template_text=OWN)
    system, user = compose(problem_of(), parents=[parent()], form=Form.of(config, problem_of()))
    assert system.content.startswith("Be bold. Find the numbers.\nIt costs $5.\n\n- The program")
    assert "What failed" not in user.content
    assert user.content.startswith("# Program 1\n\nScore: 0.5")
    assert user.content.endswith("```\n\nNow: Improve program 1: write one that scores better.")
    assert filled("a\n\n${best}\n\nb", {"best": " "}) == "a\n\nb"
    assert filled("${best}\n\nb", {"best": ""}) == "b"


def test_one_part_alone_leaves_the_other_as_usual(problem_of):
    system = Template.of("<!-- system -->\nOnly ${statement} and ${answer}.")
    assert system.user == Template.of(DEFAULT).user
    user = Template.of("<!-- user -->\n${parents}\n\n${request}")
    assert user.system == Template.of(DEFAULT).system


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            ("<!-- system -->", "").__add__(("<!-- user -->", "")),
            "there is no line <!-- system --> or <!-- user -->",
        ),
        (("<!-- user -->", "<!-- system -->"), "there are 2 lines <!-- system -->; keep one"),
        (("<!-- system -->", "Hello\n<!-- system -->"), "text before the line <!-- system -->"),
        (
            ("${failures}", "${failure}"),
            r"line 11: there is no slot \$\{failure\}; did you mean \$\{failures\}\?",
        ),
        (("${rules}", "${zzz}"), r"line 5: there is no slot \$\{zzz\}; known: answer, best,"),
        (("$$5", "$5"), r"line 3: a dollar sign begins no slot; write \$\$"),
        (("${rules}", "${best}"), r"line 5: \$\{best\} changes from step to step"),
        (("${parents}", ""), "so the model sees no program; put it into the part <!-- user -->"),
        (("${request}", "go"), "so the model is not told which program to improve"),
        (
            ("${statement}", "it"),
            "so the model is not told the problem; put it into the part <!-- system -->",
        ),
        (("${answer}", ""), "so the model is not told how to answer"),
    ],
)
def test_faults_are_named_with_their_fix(problem_of, change, fault):
    text = OWN
    for old, new in zip(change[::2], change[1::2], strict=True):
        text = text.replace(old, new)
    found = faults(text)
    assert any(re.search(fault, each) for each in found), found
    with pytest.raises(ConfigError, match=r"^template own.md: "):
        Form.of(PromptConfig(template="own.md", template_text=text), problem_of())


def test_all_faults_are_found_at_once():
    assert len(faults("<!-- system -->\n${a} $ ${best}\n<!-- user -->\n\n")) == 8


def test_the_problems_own_template_and_the_runs_before_it(problem_of):
    import dataclasses

    problem = dataclasses.replace(problem_of(), template=OWN)
    assert Form.of(PromptConfig(), problem).template == Template.of(OWN)
    assert Form.of(PromptConfig(template="d", template_text=DEFAULT), problem).template == Template.of(
        DEFAULT
    )
    with pytest.raises(ProblemError, match="the template of problem 'numbers'"):
        Form.of(PromptConfig(), dataclasses.replace(problem, template="nothing"))

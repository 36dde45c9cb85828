"""What a problem says of its build and what its language implies."""

import pytest

from discovery.declared import Limits
from discovery.problem import ProblemSettings
from discovery.sandbox import recipes
from discovery.toolchain import BUILD_LIMITS, Toolchain, in_words, languages, toolchain


def test_every_language_has_a_recipe_and_a_build_from_program_to_binary():
    assert {"c", "cpp", "c++", "rust"} <= set(languages())
    for name, language in languages().items():
        assert name == name.lower()
        assert language.recipe in recipes.names()
        assert any("{program}" in word for word in language.build)
        assert any("{binary}" in word for word in language.build)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ProblemSettings(), Toolchain()),
        (ProblemSettings(language="cobol"), Toolchain()),
        (
            ProblemSettings(command=("bash", "{program}"), language="cpp"),
            Toolchain(command=("bash", "{program}")),
        ),
        (
            ProblemSettings(language="rust", command=("{binary}", "--fast")),
            Toolchain(image="rust", build=languages()["rust"].build, command=("{binary}", "--fast")),
        ),
        (
            ProblemSettings(language="cpp", build=("mine", "{program}", "{binary}")),
            Toolchain(image="cpp", build=("mine", "{program}", "{binary}"), command=("{binary}",)),
        ),
        (
            ProblemSettings(build=("mine", "{program}", "{binary}"), command=("time", "{binary}")),
            Toolchain(build=("mine", "{program}", "{binary}"), command=("time", "{binary}")),
        ),
    ],
)
def test_a_toolchain_is_what_was_said_and_what_the_language_implies(settings, expected):
    assert toolchain(settings) == expected


@pytest.mark.parametrize(
    ("language", "image"), [("cpp", "cpp"), ("C++", "cpp"), ("c", "cpp"), ("rust", "rust")]
)
def test_a_language_alone_is_enough(language, image):
    found = toolchain(ProblemSettings(language=language))
    assert found.image == image
    assert found.command == ("{binary}",)
    assert found.build is not None
    named = toolchain(ProblemSettings(language=language, image="debian:12"))
    assert (named.image, named.build) == ("debian:12", found.build)


def test_limits_of_a_build_are_the_problems_or_wide_ones():
    assert toolchain(ProblemSettings(language="c")).build_limits == BUILD_LIMITS
    assert toolchain(ProblemSettings(language="c", build_limits=Limits(wall_s=3))).build_limits == Limits(
        wall_s=3
    )


def test_commands_are_shown_with_the_names_of_files():
    settings = ProblemSettings(language="C++")
    assert in_words(("g++", "-o", "{binary}", "{program}"), settings) == "g++ -o ./program program.cpp"

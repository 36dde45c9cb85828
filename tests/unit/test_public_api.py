"""The public names, and what importing them costs."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import discovery

EXPORTED = [
    "Candidate",
    "CandidateKey",
    "Completion",
    "Direction",
    "DiscoveryError",
    "Evaluation",
    "Failure",
    "FailureKind",
    "Feature",
    "Invalid",
    "KnownBest",
    "Limits",
    "Objective",
    "Problem",
    "ProblemError",
    "Program",
    "ProgramFailed",
    "ProgramOutput",
    "Prompt",
    "Reference",
    "Repeats",
    "Score",
    "Stage",
    "Step",
    "Wrong",
    "__version__",
    "family",
    "load_problem",
    "problem",
]
HEAVY = {
    *("prefect", "openai", "docker", "sqlalchemy", "alembic", "torch", "fastapi", "matplotlib"),
    *("numpy", "pydantic", "rich", "cyclopts", "asyncio"),
}


def test_exported_names_are_pinned_and_sorted():
    assert discovery.__all__ == EXPORTED
    assert discovery.__all__ == sorted(discovery.__all__)


@pytest.mark.parametrize("name", EXPORTED)
def test_every_exported_name_is_there(name):
    assert getattr(discovery, name) is not None


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        discovery.nonsense  # noqa: B018


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*(m.partition('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import discovery", "from discovery import load_problem, problem"])
def test_importing_loads_nothing_heavy(statement):
    assert not loaded_by(statement) & HEAVY


def test_version_is_the_distribution_version():
    pyproject = Path(discovery.__file__).parent.parent / "pyproject.toml"
    assert tomllib.loads(pyproject.read_text())["project"]["version"] == discovery.__version__


def test_package_ships_type_information():
    assert (Path(discovery.__file__).parent / "py.typed").is_file()

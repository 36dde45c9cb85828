import subprocess
import sys

import pytest

from discovery.config import GeneratorConfig
from discovery.errors import ConfigError
from discovery.generation import make_generator


@pytest.mark.parametrize("kind", ["mutation", "openai"])
def test_makes_what_is_configured(problem_of, kind):
    config = GeneratorConfig(kind=kind, base_url=("http://127.0.0.1:1/v1",))
    assert make_generator(config, problem_of(), api_key="x").name == kind


def test_an_unknown_kind_is_named_with_the_known_ones(problem_of):
    with pytest.raises(ConfigError, match="unknown generator 'gpt'; known: mutation, openai"):
        make_generator(GeneratorConfig(kind="gpt"), problem_of())


def test_importing_loads_no_client_library():
    code = (
        "import sys, discovery.generation, discovery.generation.openai, discovery.generation.mutation;"
        "print([m for m in ('openai', 'httpx', 'httpx2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

import pytest

from discovery.config import SandboxConfig
from discovery.errors import ConfigError, MissingComponent
from discovery.sandbox import choice


class Backend:
    def __init__(self, name, missing):
        self.name = name
        self._missing = missing

    def missing(self):
        return self._missing


@pytest.fixture
def machine(monkeypatch):
    """A machine on which only the named backends work."""

    def only(*working):
        def make(name):
            if name not in ("bubblewrap", "docker", "process"):
                raise ConfigError(f"unknown sandbox {name!r}")
            return Backend(name, () if name in working else (f"{name} is not there: get-{name}",))

        monkeypatch.setattr(choice, "make_backend", make)

    return only


@pytest.mark.parametrize("generator", ["mutation", "openai"])
def test_bubblewrap_is_taken_silently_where_it_works(machine, generator):
    machine("bubblewrap", "process")
    chosen = choice.choose_backend(SandboxConfig(), generator)
    assert (chosen.backend.name, chosen.notice) == ("bubblewrap", None)


@pytest.mark.parametrize("generator", ["mutation", "openai"])
def test_docker_is_taken_where_it_alone_works(machine, generator):
    machine("docker", "process")
    chosen = choice.choose_backend(SandboxConfig(), generator)
    assert (chosen.backend.name, chosen.notice) == ("docker", None)
    machine("bubblewrap", "docker", "process")
    assert choice.choose_backend(SandboxConfig(), generator).backend.name == "bubblewrap"


def test_without_it_our_own_mutations_run_as_processes_and_say_so_in_one_line(machine):
    machine("process")
    chosen = choice.choose_backend(SandboxConfig(), "mutation")
    assert chosen.backend.name == "process"
    assert "get-bubblewrap" in chosen.notice
    assert "\n" not in chosen.notice


def test_without_it_a_models_programs_are_refused_with_both_ways_out(machine):
    machine("process")
    with pytest.raises(MissingComponent, match=r"get-bubblewrap.*--sandbox process"):
        choice.choose_backend(SandboxConfig(), "openai")


def test_process_is_given_to_a_model_only_when_asked_for_and_with_a_warning(machine):
    machine("bubblewrap", "process")
    chosen = choice.choose_backend(SandboxConfig(backend="process"), "openai")
    assert chosen.backend.name == "process"
    assert "accidents" in chosen.notice


def test_a_backend_that_was_asked_for_is_never_replaced(machine):
    machine("process")
    with pytest.raises(MissingComponent, match="get-bubblewrap"):
        choice.choose_backend(SandboxConfig(backend="bubblewrap"), "mutation")
    with pytest.raises(MissingComponent, match="get-docker"):
        choice.choose_backend(SandboxConfig(backend="docker"), "mutation")
    with pytest.raises(ConfigError, match="podman"):
        choice.choose_backend(SandboxConfig(backend="podman"), "mutation")

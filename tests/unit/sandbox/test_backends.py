"""Names, and that nothing unsafe is chosen silently."""

import pytest

from discovery.errors import ConfigError, SandboxError
from discovery.sandbox import NAMES, make_backend
from discovery.sandbox.base import SandboxSpec


def test_names():
    assert [make_backend(name).name for name in NAMES] == list(NAMES)
    with pytest.raises(ConfigError, match="bubblewrap, docker, process"):
        make_backend("docker-in-docker")


def test_missing_program_names_the_fix(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (line,) = make_backend("bubblewrap").missing()
    assert line == "bubblewrap is not installed: sudo apt-get install bubblewrap"


async def test_start_without_bubblewrap_is_an_error_of_the_sandbox(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="apt-get install"):
        await make_backend("bubblewrap").create(SandboxSpec()).start()


@pytest.mark.parametrize(
    "name", [pytest.param("bubblewrap", marks=pytest.mark.sandbox), pytest.param("process")]
)
async def test_verified_properties(name, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")  # candidates have one of their own, which is no leak
    backend = make_backend(name)
    if backend.missing():
        pytest.skip("; ".join(backend.missing()))
    record = await backend.verify(SandboxSpec())
    assert record.id.startswith(f"{name}-")
    assert record.properties["process_tree_ended"]
    assert not record.properties["total_memory_bounded"]
    if name == "bubblewrap":
        assert {key for key, held in record.properties.items() if not held} == {"total_memory_bounded"}
    else:
        assert not record.properties["host_files_hidden"]
        assert not record.properties["host_processes_hidden"]


async def test_dead_zygote_is_an_error_of_the_sandbox():
    from discovery import data
    from discovery.problem import Limits
    from discovery.sandbox.base import FunctionCall

    sandbox = make_backend("process").create(SandboxSpec())
    source = "import os\ndef solve():\n    os.kill(os.getppid(), 9)\n    import time; time.sleep(1)"
    request = FunctionCall(
        source=source, function="solve", arguments=data.encode([[], {}]), limits=Limits(wall_s=2)
    )
    await sandbox.start()
    try:
        with pytest.raises(SandboxError, match="ended unexpectedly"):
            await sandbox.run(request)
        with pytest.raises(SandboxError, match="not running"):
            await sandbox.run(request)
    finally:
        await sandbox.close()

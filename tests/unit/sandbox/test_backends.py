"""Names, and that nothing unsafe is chosen silently."""

import pytest

from discovery.errors import ConfigError, SandboxError
from discovery.sandbox import NAMES, cgroups, make_backend, probes
from discovery.sandbox.base import SandboxSpec
from discovery.sandbox.hierarchies import Absent
from discovery.sandbox.isolation import PROPERTIES, SUMS, unmet


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
    assert record.properties.keys() == PROPERTIES.keys()
    grouped = not isinstance(cgroups.available(), Absent)
    assert {record.properties[name] for name in SUMS} == {grouped}
    if name == "bubblewrap":
        assert not unmet(record, ["full" if grouped else "untrusted"])
    else:
        lacking = unmet(record, ["untrusted"])
        assert {"host_files_hidden", "host_processes_hidden", "zygote_untouchable"} <= set(lacking)
        assert ("processes_bounded" in lacking) is not grouped


@pytest.mark.sandbox
async def test_without_control_groups_the_sums_are_not_said_to_hold(monkeypatch):
    backend = make_backend("bubblewrap")
    if backend.missing():
        pytest.skip("; ".join(backend.missing()))
    for module in (cgroups, probes):
        monkeypatch.setattr(module, "available", lambda: Absent(why="not mounted: mount them"))
    record = await backend.verify(SandboxSpec())
    assert set(unmet(record, ["full"])) == set(SUMS)
    assert record.details["control groups"] == "not mounted: mount them"


async def test_dead_zygote_is_an_error_of_the_sandbox():
    from discovery import data
    from discovery.declared import Limits
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

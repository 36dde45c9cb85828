"""Sandboxes are probed once for each kind of sandbox and worker here: what they hold is for the contract tests.

And Prefect's server, which takes eight CPU seconds to start with a database of its own, is started once.
"""

import json
import os
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from discovery.orchestration import server
from discovery.sandbox import bubblewrap, probes, process

_found = {}


async def _verified_once(backend, spec, details):
    key = (backend.name, repr(replace(spec, label="")))
    if key not in _found:
        _found[key] = await probes.verify(backend, spec, details)
    return _found[key]


@pytest.fixture(autouse=True)
def verified_once(monkeypatch):
    """Probing takes a good part of a tiny run, and there are hundreds of them."""
    for module in (bubblewrap, process):
        monkeypatch.setattr(module, "verify", _verified_once)


@dataclass(frozen=True)
class FirstStart:
    """The managed server's first start in a fresh home.

    Args:
        home: Holds the state folder and the user's home.
        waits: What whoever waited was told.
    """

    home: Path
    waits: tuple[float, ...]


@contextmanager
def _at_home(home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISCOVERY_HOME", str(home / "state"))
        patch.setenv("HOME", str(home / "user"))
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def prefect_first_start(tmp_path_factory):
    """One home of a managed Prefect server for all tests that need one."""
    home, waits = tmp_path_factory.mktemp("prefect"), []
    with _at_home(home):
        server.start(progress=waits.append)
    yield FirstStart(home=home, waits=tuple(waits))
    with _at_home(home):
        server.stop()


@dataclass(frozen=True)
class Prefect:
    """A managed server that runs, asked without importing Prefect."""

    state: server.ServerState

    @property
    def environment(self):
        """For a process that uses it."""
        return {**os.environ, **server.client_environment(self.state.url)}

    def ask(self, path, query=None):
        body = None if query is None else json.dumps(query).encode()
        request = urllib.request.Request(
            f"{self.state.url}/{path}", data=body, headers={"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as response:
            return json.load(response)

    def flow_runs(self, name):
        return self.ask("flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})

    def task_runs(self, flow_runs):
        """Those of some flow runs; none of none, where the filter would let all through."""
        if not flow_runs:
            return []
        return self.ask("task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"] for run in flow_runs]}}})


@pytest.fixture
def prefect(prefect_first_start):
    """The managed server, started again if a test ended it, and this process where its clients look for it."""
    with _at_home(prefect_first_start.home):
        yield Prefect(server.start())

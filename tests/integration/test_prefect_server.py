"""A real Prefect server, started and stopped as `discovery server` does, keeps what it was told."""

import json
import os
import subprocess
import sys

import pytest

from discovery.orchestration import detached, server

pytestmark = pytest.mark.prefect

FLOW = """
import prefect, json, sys
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

@prefect.task
def work(x):
    return x + 1

@prefect.flow
def counting():
    return sum(work(i) for i in range(20))

print(json.dumps({"result": counting(), "home": str(get_current_settings().home)}))
"""

COUNT = """
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    runs = client.read_task_runs()
    print(sum(run.state.is_completed() for run in runs))
"""

SETTINGS = """
import json
from prefect.settings import get_current_settings
server = get_current_settings().server
recorder, persister = server.services.task_run_recorder, server.services.event_persister
print(json.dumps([recorder.batch_size, recorder.read_batch_size, recorder.flush_interval,
                  persister.batch_size, persister.read_batch_size, server.analytics_enabled]))
"""


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    yield
    server.stop()


def run(code: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_the_pinned_fastapi_fits_the_server():
    assert server.import_error() is None


def test_every_setting_is_one_that_prefect_knows(tmp_path):
    environment = server._server_environment(tmp_path, 4200)
    assert json.loads(run(SETTINGS, environment)) == [200, 200, 1, 200, 200, False]


@pytest.mark.timeout(600)
def test_it_starts_records_a_flow_and_keeps_it_over_a_restart(tmp_path):
    waits: list[float] = []
    state = server.start(progress=waits.append)
    assert waits, "whoever waits is told so"
    assert server.api_url() == state.url
    answer = json.loads(run(FLOW, server.client_environment(state.url)))
    assert answer == {"result": 210, "home": str(server.home() / "client")}
    assert server.stop() is True
    assert detached.group(state.pid) == []
    assert server.api_url() is None
    assert not (tmp_path / "user" / ".prefect").exists(), "the user's own Prefect is untouched"

    again = server.start()
    assert int(run(COUNT, server.client_environment(again.url))) == 20

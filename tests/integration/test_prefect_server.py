"""A real Prefect server, started and stopped as `discovery server` does, keeps what it was told."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from discovery.orchestration import detached, server

pytestmark = pytest.mark.prefect

FLOW = """
import prefect, json, sys
from prefect.settings import get_current_settings

@prefect.task
def work(x):
    return x + 1

@prefect.flow(flow_run_name="counting-to-20")
def counting():
    return sum(work(i) for i in range(20))

print(json.dumps({"result": counting(), "home": str(get_current_settings().home)}))
"""


def run(code, environment):
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_the_pinned_fastapi_fits_the_server(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path))
    server.home().mkdir(parents=True)
    assert server.import_error() is None


def test_every_setting_is_one_that_prefect_knows(prefect):
    settings = prefect.ask("admin/settings")["server"]
    recorder, persister = (settings["services"][name] for name in ("task_run_recorder", "event_persister"))
    assert [recorder["batch_size"], recorder["read_batch_size"], recorder["flush_interval"]] == [200, 200, 1]
    assert [persister["batch_size"], persister["read_batch_size"]] == [200, 200]
    assert settings["analytics_enabled"] is False


@pytest.mark.timeout(600)
def test_it_starts_records_a_flow_and_keeps_it_over_a_restart(prefect_first_start, prefect):
    assert prefect_first_start.waits, "whoever waits is told so"
    assert server.api_url() == prefect.state.url
    answer = json.loads(run(FLOW, prefect.environment))
    assert answer == {"result": 210, "home": str(server.home() / "client")}
    assert server.stop() is True
    assert detached.group(prefect.state.pid) == []
    assert server.api_url() is None
    assert not (prefect_first_start.home / "user" / ".prefect").exists(), (
        "the user's own Prefect is untouched"
    )

    again = replace(prefect, state=server.start())
    tasks = again.task_runs(again.flow_runs("counting-to-20"))
    assert [task["state"]["type"] for task in tasks] == ["COMPLETED"] * 20

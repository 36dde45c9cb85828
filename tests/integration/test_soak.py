"""Short versions of the two benchmarks that fight back; the long ones are run by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from discovery.sandbox import make_backend

ROOT = Path(__file__).resolve().parents[2]


def measured(name, evaluations, results):
    """A benchmark's figures by name; it ends with 1 where one is missed, which the caller looks at."""
    missing = make_backend("bubblewrap").missing()
    if missing:
        pytest.skip("; ".join(missing))
    command = [sys.executable, "-m", "benchmarks", name, "--evaluations", str(evaluations)]
    command += ["--sandbox", "bubblewrap", "--results", str(results)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert (results / f"{name}.json").exists(), done.stderr[-2000:]
    return json.loads((results / f"{name}.json").read_text()), done.stdout


@pytest.mark.sandbox
def test_a_run_with_hostile_candidates_ends_normally_leaves_nothing_and_scores_right(tmp_path):
    found, table = measured("soak", 300, tmp_path)
    assert found["raw"]["changed"] == []
    assert all(not left for left in found["raw"]["left"].values()), found["raw"]["left"]
    assert found["holds"], table
    # What fills memory may run out of time first on a busy machine; that it is held has tests of its own.
    assert {"timeout", "crashed"} <= set(found["raw"]["failures"])


@pytest.mark.sandbox
def test_programs_that_ignore_all_signals_are_gone_after_their_limit(tmp_path):
    found, table = measured("timeouts", 20, tmp_path)
    assert found["raw"]["bubblewrap"]["outcomes"] == {"timeout": 20}
    # The bound itself is held on a quiet machine; here others may be running.
    assert max(found["raw"]["bubblewrap"]["overshoot_s"]) < 5.0, table

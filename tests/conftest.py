"""In continuous integration a component that is missing is a failure, never a silent skip."""

import os
from collections.abc import Generator

import pytest

HARDWARE = {"gpu", "vllm", "docker", "browser"}
"""Markers of tests that may be skipped there too: what they need is not installed by `.ci/run`."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    excused = HARDWARE & {mark.name for mark in item.iter_markers()}
    if report.skipped and os.environ.get("CI") == "true" and not excused and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason} (with CI=true nothing may be missing; see tests/conftest.py)"
    return report

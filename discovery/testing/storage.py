"""The contract of ``Storage`` as tests, for any implementation.

Needs pytest. Give a fixture ``storage_factory`` that returns a callable: each call opens one and the same, at
first empty, database once more (with ``clock``, seconds since 1970, when given), and the fixture closes all
of them. Then::

    class TestMyStorage(StorageContract):
        pass
"""

from __future__ import annotations

from discovery.testing.storage_advice import ConsultationsContract
from discovery.testing.storage_records import (
    START,
    WEIRD,
    Clock,
    StorageFactory,
    append,
    full_consultation,
    full_step,
    make_candidate,
    make_committed,
    make_completion,
    make_consultation,
    make_failed,
    make_measurement,
    make_run,
    make_scored,
    make_step,
    start,
)
from discovery.testing.storage_runs import LeasesContract, RunsContract
from discovery.testing.storage_snapshot import SnapshotContract
from discovery.testing.storage_steps import StepsContract
from discovery.testing.storage_totals import TotalsContract
from discovery.testing.storage_writing import AppendingContract

__all__ = [
    "START",
    "WEIRD",
    "Clock",
    "StorageContract",
    "StorageFactory",
    "append",
    "full_consultation",
    "full_step",
    "make_candidate",
    "make_committed",
    "make_completion",
    "make_consultation",
    "make_failed",
    "make_measurement",
    "make_run",
    "make_scored",
    "make_step",
    "start",
]


class StorageContract:
    """What every storage does, by topic. See the module's docstring."""

    TestRuns = RunsContract
    TestLeases = LeasesContract
    TestAppending = AppendingContract
    TestSteps = StepsContract
    TestConsultations = ConsultationsContract
    TestTotals = TotalsContract
    TestSnapshot = SnapshotContract

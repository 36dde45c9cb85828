"""Writes a small archive of the current schema, as the folder ``<schema>`` beside this file.

Run it once before the schema changes; the stored folder must be read by every later version.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from discovery.records import INITIAL, SHARED_CHAIN, Announcement, CandidateKey, Completion, SandboxRecord
from discovery.storage.rdb import RdbStorage
from discovery.testing.storage import (
    START,
    append,
    full_consultation,
    full_step,
    make_candidate,
    make_committed,
    make_scored,
    make_step,
    start,
)
from discovery.trajectories.archive import write_archive
from discovery.trajectories.tables import SCHEMA


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage = RdbStorage(str(Path(folder) / "runs.db"))
        leases = start(storage)
        sandbox = SandboxRecord(id="bubblewrap-1", backend="bubblewrap", properties={"network": True})
        initial = (make_candidate(INITIAL, "x = 0"), make_scored(INITIAL, 0.25))
        append(storage, leases[SHARED_CHAIN], sandbox, *initial)
        # The fullest completion has token ids of 33 bits, which no archive takes.
        append(storage, leases[0], *(each for each in full_step() if not isinstance(each, Completion)))
        best = CandidateKey(0, 1, 0)
        append(storage, leases[0], make_committed(make_step(0, 1), best))
        warm = replace(make_candidate(CandidateKey(0, 1, 1), "warm"), warm_start=best)
        append(storage, leases[0], full_consultation(), warm)
        announced = Announcement(key=best, score=0.1 + 0.2, evaluations=2, announced_at=START)
        append(storage, leases[SHARED_CHAIN], announced)
        write_archive(Path(__file__).with_name(str(SCHEMA)), storage, ["run-1"])
        storage.close()


if __name__ == "__main__":
    main()

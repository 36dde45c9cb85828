"""Writes a small database of the current schema, as ``<revision>.db`` beside this file.

Run it once before a schema changes; the stored file must open and read with every later version.
"""

from dataclasses import replace
from pathlib import Path

from discovery.config import GeneratorConfig, RunConfig, to_dict
from discovery.records import INITIAL, SHARED_CHAIN, Announcement, CandidateKey, RunStatus, SandboxRecord
from discovery.storage.models import HEAD
from discovery.storage.rdb import RdbStorage
from discovery.testing.storage import (
    START,
    append,
    full_consultation,
    full_step,
    make_candidate,
    make_committed,
    make_measurement,
    make_scored,
    make_step,
    start,
)


def main() -> None:
    path = Path(__file__).with_name(f"{HEAD}.db")
    path.unlink(missing_ok=True)
    storage = RdbStorage(str(path))
    leases = start(storage)
    shared = leases[SHARED_CHAIN]
    sandbox = SandboxRecord(id="bubblewrap-1", backend="bubblewrap", properties={"network": True})
    append(storage, shared, sandbox, make_candidate(INITIAL, "x = 0"), make_scored(INITIAL, 0.25))
    append(storage, leases[0], *full_step())
    best = CandidateKey(0, 1, 0)
    append(storage, leases[0], make_committed(make_step(0, 1), best), make_step(0, 2))
    warm = replace(make_candidate(CandidateKey(0, 2, 0), "warm"), warm_start=best)
    append(storage, leases[0], full_consultation(), warm)
    append(storage, shared, Announcement(key=best, score=0.3, evaluations=2, announced_at=START))
    append(storage, shared, make_measurement(2, running=4.0, tokens_per_s=123.5))
    generator = GeneratorConfig(kind="openai", base_url=("http://one/v1", "http://two/v1"))
    config = to_dict(RunConfig(problem="packing", generator=generator))
    facts = {"version": "0.1.0"}
    storage.update_run(shared, status=RunStatus.STOPPED, message="stopped", facts=facts, config=config)
    storage.release(list(leases.values()))
    storage.close()


if __name__ == "__main__":
    main()

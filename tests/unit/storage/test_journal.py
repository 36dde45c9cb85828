"""The journal: grouping, order, errors, cancellation, and what a killed process leaves."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from discovery.errors import LeaseLost, StorageError, StorageFull
from discovery.records import CandidateKey
from discovery.storage.base import Lease
from discovery.storage.journal import MAX_BATCH, Journal
from discovery.storage.rdb import RdbStorage
from discovery.testing.storage import make_committed, make_run, make_scored, make_step, start

LEASE = Lease(run="run-1", chain=0, owner="me", epoch=1)
OTHER = Lease(run="run-1", chain=1, owner="me", epoch=1)


class Recorder:
    """Keeps batches; waits for the gate before each, and raises or refuses what it is told to."""

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure = None
        self.lost = set()

    def append(self, writes):
        self.gate.wait(10)
        self.batches.append(list(writes))
        if self.failure is not None:
            raise self.failure
        return [write for write in writes if write.lease in self.lost]


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
async def journal(recorder):
    journal = Journal(recorder)
    yield journal
    recorder.gate.set()
    await journal.close()
    assert not any(thread.name == "discovery-journal" for thread in threading.enumerate())


async def _queued(journal, count):
    """Start so many appends and let them reach the queue."""
    tasks = [asyncio.create_task(journal.append(LEASE, make_step(0, i))) for i in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_a_lone_write_goes_at_once(journal, recorder):
    begun = time.monotonic()
    await journal.append(LEASE, make_step(0, 1), make_step(0, 2))
    assert time.monotonic() - begun < 0.5
    assert [write.records for batch in recorder.batches for write in batch] == [
        (make_step(0, 1), make_step(0, 2))
    ]


async def test_what_queues_up_is_written_together_in_order(journal, recorder):
    recorder.gate.clear()
    first = await _queued(journal, 1)
    await asyncio.sleep(0.05)
    rest = await _queued(journal, 20)
    assert journal.waiting == 21
    recorder.gate.set()
    await asyncio.gather(*first, *rest)
    assert journal.waiting == 0
    assert [len(batch) for batch in recorder.batches] == [1, 20]
    assert [write.records[0].step for write in recorder.batches[1]] == list(range(20))


async def test_batches_are_bounded(journal, recorder):
    recorder.gate.clear()
    tasks = await _queued(journal, 3 * MAX_BATCH)
    recorder.gate.set()
    await asyncio.gather(*tasks)
    assert max(map(len, recorder.batches)) <= MAX_BATCH
    assert sum(map(len, recorder.batches)) == 3 * MAX_BATCH


async def test_refused_writes_raise_for_their_own_waiters_only(journal, recorder):
    recorder.lost = {OTHER}
    results = await asyncio.gather(
        journal.append(LEASE, make_step(0, 1)),
        journal.append(OTHER, make_step(1, 1)),
        return_exceptions=True,
    )
    assert results[0] is None
    assert isinstance(results[1], LeaseLost)
    assert "chain 1" in str(results[1])


@pytest.mark.parametrize("failure", [StorageFull("no room"), StorageError("broken")])
async def test_a_failed_transaction_raises_for_all_its_waiters(journal, recorder, failure):
    recorder.gate.clear()
    tasks = await _queued(journal, 3)
    recorder.failure = failure
    recorder.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(failure)] * 3
    assert len(set(map(id, results))) == 3
    recorder.failure = None
    await journal.append(LEASE, make_step(0, 9))


async def test_an_unexpected_error_reaches_the_waiter(journal, recorder):
    recorder.failure = KeyError("oops")
    with pytest.raises(StorageError, match="oops"):
        await journal.append(LEASE, make_step(0, 1))


async def test_a_cancelled_waiter_loses_nothing(journal, recorder):
    recorder.gate.clear()
    blocking = await _queued(journal, 1)
    await asyncio.sleep(0.05)
    (task,) = await _queued(journal, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    recorder.gate.set()
    await asyncio.gather(*blocking)
    await journal.close()
    assert sum(map(len, recorder.batches)) == 2


async def test_close_writes_what_is_queued(journal, recorder):
    recorder.gate.clear()
    tasks = await _queued(journal, 50)
    closing = asyncio.create_task(journal.close())
    await asyncio.sleep(0.02)
    recorder.gate.set()
    await closing
    assert sum(map(len, recorder.batches)) == 50
    await asyncio.gather(*tasks)
    await journal.close()
    with pytest.raises(StorageError, match="closed"):
        await journal.append(LEASE, make_step(0, 1))


async def test_an_unused_journal_closes():
    await Journal(Recorder()).close()


def test_an_interpreter_exits_without_close_and_loses_nothing(tmp_path):
    script = (
        "import asyncio, sys\n"
        "from discovery.storage.journal import Journal\n"
        "from discovery.storage.rdb import RdbStorage\n"
        "from discovery.testing.storage import start, make_step\n"
        "async def main():\n"
        "    storage = RdbStorage(sys.argv[1])\n"
        "    journal = Journal(storage)\n"
        "    lease = start(storage)[0]\n"
        "    tasks = [asyncio.create_task(journal.append(lease, make_step(0, i))) for i in range(1, 50)]\n"
        "    await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
    )
    path = str(tmp_path / "a.db")
    subprocess.run([sys.executable, "-c", script, path], check=True, timeout=30)
    storage = RdbStorage(path)
    assert all(storage.step("run-1", 0, i) for i in range(1, 50))
    storage.close()


async def test_many_chains_on_a_real_database(tmp_path):
    storage = RdbStorage(str(tmp_path / "a.db"))
    leases = start(storage, chains=8)
    journal = Journal(storage)

    async def work(chain):
        for number in range(1, 11):
            key = CandidateKey(chain, number, 0)
            step = make_step(chain, number)
            await journal.append(leases[chain], step)
            await journal.append(leases[chain], make_scored(key, float(number)))
            assert storage.open_steps("run-1", chain)[0].evaluations[0].score.value == number
            await journal.append(leases[chain], make_committed(step, key))

    await asyncio.gather(*map(work, range(8)))
    assert [summary.steps for summary in storage.chain_summaries("run-1")] == [10] * 8
    storage.release([leases[3]])
    with pytest.raises(LeaseLost):
        await journal.append(leases[3], make_step(3, 11))
    await journal.close()
    storage.close()


_WRITER = """
import asyncio, sys
from discovery.records import CandidateKey
from discovery.storage.journal import Journal
from discovery.storage.rdb import RdbStorage
from discovery.testing.storage import make_candidate, make_completion, make_scored, make_step
storage = RdbStorage(sys.argv[1])
leases = storage.acquire("run-1", range(4), sys.argv[2], 60.0, dead=[f"writer {i}" for i in range(99)])
journal = Journal(storage)
print("ready", flush=True)
async def work(lease, first):
    for number in range(first, first + 100000):
        key = CandidateKey(lease.chain, number, 0)
        text = f"{key} " * 300
        step = make_step(lease.chain, number)
        await journal.append(lease, step, make_completion(key, text), make_candidate(key, text))
        await journal.append(lease, make_scored(key, float(number)))
        sys.stdout.write(f"{key}\\n")
        sys.stdout.flush()
async def main():
    await asyncio.gather(*(work(lease, int(sys.argv[3])) for lease in leases))
asyncio.run(main())
"""


def test_a_killed_writer_leaves_a_sound_database_with_all_it_acknowledged(tmp_path):
    path = tmp_path / "a.db"
    storage = RdbStorage(str(path))
    storage.create_run(make_run())
    rng = random.Random(7)
    acknowledged = []
    for life in range(int(os.environ.get("DISCOVERY_KILLS", "3"))):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), f"writer {life}", str(1 + life * 1_000_000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout.readline() == "ready\n"
        threading.Timer(rng.uniform(0.005, 0.25), os.kill, (writer.pid, signal.SIGKILL)).start()
        told = writer.stdout.read()
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        # The last line may have been cut in the middle.
        acknowledged += told[: told.rfind("\n") + 1].split()
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    assert len(acknowledged) > 20
    scored = {str(key): score for key, score in storage.scores("run-1")}
    for text in acknowledged:
        assert scored[text] == CandidateKey.parse(text).step
    for text in rng.sample(sorted(scored), 20):
        key = CandidateKey.parse(text)
        stored = storage.step("run-1", key.chain, key.step)
        assert stored.candidates[0].source == stored.completions[0].text == f"{key} " * 300
    storage.close()

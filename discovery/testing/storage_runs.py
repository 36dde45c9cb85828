"""The contract of ``Storage``: runs and leases. See :mod:`discovery.testing.storage`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from discovery.errors import LeaseLost, StorageError, UnknownRun
from discovery.records import (
    SHARED_CHAIN,
    RunStatus,
)
from discovery.storage.base import Lease, Write
from discovery.testing.storage_records import (
    START,
    WEIRD,
    Clock,
    StorageFactory,
    append,
    make_run,
    make_step,
    start,
)


class RunsContract:
    """Runs are stored, found and changed."""

    def test_run_round_trips(self, storage_factory: StorageFactory) -> None:
        """A run is read back as it was stored, by another process as well."""
        run = replace(make_run(), message=WEIRD, facts={"b": 1, "a": [0.1]}, wall_s=1.5, finished_at=START)
        storage_factory().create_run(run)
        read = storage_factory().get_run("run-1")
        assert read == run
        assert list(read.facts) == ["b", "a"]
        assert read.created_at.tzinfo is UTC

    def test_run_id_is_unique(self, storage_factory: StorageFactory) -> None:
        """A taken id is refused, and the stored run stays."""
        storage = storage_factory()
        storage.create_run(make_run())
        with pytest.raises(StorageError, match="run-1"):
            storage.create_run(replace(make_run(), problem="other"))
        assert storage.get_run("run-1").problem == "packing"

    def test_run_is_found_by_unique_prefix(self, storage_factory: StorageFactory) -> None:
        """A prefix is enough when it is unique; a whole id wins over being a prefix."""
        storage = storage_factory()
        for run in ("20260301-aa", "20260301-ab", "20260301-abc"):
            storage.create_run(make_run(run))
        assert storage.get_run("20260301-aa").id == "20260301-aa"
        assert storage.get_run("20260301-ab").id == "20260301-ab"
        with pytest.raises(UnknownRun, match="20260301-abc"):
            storage.get_run("2026")

    @pytest.mark.parametrize("run", ["run-2", "", "%", "_"])
    def test_unknown_run_names_the_nearest(self, storage_factory: StorageFactory, run: str) -> None:
        """An unknown id is an error that lists what there is."""
        storage = storage_factory()
        storage.create_run(make_run("run-1"))
        with pytest.raises(UnknownRun, match="run-1"):
            storage.get_run(run)

    def test_every_method_refuses_an_unknown_run(self, storage_factory: StorageFactory) -> None:
        """No method takes an unknown run for an empty one."""
        storage = storage_factory()
        lease = Lease(run="none", chain=0, owner="o", epoch=1)
        calls: list[Callable[[], object]] = [
            lambda: storage.acquire("none", [0], "o", 1.0),
            lambda: storage.holder("none"),
            lambda: storage.append([Write(lease=lease, records=(make_step(0, 1),))]),
            lambda: list(storage.committed_steps("none", 0)),
            lambda: storage.counts("none"),
            lambda: storage.chain_summaries("none"),
            lambda: storage.scores("none"),
            lambda: storage.verifications("none"),
            lambda: storage.measurements("none"),
            lambda: storage.update_run(replace(lease, chain=SHARED_CHAIN)),
        ]
        for call in calls:
            with pytest.raises(UnknownRun):
                call()

    def test_runs_are_listed_oldest_first(self, storage_factory: StorageFactory) -> None:
        """The order is that of creation, not of ids."""
        storage = storage_factory()
        storage.create_run(replace(make_run("a"), created_at=START + timedelta(days=1)))
        storage.create_run(make_run("b"))
        assert [run.id for run in storage.list_runs()] == ["b", "a"]

    def test_update_changes_what_is_given(self, storage_factory: StorageFactory) -> None:
        """Facts are merged, the message is always replaced, the rest stays."""
        storage = storage_factory()
        lease = start(storage)[SHARED_CHAIN]
        storage.update_run(lease, status=RunStatus.RUNNING, message="going", facts={"a": 1, "b": 1})
        storage.update_run(lease, wall_s=2.5, facts={"b": 2}, finished_at=START)
        read = storage.get_run("run-1")
        assert read.status is RunStatus.RUNNING
        assert (read.message, read.wall_s, read.finished_at) == (None, 2.5, START)
        assert read.facts == {"a": 1, "b": 2}

    def test_update_needs_the_shared_lease(self, storage_factory: StorageFactory) -> None:
        """Whoever lost the run cannot change it; another chain's lease is no use."""
        storage = storage_factory()
        leases = start(storage)
        with pytest.raises(StorageError, match="SHARED_CHAIN"):
            storage.update_run(leases[0], wall_s=1.0)
        storage.release([leases[SHARED_CHAIN]])
        with pytest.raises(LeaseLost):
            storage.update_run(leases[SHARED_CHAIN], status=RunStatus.FAILED)
        assert storage.get_run("run-1").status is RunStatus.CREATED


class LeasesContract:
    """Each chain is one process's at a time."""

    def test_live_lease_is_exclusive(self, storage_factory: StorageFactory) -> None:
        """A second owner gets the free chains only."""
        one, two = storage_factory(), storage_factory()
        one.create_run(make_run())
        assert [lease.chain for lease in one.acquire("run-1", [1, 0], "one", 60.0)] == [0, 1]
        assert [lease.chain for lease in two.acquire("run-1", [0, 1, 2], "two", 60.0)] == [2]

    def test_acquire_again_gives_the_same(self, storage_factory: StorageFactory) -> None:
        """The holder may repeat a call whose answer was lost."""
        storage = storage_factory()
        storage.create_run(make_run())
        first = storage.acquire("run-1", [0], "one", 60.0)
        assert storage.acquire("run-1", [0], "one", 60.0) == first

    def test_expired_lease_is_taken_with_a_higher_epoch(self, storage_factory: StorageFactory) -> None:
        """A holder that does not renew in time can be followed, and its late writes are refused."""
        clock = Clock()
        one, two = storage_factory(clock=clock), storage_factory(clock=clock)
        one.create_run(make_run())
        (old,) = one.acquire("run-1", [0], "one", 10.0)
        clock.now += 9.9
        assert two.acquire("run-1", [0], "two", 10.0) == []
        clock.now += 0.2
        (new,) = two.acquire("run-1", [0], "two", 10.0)
        assert new.epoch == old.epoch + 1
        late = Write(lease=old, records=(make_step(0, 1),))
        good = Write(lease=new, records=(make_step(0, 2),))
        assert one.append([late, good]) == [late]
        assert one.step("run-1", 0, 1) is None
        assert one.step("run-1", 0, 2) is not None
        assert one.renew([old, new], 10.0) == [new]

    def test_renewing_keeps_a_lease(self, storage_factory: StorageFactory) -> None:
        """Renewed leases live on from the time of renewal."""
        clock = Clock()
        storage = storage_factory(clock=clock)
        storage.create_run(make_run())
        leases = storage.acquire("run-1", [SHARED_CHAIN, 0], "one", 10.0)
        clock.now += 8
        assert storage.renew(leases, 10.0) == leases
        clock.now += 8
        assert storage.acquire("run-1", [0], "two", 10.0) == []
        assert storage.holder("run-1") == "one"

    def test_sleeper_goes_on_when_nobody_came(self, storage_factory: StorageFactory) -> None:
        """A lease that ran out is good until somebody takes it."""
        clock = Clock()
        storage = storage_factory(clock=clock)
        storage.create_run(make_run())
        (lease,) = storage.acquire("run-1", [0], "one", 10.0)
        clock.now += 1000
        append(storage, lease, make_step(0, 1))
        assert storage.renew([lease], 10.0) == [lease]
        assert storage.acquire("run-1", [0], "two", 10.0) == []

    def test_dead_owner_is_followed_at_once(self, storage_factory: StorageFactory) -> None:
        """Leases of owners that are known to have ended count as expired; others' do not."""
        storage = storage_factory()
        storage.create_run(make_run())
        (old,) = storage.acquire("run-1", [0], "gone", 60.0)
        storage.acquire("run-1", [1], "alive", 60.0)
        (new,) = storage.acquire("run-1", [0, 1], "next", 60.0, dead=["gone", "other"])
        assert (new.chain, new.epoch) == (0, old.epoch + 1)
        refused = Write(lease=old, records=(make_step(0, 1),))
        assert storage.append([refused]) == [refused]

    def test_released_lease_is_free_and_dead(self, storage_factory: StorageFactory) -> None:
        """Releasing ends the right to write at once; releasing what is lost does nothing."""
        storage = storage_factory()
        storage.create_run(make_run())
        (old,) = storage.acquire("run-1", [0], "one", 60.0)
        storage.release([old])
        refused = Write(lease=old, records=(make_step(0, 1),))
        assert storage.append([refused]) == [refused]
        (new,) = storage.acquire("run-1", [0], "one", 60.0)
        assert new.epoch == old.epoch + 1
        storage.release([old])
        assert storage.renew([new], 60.0) == [new]

    def test_holder_is_the_live_supervisor(self, storage_factory: StorageFactory) -> None:
        """Only a live lease of the shared chain counts."""
        clock = Clock()
        storage = storage_factory(clock=clock)
        storage.create_run(make_run())
        storage.acquire("run-1", [0], "worker", 10.0)
        assert storage.holder("run-1") is None
        (lease,) = storage.acquire("run-1", [SHARED_CHAIN], "boss", 10.0)
        assert storage.holder("run-1") == "boss"
        clock.now += 11
        assert storage.holder("run-1") is None
        storage.renew([lease], 10.0)
        storage.release([lease])
        assert storage.holder("run-1") is None

    def test_one_of_many_takers_wins(self, storage_factory: StorageFactory) -> None:
        """Threads that race for the same chains never get the same one."""
        storage = storage_factory()
        storage.create_run(make_run())
        got: list[Lease] = []

        def take(owner: str) -> None:
            got.extend(storage.acquire("run-1", range(5), owner, 60.0))

        threads = [threading.Thread(target=take, args=(f"owner {i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(lease.chain for lease in got) == [0, 1, 2, 3, 4]

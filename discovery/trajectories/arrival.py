"""An archive's runs, brought into a storage, so that all that reads a run works here as on the machine it came from.

First everything is read and checked, also against what is stored, then it is written: an archive that is broken or
contradicts the storage changes nothing. While a run is being written its status is ``arriving``, and only when all
of it is there does it get its own: one that was interrupted looks like nothing else, cannot be resumed, and is
completed by the same import again. A run that is here already must be equal, audits made here apart, and is left as
it is.

When a run came is kept among its facts, and so is what is known of it by its word only: scores and audits of before
count for nothing where something must be confirmed (:mod:`discovery.trajectories.judge`).

The path of a run's problem is that of the other machine. It is kept unless the caller has the problem here: where the
path leads nowhere, a bundled or installed problem of that name and version stands in, else what needs the problem says
that it is gone. So that a repeated import is recognised, paths are not compared.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from discovery.config import RunConfig, from_dict
from discovery.errors import ArchiveError, ConfigError, ProblemError, RunBusy
from discovery.owner import describe_owner, is_dead, this_owner
from discovery.problem import Problem
from discovery.records import SHARED_CHAIN, Consultation, Evaluation, Purpose, Record, RunStatus
from discovery.storage.base import ARRIVED_AT, Lease, RunRecord, Storage, Write
from discovery.trajectories.archive import Archive, read_archive
from discovery.trajectories.columns import Table
from discovery.trajectories.tables import OF_RUNS, Planned

_LEASE_S = 60.0
_AT_ONCE = 256
"""Records of one transaction; others write between two of them."""
_HALF = "only part of it is here; repeat the `discovery import` that began it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A run of an archive that is here now.

    Args:
        run: Its record as it is stored here.
        is_new: Whether it came now; else it was here already.
        rows: How many rows of each table the archive has of it.
        is_changed: Whether the problem that was given is of another version than the run's; None where none was given
            for it.
    """

    run: RunRecord
    is_new: bool
    rows: dict[str, int]
    is_changed: bool | None


@dataclass(slots=True)
class _Coming:
    """A run on its way."""

    record: RunRecord
    stored: RunRecord | None
    problem: Problem | None = None
    chains: set[int] = field(default_factory=lambda: {SHARED_CHAIN})
    rows: Counter[str] = field(default_factory=Counter)
    leases: dict[int, Lease] = field(default_factory=dict)
    seen_until: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Now, or when its last evaluation ended by a clock that is ahead, or lies: nothing that came is later."""

    @property
    def arrival(self) -> dict[str, str]:
        """The fact that it came."""
        return {ARRIVED_AT: self.seen_until.isoformat()}

    @property
    def is_here(self) -> bool:
        """Whether all of it was here before."""
        return self.stored is not None and self.stored.status is not RunStatus.ARRIVING


def arrive(
    storage: Storage,
    folder: Path | str,
    *,
    problem: Problem | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Arrived]:
    """Bring the runs of an archive into a storage.

    Args:
        storage: Where to.
        folder: The archive's.
        problem: The problem of its runs as it is here: their path becomes its own. Of runs of another problem, known
            by version and name, the path stays.
        clock: Seconds that only grow, for renewing leases.

    Returns:
        Its runs by id, those that were here already included.

    Raises:
        ArchiveError: The archive is broken, or a run of that id is stored and differs; nothing was changed.
        ProblemError: The problem is of none of its runs.
        RunBusy: Another process brings one of these runs.
        MissingComponent: pyarrow is not installed.
        StorageError: The storage cannot take it; what was written is completed by another call.
    """
    archive = read_archive(folder)
    stored = {record.id: record for record in storage.list_runs()}
    coming = {run.id: _Coming(record=run, stored=stored.get(run.id)) for run in archive.runs()}
    _place_problem(coming.values(), problem)
    _check(storage, archive, coming)
    new = {run: each for run, each in coming.items() if not each.is_here}
    if new:
        with ExitStack() as leased:
            for each in new.values():
                _begin(storage, each, leased)
            _write(storage, archive, new, clock)
            for each in new.values():
                _complete(storage, each)
    return [
        Arrived(
            run=storage.get_run(run),
            is_new=not each.is_here,
            rows=dict(each.rows),
            is_changed=None if each.problem is None else each.problem.version != each.record.problem_version,
        )
        for run, each in coming.items()
    ]


def _place_problem(coming: Iterable[_Coming], problem: Problem | None) -> None:
    if problem is None:
        return
    names = set()
    for each in coming:
        record = each.record
        names.add(record.problem)
        if problem.version == record.problem_version or problem.name == record.problem:
            each.problem = problem
            each.record = dataclasses.replace(record, problem_path=str(problem.path))
    if all(each.problem is None for each in coming):
        raise ProblemError(
            f"{problem.path} declares problem {problem.name!r}, and the archive's runs are of "
            f"{', '.join(sorted(names))}, and of other versions; give the path of that problem"
        )


# Checking


def _check(storage: Storage, archive: Archive, coming: dict[str, _Coming]) -> None:
    """Read all of the archive, and compare with what is stored."""
    for each in coming.values():
        _check_run(each)
    for record in archive.sandboxes():
        here = storage.sandbox(record.id)
        if here is not None and here != dataclasses.replace(record, details=here.details):
            raise ArchiveError(
                f"sandbox {record.id} is stored here with other properties than in the archive"
            )
    steps: dict[str, set[tuple[int, int]]] = {run: set() for run in coming}
    for table in OF_RUNS:
        left = {run for run, each in coming.items() if each.stored is not None}
        for run, rows in groupby(archive.records(table), key=itemgetter(0)):
            checked = _counted(coming[run], table, (record for _, record in rows), steps[run])
            if run in left:
                left.remove(run)
                _compare(storage, coming[run], table, checked)
            for _ in checked:
                pass
        for run in left:
            _compare(storage, coming[run], table, ())


def _check_run(each: _Coming) -> None:
    record, stored = each.record, each.stored
    try:
        from_dict(RunConfig, record.config)
    except ConfigError as error:
        raise ArchiveError(f"the configuration of run {record.id} is not one: {error}") from error
    if stored is None:
        return
    if not each.is_here:
        # Whatever was written is compared once it is complete; these cannot change any more.
        record, stored = _identity(record), _identity(stored)
    facts = {name: fact for name, fact in stored.facts.items() if name != ARRIVED_AT}
    stored = dataclasses.replace(stored, facts=facts)
    if stored != dataclasses.replace(record, problem_path=stored.problem_path):
        raise _differs(each, "itself: status, time, problem or configuration")


def _identity(record: RunRecord) -> RunRecord:
    return dataclasses.replace(
        record, status=RunStatus.ARRIVING, config={}, facts={}, finished_at=None, wall_s=0.0, message=None
    )


def _counted(
    each: _Coming, table: Table, records: Iterable[Any], steps: set[tuple[int, int]]
) -> Iterator[Any]:
    """The records, noting their chains; each must be of a step that is there."""
    run = each.record.id
    for record in records:
        each.rows[table.name] += 1
        if isinstance(record, Planned):
            steps.add((record.step.chain, record.step.step))
            each.chains.add(record.step.chain)
        elif isinstance(record, Consultation):
            each.chains.add(record.chain)  # one may come before its step is planned
        else:
            if isinstance(record, Evaluation) and record.finished_at is not None:
                each.seen_until = max(each.seen_until, record.finished_at)
            key = getattr(record, "key", None)
            if key is not None and key.chain != SHARED_CHAIN and (key.chain, key.step) not in steps:
                raise ArchiveError(f"{table.name} of run {run} have {key}, and there is no such step")
        yield record


def _compare(storage: Storage, coming: _Coming, table: Table, records: Iterable[Any]) -> None:
    """Refuse a stored run that is not equal; audits that were made here since are none of the archive's business.

    Of one that has not arrived whole, all that is here must be in the archive.
    """
    assert table.stored is not None
    run = coming.record.id
    with storage.snapshot(run) as snapshot:
        here = table.stored(snapshot)
        found = next(here, None)
        for record in records:
            while found is not None and found != record and _is_audit(found):
                found = next(here, None)
            if found == record:
                found = next(here, None)
            elif coming.is_here:
                raise _differs(coming, f"in its {table.name}, at {_place(table, record)}")
        while found is not None and _is_audit(found):
            found = next(here, None)
        if found is not None:
            raise _differs(
                coming, f"in its {table.name}, at {_place(table, found)}, which only the stored one has"
            )


def _is_audit(record: Any) -> bool:
    return isinstance(record, Evaluation) and record.purpose is Purpose.AUDIT


def _place(table: Table, record: Any) -> str:
    return str(getattr(record, "key", None) or table.place(record))


def _differs(coming: _Coming, how: str) -> ArchiveError:
    run = coming.record.id
    if coming.is_here:
        fix = "import into another storage (--storage FILE) to have both"
    else:
        fix = "it came in part from another archive, whose import is to be repeated"
    return ArchiveError(
        f"run {run} is stored already and differs from the archive's {how}; nothing was changed: {fix}"
    )


# Writing


def _begin(storage: Storage, each: _Coming, leased: ExitStack) -> None:
    record, run = each.record, each.record.id
    if each.stored is None:
        begun = dataclasses.replace(_identity(record), config=record.config, facts=each.arrival)
        storage.create_run(dataclasses.replace(begun, message=_HALF))
    owner = storage.holder(run)
    dead = [owner] if owner is not None and is_dead(owner) else []
    leases = storage.acquire(run, sorted(each.chains), this_owner(), _LEASE_S, dead=dead)
    leased.callback(storage.release, leases)
    each.leases = {lease.chain: lease for lease in leases}
    if each.leases.keys() != each.chains:
        who = describe_owner(owner) if owner else "another process"
        raise RunBusy(f"run {run} is being imported by {who}; wait for it, or end it, then import again")


def _write(storage: Storage, archive: Archive, new: dict[str, _Coming], clock: Callable[[], float]) -> None:
    renewed = clock()
    for writes in _batches(archive, new):
        _append(storage, writes)
        if clock() - renewed > _LEASE_S / 4:
            renewed = clock()
            for each in new.values():
                storage.renew(list(each.leases.values()), _LEASE_S)


def _batches(archive: Archive, new: dict[str, _Coming]) -> Iterator[list[Write]]:
    """Everything to be written, some records at a time."""
    waiting: dict[Lease, list[Record]] = {}
    first = next(iter(new.values())).leases[SHARED_CHAIN]
    sandboxes: list[Record] = list(archive.sandboxes())
    if sandboxes:
        yield [Write(lease=first, records=tuple(sandboxes))]
    count = 0
    for table in OF_RUNS:
        for run, record in archive.records(table):
            if run not in new:
                continue
            for chain, one in _records(record):
                waiting.setdefault(new[run].leases[chain], []).append(one)
                count += 1
            if count >= _AT_ONCE:
                yield [Write(lease=lease, records=tuple(records)) for lease, records in waiting.items()]
                waiting, count = {}, 0
    if waiting:
        yield [Write(lease=lease, records=tuple(records)) for lease, records in waiting.items()]


def _records(record: Any) -> Iterator[tuple[int, Record]]:
    """What an archive's record is in storage, with the chain whose lease it is written under."""
    if isinstance(record, Planned):
        yield record.step.chain, record.step
        if record.prompt is not None:
            yield record.step.chain, record.prompt
        return
    if isinstance(record, Consultation):
        yield record.chain, record
        return
    supervised = not hasattr(record, "key") or hasattr(record, "announced_at")
    yield SHARED_CHAIN if supervised else record.key.chain, record


def _append(storage: Storage, writes: list[Write]) -> None:
    refused = storage.append(writes)
    if refused:
        raise RunBusy(
            f"run {refused[0].lease.run} was taken over by another process; import again when that has ended"
        )


def _complete(storage: Storage, each: _Coming) -> None:
    record = each.record
    storage.update_run(
        each.leases[SHARED_CHAIN],
        status=record.status,
        message=record.message,
        wall_s=record.wall_s,
        facts={**record.facts, **each.arrival},
        config=record.config,
        finished_at=record.finished_at,
    )

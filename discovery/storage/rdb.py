"""Storage on a relational database: SQLite or PostgreSQL, one behaviour.

This class is the port's shape; the work is in its siblings: ``engine`` (connections, transactions, errors),
``schema`` (making and upgrading), ``rows`` (records to rows), ``writing`` (append), ``leases``, ``reading`` and
``totals``.
Every method is one transaction, but for ``committed_steps`` and ``answers``, which read page by page, so that a
caller who stops halfway holds nothing, and ``snapshot``, whose transaction lasts as long as its block.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from discovery.errors import DiscoveryError, LeaseLost, StorageError, UnknownRun
from discovery.records import (
    SHARED_CHAIN,
    AdvicePurpose,
    Announcement,
    Answer,
    Candidate,
    CandidateKey,
    CommittedStep,
    Consultation,
    Direction,
    Evaluation,
    Failure,
    Json,
    Measurement,
    ModelIdentity,
    RunStatus,
    SandboxRecord,
    TokenUsage,
)
from discovery.storage import advice_rows, contents, leases, reading, rows, schema, totals, writing
from discovery.storage.base import ChainSummary, Lease, RunCounts, RunRecord, StoredStep, Write
from discovery.storage.codec import json_in, json_out, number_in, text_in, time_in
from discovery.storage.engine import Database, parse_url
from discovery.storage.models import runs
from discovery.storage.snapshot import RdbSnapshot


class RdbStorage:
    """The ``Storage`` port on SQLite and PostgreSQL.

    Args:
        url: ``sqlite:///path``, ``postgresql://user@host/name``, or a plain path of an SQLite file. The
            schema is made or upgraded.
        clock: Seconds since 1970, for leases; None takes this machine's clock on SQLite and the server's on
            PostgreSQL.

    Raises:
        SchemaMismatch: A newer version of this package wrote the database.
        MissingComponent: The driver of PostgreSQL is not installed.
        StorageError: The URL is wrong, or the database cannot be reached, read or written.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] | None = None) -> None:
        self._db = Database(parse_url(url), clock)
        try:
            schema.prepare(self._db)
        except DiscoveryError:
            self._db.close()
            raise
        self._appender = writing.Appender(self._db.engine.dialect)
        self._known = contents.Known()
        # Runs are never deleted, nor do their directions change.
        self._keys: dict[str, int] = {}

    @property
    def name(self) -> str:
        """The database's URL without its password."""
        return self._db.name

    # Runs

    def create_run(self, run: RunRecord) -> None:
        """Store a new run.

        Raises:
            StorageError: The id is taken.
        """
        row = rows.write_run(run)

        def insert(connection: Connection) -> None:
            try:
                connection.execute(runs.insert().values(row))
            except IntegrityError as error:
                raise StorageError(f"a run {run.id!r} is stored already; choose another id") from error

        self._db.write(insert)

    def get_run(self, run: str) -> RunRecord:
        """One run by its id or a unique prefix of it.

        Raises:
            UnknownRun: There is none, or several; the message lists the nearest ids.
        """
        with self._db.reading() as connection:
            ids = list(connection.execute(sa.select(runs.c.id).order_by(runs.c.id)).scalars())
            matches = [run] if run in ids else [i for i in ids if run and i.startswith(run)]
            if len(matches) != 1:
                raise self._unknown(run, ids, matches)
            found = connection.execute(sa.select(runs).where(runs.c.id == matches[0]))
            return rows.read_run(dict(found.mappings().one()))

    def list_runs(self) -> list[RunRecord]:
        """All runs, oldest first."""
        with self._db.reading() as connection:
            found = connection.execute(sa.select(runs).order_by(runs.c.created_at, runs.c.key))
            return [rows.read_run(dict(row)) for row in found.mappings()]

    def update_run(
        self,
        lease: Lease,
        *,
        status: RunStatus | None = None,
        message: str | None = None,
        wall_s: float | None = None,
        facts: Mapping[str, Json] | None = None,
        config: Mapping[str, Json] | None = None,
        finished_at: datetime | None = None,
    ) -> None:
        """Change the given fields of a run; ``facts`` are merged, ``message`` always replaces.

        Raises:
            LeaseLost: Another process supervises the run now.
            StorageError: The lease is not of ``SHARED_CHAIN``, or a value cannot be stored.
        """
        if lease.chain != SHARED_CHAIN:
            raise StorageError(
                f"run {lease.run} was updated under the lease of chain {lease.chain}; use SHARED_CHAIN's"
            )
        values: dict[str, object] = {"message": None if message is None else text_in(message)}
        if status is not None:
            values["status"] = status.value
        if wall_s is not None:
            values["wall_s"] = number_in(wall_s, "wall_s")
        if finished_at is not None:
            values["finished_at"] = time_in(finished_at, "finished_at")
        if config is not None:
            values["config"] = json_in(dict(config), "config")
        json_in(dict(facts or {}), "facts")

        def update(connection: Connection) -> None:
            key = self._key(connection, lease.run)
            if not leases.held(connection, key, [lease]):
                raise LeaseLost(f"run {lease.run} is supervised by another process now")
            if facts:
                at_key = sa.select(runs.c.facts).where(runs.c.key == key)
                stored = json_out(connection.execute(at_key).scalar_one())
                values["facts"] = json_in({**stored, **facts}, "facts")
            connection.execute(runs.update().where(runs.c.key == key).values(values))

        self._db.write(update)

    # Leases

    def acquire(
        self, run: str, chains: Sequence[int], owner: str, ttl_s: float, *, dead: Sequence[str] = ()
    ) -> list[Lease]:
        """Take the leases that nobody holds, or whose holder has not renewed in time.

        What the same owner holds already is extended and given again under the same epoch, so a call whose
        answer was lost can be repeated.

        Returns:
            The leases got, by chain; the other chains are held by live processes.
        """

        def take(connection: Connection) -> list[Lease]:
            key = self._key(connection, run)
            term = leases.Term(now=self._db.now(connection), ttl=int(ttl_s * 1e6))
            return leases.acquire(connection, key, run, chains, owner, term, dead=dead)

        return self._db.write(take)

    def renew(self, leases_: Sequence[Lease], ttl_s: float) -> list[Lease]:
        """Extend leases; returns those still held."""
        if not leases_:
            return []

        def extend(connection: Connection) -> set[Lease]:
            expires_at = self._db.now(connection) + int(ttl_s * 1e6)
            kept: set[Lease] = set()
            for key, group in self._by_run(connection, leases_):
                kept |= leases.renew(connection, key, group, expires_at)
            return kept

        kept = self._db.write(extend)
        return [lease for lease in leases_ if lease in kept]

    def release(self, leases_: Sequence[Lease]) -> None:
        """Give leases back at once; those lost already are ignored."""

        def give(connection: Connection) -> None:
            for key, group in self._by_run(connection, leases_):
                leases.release(connection, key, group)

        if leases_:
            self._db.write(give)

    def holder(self, run: str) -> str | None:
        """Owner of the run's live ``SHARED_CHAIN`` lease, or None."""
        with self._db.reading() as connection:
            key = self._key(connection, run)
            return leases.holder(connection, key, self._db.now(connection))

    # Writing

    def append(self, writes: Sequence[Write]) -> list[Write]:
        """Write records; returns the writes that were refused because their lease is lost.

        Raises:
            StorageFull: No room; nothing was written.
            StorageError: A stored record would change, a record cannot be stored, or the database failed;
            nothing
                was written.
        """
        if not writes:
            return []
        keys = self._load_keys({write.lease.run for write in writes})
        encoded = [writing.encode(write, keys[write.lease.run], self._known) for write in writes]
        accepted = self._db.write(lambda connection: self._appender.append(connection, encoded))
        for one in accepted:
            self._known.add(row["hash"] for row in one.blobs)
        if len(accepted) == len(encoded):
            return []
        done = {id(one) for one in accepted}
        return [one.write for one in encoded if id(one) not in done]

    # Reading back

    def committed_steps(
        self, run: str, chain: int, metrics: Sequence[str] = (), *, spending: bool = False
    ) -> Iterator[CommittedStep]:
        """The committed steps of a chain in order, from 1, without texts; with what is asked for beside."""
        after = 0
        while True:
            with self._db.reading() as connection:
                key = self._key(connection, run)
                page = reading.committed_page(connection, key, chain, after, metrics, spending)
            if not page:
                return
            yield from page
            after = page[-1].step

    def open_steps(self, run: str, chain: int) -> list[StoredStep]:
        """The planned steps of a chain that are not committed, in order, with all that is stored of them."""
        with self._db.reading() as connection:
            key = self._key(connection, run)
            numbers = reading.open_steps(connection, key, chain)
            stored = [reading.stored_step(connection, key, chain, number) for number in numbers]
        return [step for step in stored if step is not None]

    def step(self, run: str, chain: int, step: int) -> StoredStep | None:
        """One step with all that is stored of it, or None."""
        with self._db.reading() as connection:
            return reading.stored_step(connection, self._key(connection, run), chain, step)

    def candidate(self, run: str, key: CandidateKey) -> Candidate | None:
        """One candidate with its source, or None."""
        with self._db.reading() as connection:
            return reading.candidate(connection, self._key(connection, run), key)

    def evaluations(self, run: str, key: CandidateKey) -> list[Evaluation]:
        """All evaluations of a candidate, searches first, by attempt."""
        with self._db.reading() as connection:
            return reading.evaluations_of(connection, self._key(connection, run), key)

    def find_source(
        self, run: str, source_hash: str, warm_start: CandidateKey | None = None, form: str | None = None
    ) -> Evaluation | None:
        """A search evaluation that is no duplicate and holds for a program, or None."""
        digest, of_form = bytes.fromhex(source_hash), None if form is None else bytes.fromhex(form)
        with self._db.reading() as connection:
            return reading.find_source(connection, self._key(connection, run), digest, warm_start, of_form)

    def consultation(self, run: str, chain: int, step: int, purpose: AdvicePurpose) -> Consultation | None:
        """One consultation, or None."""
        with self._db.reading() as connection:
            return advice_rows.consultation(connection, self._key(connection, run), chain, step, purpose)

    def answers(self, run: str, chain: int) -> Iterator[Answer]:
        """What consultations of a chain were answered, by step and purpose (rerank, elite, reflect)."""
        after = (-1, -1)
        while True:
            with self._db.reading() as connection:
                page = advice_rows.page(connection, self._key(connection, run), chain, after)
            if not page:
                return
            yield from page
            after = advice_rows.place_of(page[-1])

    def disagreements(self, run: str) -> dict[CandidateKey, Failure]:
        """Candidates whose second scoring disagreed, with the failure; they do not count as scored."""
        with self._db.reading() as connection:
            return totals.disagreements(connection, self._key(connection, run))

    def verifications(self, run: str) -> list[Evaluation]:
        """All finished evaluations of purpose VERIFY, by place and attempt."""
        with self._db.reading() as connection:
            return reading.verifications(connection, self._key(connection, run))

    def announcements(self, run: str) -> list[Announcement]:
        """Verified run-bests in the order they were announced."""
        with self._db.reading() as connection:
            return reading.announced(connection, self._key(connection, run))

    def measurements(self, run: str) -> list[Measurement]:
        """The run's time series, in the order of time."""
        with self._db.reading() as connection:
            return reading.measured(connection, self._key(connection, run))

    def sandbox(self, record_id: str) -> SandboxRecord | None:
        """A record of verified properties, or None."""
        with self._db.reading() as connection:
            return reading.sandbox(connection, record_id)

    def counts(self, run: str) -> RunCounts:
        """Totals over a run."""
        with self._db.reading() as connection:
            return totals.counts(connection, self._key(connection, run))

    def chain_summaries(self, run: str) -> list[ChainSummary]:
        """Where each chain that has a step stands, by number."""
        with self._db.reading() as connection:
            key = self._key(connection, run)
            found = connection.execute(sa.select(runs.c.direction).where(runs.c.key == key))
            return totals.chain_summaries(connection, key, Direction(found.scalar_one()))

    def speakers(self, run: str) -> dict[ModelIdentity, int]:
        """Which models spoke, with how many completions each wrote."""
        with self._db.reading() as connection:
            return totals.speakers(connection, self._key(connection, run))

    def tokens_by_model(self, run: str) -> dict[ModelIdentity, TokenUsage]:
        """What each model's completions and consultations took, prompts included."""
        with self._db.reading() as connection:
            return totals.tokens_by_model(connection, self._key(connection, run))

    def scores(self, run: str) -> list[tuple[CandidateKey, float | None]]:
        """Every finished search evaluation's score in the order they finished, None for failures.

        One whose second scoring disagreed, or is still to come, counts as failed. The initial candidate's is among
        them, as the first one that finishes.
        """
        with self._db.reading() as connection:
            return totals.scores(connection, self._key(connection, run))

    @contextmanager
    def snapshot(self, run: str) -> Iterator[RdbSnapshot]:
        """A run as it is at this moment, to be read from one end to the other with flat memory."""
        with self._db.reading() as connection:
            key = self._key(connection, run)
            found = connection.execute(sa.select(runs).where(runs.c.key == key))
            yield RdbSnapshot(connection, key, rows.read_run(dict(found.mappings().one())))

    def close(self) -> None:
        """Free the database. May be called twice."""
        self._db.close()

    def _key(self, connection: Connection, run: str) -> int:
        key = self._keys.get(run)
        if key is None:
            key = connection.execute(sa.select(runs.c.key).where(runs.c.id == run)).scalar()
            if key is None:
                ids = list(connection.execute(sa.select(runs.c.id)).scalars())
                raise self._unknown(run, ids, [])
            self._keys[run] = key
        return key

    def _load_keys(self, wanted: set[str]) -> Mapping[str, int]:
        if not self._keys.keys() >= wanted:
            with self._db.reading() as connection:
                for run in wanted:
                    self._key(connection, run)
        return self._keys

    def _by_run(self, connection: Connection, wanted: Sequence[Lease]) -> list[tuple[int, list[Lease]]]:
        groups: dict[str, list[Lease]] = {}
        for lease in wanted:
            groups.setdefault(lease.run, []).append(lease)
        return sorted((self._key(connection, run), group) for run, group in groups.items())

    def _unknown(self, run: str, ids: list[str], matches: list[str]) -> UnknownRun:
        if matches:
            return UnknownRun(f"run {run!r} fits several: {', '.join(matches[:5])}; give more of the id")
        near = difflib.get_close_matches(run, ids, n=3, cutoff=0.4) or ids[-3:]
        hint = f"the nearest are {', '.join(near)}" if near else "no run is stored there"
        return UnknownRun(f"no run {run!r} in {self.name}; {hint}")

"""Leases: who may write to a chain, and since which epoch.

A lease that ran out stays good until somebody takes it: a process that slept, on a laptop whose lid was
closed, goes on as if nothing had happened when nobody else came. What ends a lease is its epoch growing, or
its release. Rows are locked in the order of their chains, so that two processes never wait for each other in
a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

from discovery.records import SHARED_CHAIN
from discovery.storage.base import Lease
from discovery.storage.models import leases
from discovery.storage.prepared import Prepared

_TAKE = (
    sa.select(leases.c.chain, leases.c.owner, leases.c.epoch, leases.c.expires_at)
    .where(
        leases.c.run == sa.bindparam("run"),
        leases.c.chain.in_(sa.bindparam("chains", expanding=True)),
    )
    .order_by(leases.c.chain)
    .with_for_update()
)
_SET = (
    leases.update()
    .where(leases.c.run == sa.bindparam("at_run"), leases.c.chain == sa.bindparam("at_chain"))
    .values(
        owner=sa.bindparam("owner"),
        epoch=sa.bindparam("epoch"),
        expires_at=sa.bindparam("expires_at"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """When a lease is given, and for how long.

    Args:
        now: In microseconds since 1970.
        ttl: In microseconds.
    """

    now: int
    ttl: int


def _setting(run: int, chain: int, owner: str | None, epoch: int, expires_at: int) -> dict[str, object]:
    return {
        "at_run": run,
        "at_chain": chain,
        "owner": owner,
        "epoch": epoch,
        "expires_at": expires_at,
    }


class Guard:
    """Finds out which leases are held, as the first statement of each append.

    Args:
        dialect: The database's.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._statements: dict[int, Prepared] = {}

    def held(self, connection: Connection, key: int, wanted: Iterable[Lease]) -> set[Lease]:
        """Those leases of one run that are held, which nobody can take before the transaction ends.

        Args:
            connection: Of a writing transaction.
            key: The run's integer key.
            wanted: Leases of that run.
        """
        chains = sorted({lease.chain for lease in wanted})
        # A statement per number of chains, rounded up, with the last chain repeated.
        width = 1 << (len(chains) - 1).bit_length()
        chains += chains[-1:] * (width - len(chains))
        rows = self._statement(width).one(
            connection, {"run": key, **{f"c{i}": chain for i, chain in enumerate(chains)}}
        )
        now = {row.chain: (row.owner, row.epoch) for row in rows}
        return {lease for lease in wanted if now.get(lease.chain) == (lease.owner, lease.epoch)}

    def _statement(self, width: int) -> Prepared:
        if width not in self._statements:
            places: list[sa.BindParameter[int]] = [sa.bindparam(f"c{i}") for i in range(width)]
            self._statements[width] = Prepared(
                sa.select(leases.c.chain, leases.c.owner, leases.c.epoch)
                .where(leases.c.run == sa.bindparam("run"), leases.c.chain.in_(places))
                .order_by(leases.c.chain)
                .with_for_update(read=True),
                self._dialect,
            )
        return self._statements[width]


def held(connection: Connection, key: int, wanted: Iterable[Lease]) -> set[Lease]:
    """Those leases of one run that are held, locked for a change of their rows.

    Args:
        connection: Of a writing transaction.
        key: The run's integer key.
        wanted: Leases of that run.
    """
    chains = sorted({lease.chain for lease in wanted})
    rows = connection.execute(_TAKE, {"run": key, "chains": chains})
    now = {row.chain: (row.owner, row.epoch) for row in rows}
    return {lease for lease in wanted if now.get(lease.chain) == (lease.owner, lease.epoch)}


def acquire(
    connection: Connection,
    key: int,
    run: str,
    chains: Sequence[int],
    owner: str,
    term: Term,
    *,
    dead: Sequence[str] = (),
) -> list[Lease]:
    """Take what is free; what this owner holds already is extended and given again, under the same epoch.

    Args:
        connection: Of a writing transaction.
        key: The run's integer key.
        run: Its id.
        chains: The chains wanted.
        owner: Who wants them.
        term: From when, and for how long.
        dead: Owners whose leases count as expired.
    """
    wanted = sorted(set(chains))
    if not wanted:
        return []
    # A row must be there before it can be locked.
    insert = _insert_missing(connection)
    connection.execute(
        insert,
        [{"run": key, "chain": c, "owner": None, "epoch": 0, "expires_at": 0} for c in wanted],
    )
    taken: list[Lease] = []
    for row in connection.execute(_TAKE, {"run": key, "chains": wanted}).all():
        mine = row.owner == owner
        if row.owner is not None and row.owner not in dead and row.expires_at > term.now and not mine:
            continue
        epoch = row.epoch if mine else row.epoch + 1
        taken.append(Lease(run=run, chain=row.chain, owner=owner, epoch=epoch))
    if taken:
        connection.execute(
            _SET, [_setting(key, lease.chain, owner, lease.epoch, term.now + term.ttl) for lease in taken]
        )
    return taken


def _insert_missing(connection: Connection) -> sa.Insert:
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(leases).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(leases).on_conflict_do_nothing()


def renew(connection: Connection, key: int, wanted: Sequence[Lease], expires_at: int) -> set[Lease]:
    """Extend leases of one run; those still held are returned."""
    kept = held(connection, key, wanted)
    if kept:
        connection.execute(
            _SET,
            [_setting(key, lease.chain, lease.owner, lease.epoch, expires_at) for lease in kept],
        )
    return kept


def release(connection: Connection, key: int, wanted: Sequence[Lease]) -> None:
    """Give leases of one run back; the epoch stays, so that the next holder's is higher."""
    kept = held(connection, key, wanted)
    if kept:
        connection.execute(_SET, [_setting(key, lease.chain, None, lease.epoch, 0) for lease in kept])


def holder(connection: Connection, key: int, now: int) -> str | None:
    """Owner of the run's live shared lease, or None."""
    return connection.execute(
        sa.select(leases.c.owner).where(
            leases.c.run == key,
            leases.c.chain == SHARED_CHAIN,
            leases.c.owner.is_not(None),
            leases.c.expires_at > now,
        )
    ).scalar()

"""Flat cost: what is asked while a run goes on is found by a key or an index, never by walking a table."""

import pytest
import sqlalchemy as sa

from discovery.records import AdvicePurpose, CandidateKey
from discovery.storage.rdb import RdbStorage
from discovery.testing.storage import append, full_step, make_candidate, make_committed, make_step, start

KEY = CandidateKey(0, 1, 0)
HOT = {
    "append": lambda s, lease: append(s, lease, *full_step()),
    "grow": lambda s, lease: append(s, lease, make_committed(make_step(0, 1), None)),
    "renew": lambda s, lease: s.renew([lease], 60.0),
    "find_source": lambda s, _: s.find_source("run-1", make_candidate(KEY, "x").source_hash),
    "find_form": lambda s, _: s.find_source("run-1", "0" * 64, None, "f" * 64),
    "open_steps": lambda s, _: s.open_steps("run-1", 0),
    "step": lambda s, _: s.step("run-1", 0, 1),
    "candidate": lambda s, _: s.candidate("run-1", KEY),
    "evaluations": lambda s, _: s.evaluations("run-1", KEY),
    "consultation": lambda s, _: s.consultation("run-1", 0, 1, AdvicePurpose.REFLECT),
    "answers": lambda s, _: list(s.answers("run-1", 0)),
    "committed_steps": lambda s, _: list(s.committed_steps("run-1", 0)),
    "metrics": lambda s, lease: _metrics(s, lease),
}


def _metrics(storage, lease):
    append(storage, lease, make_committed(make_step(0, 1), None))
    (step,) = storage.committed_steps("run-1", 0, ("alpha",))
    assert [outcome.metrics for outcome in step.outcomes] == [{"alpha": 2.5}, {}]


@pytest.mark.parametrize("name", HOT)
def test_no_table_is_walked(tmp_path, name):
    storage = RdbStorage(str(tmp_path / "a.db"))
    lease = start(storage)[0]
    append(storage, lease, *full_step(), make_candidate(CandidateKey(0, 1, 1), "x"))
    asked = []

    @sa.event.listens_for(storage._db.engine, "before_cursor_execute")
    def listen(connection, cursor, statement, parameters, context, many):
        if not statement.startswith(("BEGIN", "EXPLAIN")):
            asked.append(statement)
            one = parameters[0] if many else parameters
            plan = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", one).fetchall()
            walks = [row[3] for row in plan if row[3].startswith("SCAN") and "LIST" not in row[3]]
            assert walks == [], statement

    HOT[name](storage, lease)
    assert asked
    storage.close()

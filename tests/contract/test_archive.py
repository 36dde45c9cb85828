"""Whatever a run holds, an archive carries it from database to database unchanged, byte for byte."""

import dataclasses

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from discovery import records as r
from discovery.config import RunConfig, to_dict
from discovery.storage.base import ARRIVED_AT, Write
from discovery.storage.rdb import RdbStorage
from discovery.testing import drawn
from discovery.testing.storage import make_run
from discovery.trajectories.archive import write_archive
from discovery.trajectories.arrival import arrive

pytest.importorskip("pyarrow")

names = st.text("abc-123", min_size=1, max_size=8)


@st.composite
def of_candidate(draw, key, sandboxes):
    made = [draw(drawn.candidates(key))]
    for purpose in r.Purpose:
        for attempt in range(draw(st.integers(0, 2))):
            made.append(draw(drawn.evaluations(key, purpose, attempt, sandboxes)))
    return made


@st.composite
def runs(draw):
    """A run's record and what is stored of it, by chain."""
    record = dataclasses.replace(
        make_run("?", draw(st.sampled_from(r.Direction))),
        problem=draw(names),
        problem_path=draw(drawn.texts),
        config=to_dict(RunConfig(problem=draw(names), seed=draw(st.integers(0, 9)))),
        status=draw(
            st.sampled_from([status for status in r.RunStatus if status is not r.RunStatus.ARRIVING])
        ),
        created_at=draw(drawn.times),
        finished_at=draw(drawn.optional(drawn.times)),
        wall_s=draw(st.floats(0, 1e9)),
        message=draw(drawn.optional(drawn.texts)),
        facts=draw(drawn.mappings),
    )
    sandboxes = draw(st.lists(names, max_size=2, unique=True))
    shared = [
        *(r.SandboxRecord(id=n, backend="none", properties={"network": False}) for n in sandboxes),
        *draw(of_candidate(r.INITIAL, sandboxes)),
        *draw(of_candidate(r.initial_key(1), sandboxes)),
        *draw(drawn.measurements),
    ]
    chains = {r.SHARED_CHAIN: shared}
    for chain in draw(st.sets(st.integers(0, 3), max_size=2)):
        chains[chain] = []
        for step in range(1, draw(st.integers(1, 3))):
            plan, prompt = (
                drawn.steps(chain, step, selectors=names),
                drawn.optional(drawn.prompts(chain, step)),
            )
            chains[chain] += [made for made in (draw(plan), draw(prompt)) if made is not None]
            for purpose in draw(st.sets(st.sampled_from(r.AdvicePurpose))):
                chains[chain].append(draw(drawn.consultations(chain, step, purpose)))
            for index in range(draw(st.integers(0, 2))):
                key = r.CandidateKey(chain, step, index)
                chains[chain] += [draw(drawn.completions(key)), *draw(of_candidate(key, sandboxes))]
                if draw(st.booleans()):
                    shared.append(draw(drawn.announcements(st.just(key))))
    return record, chains


def store(storage, record, chains):
    storage.create_run(record)
    for lease in storage.acquire(record.id, sorted(chains), "owner", 60.0):
        assert storage.append([Write(lease=lease, records=tuple(chains[lease.chain]))]) == []
        storage.release([lease])


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def databases(request, tmp_path):
    """Three that are empty: SQLite, the other one, SQLite."""
    other = request.getfixturevalue("postgres")() if request.param == "postgres" else str(tmp_path / "b.db")
    opened = [RdbStorage(url) for url in (str(tmp_path / "a.db"), other, str(tmp_path / "c.db"))]
    yield opened
    for storage in opened:
        storage.close()


made = iter(range(10_000))


def apart_from_arrival(record):
    return dataclasses.replace(record, facts={n: f for n, f in record.facts.items() if n != ARRIVED_AT})


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(
    max_examples=settings.default.max_examples // 5,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(runs(), min_size=1, max_size=2))
def test_any_run_goes_from_database_to_database(databases, tmp_path, given_runs):
    """The databases hold those of earlier examples too; an archive has only what it was asked for."""
    number = next(made)
    ids = [f"run-{number}-{place}" for place in range(len(given_runs))]
    for run, (record, chains) in zip(ids, given_runs, strict=True):
        named = {
            chain: [
                dataclasses.replace(each, id=f"{run} {each.id}")
                if isinstance(each, r.SandboxRecord)
                else dataclasses.replace(each, sandbox=each.sandbox and f"{run} {each.sandbox}")
                if isinstance(each, r.Evaluation)
                else each
                for each in of_chain
            ]
            for chain, of_chain in chains.items()
        }
        store(databases[0], dataclasses.replace(record, id=run), named)
    first, second, third = databases
    write_archive(tmp_path / f"{number}-1", first, ids)
    written = files(tmp_path / f"{number}-1")
    for place, (source, target) in enumerate([(first, second), (second, third)], start=1):
        assert [each.is_new for each in arrive(target, tmp_path / f"{number}-{place}")] == [True] * len(ids)
        for run in ids:
            here, there = source.get_run(run), target.get_run(run)
            assert there.arrived_at is not None
            assert apart_from_arrival(here) == apart_from_arrival(there)
            assert source.counts(run) == target.counts(run)
            assert sorted(source.scores(run), key=repr) == sorted(target.scores(run), key=repr)
        # Whatever the order in which they are named.
        write_archive(tmp_path / f"{number}-{place + 1}", target, ids[::-1])
        assert files(tmp_path / f"{number}-{place + 1}") == written
    assert [each.is_new for each in arrive(first, tmp_path / f"{number}-3")] == [False] * len(ids)

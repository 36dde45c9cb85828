"""The storage port.

Contract of every implementation:

- All methods are safe to call from several threads, and several processes may share one database.
- Records are immutable: what was appended is never changed, with two exceptions, each a single forward step:
  a planned ``Step`` becomes a committed one, a running ``Evaluation`` becomes a finished one. Appending an
  equal record again is no error and changes nothing (the primary keys are the records' places); appending a
  *different* finished record under a taken place raises ``StorageError``. A second measurement of one microsecond
  is no error either: the first one stays.
- ``append`` is one transaction for all the writes given: all of those whose lease is still held are on disk
  when it returns, none of the others. A write whose lease was lost is returned as refused, whole.
- A write is fenced by the lease of the chain it belongs to; ``SHARED_CHAIN`` is the supervisor's own.
- Large texts are stored once by content and compressed; no secret is ever given to storage.
- No database error escapes: ``StorageError`` and its kinds, ``UnknownRun``, with the fix in the message.
  Readers get records, never rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, TypeVar

from discovery.records import (
    AdvicePurpose,
    Announcement,
    Answer,
    Candidate,
    CandidateKey,
    CommittedStep,
    Completion,
    Consultation,
    Evaluation,
    Failure,
    Json,
    Measurement,
    ModelIdentity,
    Prompt,
    RunStatus,
    SandboxRecord,
    Step,
    TokenUsage,
)
from discovery.storage.stored import ARRIVED_AT as ARRIVED_AT
from discovery.storage.stored import ChainSummary as ChainSummary
from discovery.storage.stored import Lease as Lease
from discovery.storage.stored import RunCounts as RunCounts
from discovery.storage.stored import RunRecord as RunRecord
from discovery.storage.stored import StoredStep as StoredStep
from discovery.storage.stored import Write as Write

OfRun = TypeVar(
    "OfRun",
    Step,
    Prompt,
    Completion,
    Candidate,
    Evaluation,
    Consultation,
    Announcement,
    Measurement,
    covariant=True,
)
"""A kind of record that belongs to one run."""


class Snapshot(Protocol):
    """All that is stored of a run at one moment; what is written later is not seen."""

    @property
    def run(self) -> RunRecord:
        """The run itself."""
        ...

    def records(self, kind: type[OfRun]) -> Iterator[OfRun]:
        """All records of a kind, of every purpose, attempt and state, by place; several kinds can be read in turns.

        Places are ordered by chain, step, index, purpose (search, verify, audit) and attempt, consultations by chain,
        step and purpose (rerank, elite, reflect), measurements by time.
        """
        ...


class Storage(Protocol):
    """Where runs live. See the module docstring for the contract."""

    # Runs
    def create_run(self, run: RunRecord) -> None:
        """Store a new run. Raises StorageError when the id is taken."""
        ...

    def get_run(self, run: str) -> RunRecord:
        """One run by its id or a unique prefix of it. Raises UnknownRun, which lists the nearest ids."""
        ...

    def list_runs(self) -> list[RunRecord]:
        """All runs, oldest first."""
        ...

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

        Args:
            lease: Of ``SHARED_CHAIN``.
            status: Where it stands now.
            message: Why, in one line.
            wall_s: Wall time of its processes so far, in seconds.
            facts: Measurements to add.
            config: The configuration that it goes on with.
            finished_at: When it finished.

        Raises:
            LeaseLost: Another process supervises the run now.
        """
        ...

    # Leases
    def acquire(
        self, run: str, chains: Sequence[int], owner: str, ttl_s: float, *, dead: Sequence[str] = ()
    ) -> list[Lease]:
        """Take the leases of those chains that nobody holds or whose holder has not renewed in time.

        Args:
            run: Run id.
            chains: The chains wanted.
            owner: Who asks.
            ttl_s: How long a lease lasts without being renewed, in seconds.
            dead: Owners that are known to have ended; their leases count as expired.

        Returns:
            The leases got; the other chains are held by live processes.
        """
        ...

    def renew(self, leases: Sequence[Lease], ttl_s: float) -> list[Lease]:
        """Extend leases; returns those still held."""
        ...

    def release(self, leases: Sequence[Lease]) -> None:
        """Give leases back at once; those lost already are ignored."""
        ...

    def holder(self, run: str) -> str | None:
        """Owner of the run's live ``SHARED_CHAIN`` lease, or None."""
        ...

    # Writing
    def append(self, writes: Sequence[Write]) -> list[Write]:
        """Write records; returns the writes that were refused because their lease is lost.

        Raises:
            StorageFull: No room; nothing was written.
            StorageError: A finished record would change, or the database failed; nothing was written.
        """
        ...

    # Reading back, for resume and for people
    def committed_steps(
        self, run: str, chain: int, metrics: Sequence[str] = (), *, spending: bool = False
    ) -> Iterator[CommittedStep]:
        """The committed steps of a chain in order, from 1, without texts.

        Args:
            run: Run id.
            chain: Chain number.
            metrics: Names of public metrics that outcomes are to carry where they are numbers. With none, what
                scorers say beside the score is not read at all.
            spending: Whether outcomes are to tell which member of a mixture made them, and what that took.
        """
        ...

    def open_steps(self, run: str, chain: int) -> list[StoredStep]:
        """The few planned steps after a chain's committed ones, in order, with all that is stored of them."""
        ...

    def step(self, run: str, chain: int, step: int) -> StoredStep | None:
        """One step with all that is stored of it, or None."""
        ...

    def candidate(self, run: str, key: CandidateKey) -> Candidate | None:
        """One candidate with its source, or None."""
        ...

    def evaluations(self, run: str, key: CandidateKey) -> list[Evaluation]:
        """All evaluations of a candidate, searches first, by attempt."""
        ...

    def find_source(
        self, run: str, source_hash: str, warm_start: CandidateKey | None = None, form: str | None = None
    ) -> Evaluation | None:
        """A search evaluation that is no duplicate and holds for a program, or None.

        One of a candidate with that source and warm start, finished; where there is none, and a form is given, one of
        that form and warm start, scored by a scorer that did not read its source. Of several the first by place; the
        initial candidate's is there too.
        """
        ...

    def consultation(self, run: str, chain: int, step: int, purpose: AdvicePurpose) -> Consultation | None:
        """One consultation, or None."""
        ...

    def answers(self, run: str, chain: int) -> Iterator[Answer]:
        """What consultations of a chain were answered, by step and purpose (rerank, elite, reflect)."""
        ...

    def disagreements(self, run: str) -> dict[CandidateKey, Failure]:
        """Candidates whose second scoring disagreed, with the failure; they do not count as scored."""
        ...

    def verifications(self, run: str) -> list[Evaluation]:
        """All finished evaluations of purpose VERIFY, by place and attempt."""
        ...

    def announcements(self, run: str) -> list[Announcement]:
        """Verified run-bests in the order they were announced."""
        ...

    def measurements(self, run: str) -> list[Measurement]:
        """The run's time series, in the order of time."""
        ...

    def sandbox(self, record_id: str) -> SandboxRecord | None:
        """A record of verified properties, or None."""
        ...

    def counts(self, run: str) -> RunCounts:
        """Totals over a run."""
        ...

    def chain_summaries(self, run: str) -> list[ChainSummary]:
        """Where each chain that has a step stands, by number."""
        ...

    def speakers(self, run: str) -> dict[ModelIdentity, int]:
        """Which models spoke, as their completions say: how many completions each wrote."""
        ...

    def tokens_by_model(self, run: str) -> dict[ModelIdentity, TokenUsage]:
        """What each model's completions and consultations took, prompts included; None where nothing was counted."""
        ...

    def scores(self, run: str) -> list[tuple[CandidateKey, float | None]]:
        """Scores of all finished search evaluations in the order they finished; for plots.

        None: a failure, or a second scoring that disagreed or is still to come. The initial candidate's is there too.
        """
        ...

    def snapshot(self, run: str) -> AbstractContextManager[Snapshot]:
        """A run as it is at this moment, to be read from one end to the other with flat memory.

        What is seen is what a process that died at this moment would have left. The block holds a read transaction:
        others go on writing, but the room that old pages take is not free again before it ends.

        Raises:
            UnknownRun: There is no run of that id.
        """
        ...

    def close(self) -> None:
        """Free the database. May be called twice."""
        ...

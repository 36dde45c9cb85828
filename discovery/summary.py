"""Where a run stands, read from storage alone: what ``discovery show`` prints, at any time, of any run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from discovery import beginnings
from discovery.best import announced_evaluation, best_announced, confirming_evaluation, quarantined
from discovery.budget import Prices, Spent, Tokens
from discovery.config import RunConfig, from_dict
from discovery.owner import is_dead
from discovery.prices import Tariff
from discovery.progress import Quarantine
from discovery.records import CandidateKey, Purpose, RunStatus
from discovery.storage.base import ChainSummary, RunRecord, Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class BestAudit:
    """The latest audit of a run's best.

    Args:
        at: When.
        agrees: Whether it scored as announced.
        message: Both results in one line, where it did not.
        is_changed: Whether the problem was of another version than the run's.
    """

    at: datetime
    agrees: bool
    message: str | None
    is_changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """Where a run stands, from storage alone.

    Args:
        run: Its id.
        problem: The problem's name.
        status: Where it stands; a run whose process died counts as stopped.
        message: Why it paused, stopped or failed.
        evaluations: Finished search evaluations.
        distinct_candidates: Different sources among their programs.
        failures: Evaluations without a score, by kind.
        best: The best verified candidate.
        best_score: Its score, as announced.
        best_exact: Its exact score as a decimal of 20 digits, where the problem has one.
        best_interval: Where that lies with the problem's confidence; None where the scorer ran once.
        initial_score: The initial candidate's score; of several the best, which is what there was to improve on.
        wall_s: Wall time of the run's processes, in seconds.
        tokens: Tokens of its prompts and completions, consultations included; what a server did not count is not
            among them.
        consultations: Questions to a model that made no candidate, unanswered ones included.
        consultation_tokens: Tokens of those.
        consultations_in_vain: Those without an answer, or with one that is of no use.
        cost: What it cost so far, at the prices that were stored with it; None where none is known.
        currency: Of the cost.
        generator_utilisation: Busy slot-seconds over slots times seconds, of the last process.
        chains: Where each chain stands.
        quarantine: Results in doubt that were scored again.
        refuted: Candidates whose second scoring disagreed, in the order of their places.
        audit: The latest audit of the best; None when it never was.
        duplicates: Evaluations for which nothing ran: an equal program had a result.
        repeats: Others whose solution and score another candidate of their chain had before; 0 where the run does not
            know equal solutions.
    """

    run: str
    problem: str
    status: RunStatus
    message: str | None
    evaluations: int
    distinct_candidates: int
    failures: Mapping[str, int]
    best: CandidateKey | None
    best_score: float | None
    best_exact: str | None
    best_interval: tuple[float, float] | None
    initial_score: float | None
    wall_s: float
    tokens: Tokens
    consultations: int
    consultation_tokens: int
    consultations_in_vain: int
    cost: float | None
    currency: str
    generator_utilisation: float | None
    chains: tuple[ChainSummary, ...]
    quarantine: Quarantine
    refuted: tuple[CandidateKey, ...]
    audit: BestAudit | None
    duplicates: int = 0
    repeats: int = 0

    @property
    def programs(self) -> str:
        """How many programs were different, and what the others were, in words."""
        said = ["different"]
        if self.duplicates:
            said.append(f"{self.duplicates} taken over from an equal one")
        if self.repeats:
            said.append(f"{self.repeats} with a solution that the chain had")
        return ", ".join(said)

    @property
    def cost_per_evaluation(self) -> float | None:
        """The cost over the evaluations; None without either."""
        return self.cost / self.evaluations if self.cost is not None and self.evaluations else None


def summarize(storage: Storage, run: str) -> RunSummary:
    """Where a run stands.

    Args:
        storage: Where it lives.
        run: Its id or a unique prefix.

    Raises:
        UnknownRun: There is no such run.
    """
    record = storage.get_run(run)
    counts = storage.counts(record.id)
    starts = beginnings.scored(storage, record.id)
    best = best_announced(storage.announcements(record.id), record.direction)
    claimed = announced_evaluation(storage, record.id, best) if best else None
    confirming = confirming_evaluation(storage, record.id, best) if best else None
    prices = from_dict(Prices, record.config.get("prices") or {}, "prices.")
    tariff = _tariff(record)
    utilisation = record.facts.get("generator_utilisation")
    return RunSummary(
        run=record.id,
        problem=record.problem,
        status=status_of(storage, record),
        message=record.message,
        evaluations=counts.evaluations,
        distinct_candidates=counts.distinct_candidates,
        duplicates=counts.duplicates,
        repeats=counts.repeats,
        failures=counts.failures,
        best=best.key if best else None,
        best_score=best.score if best else None,
        best_exact=confirming.score.exact if confirming and confirming.score else None,
        best_interval=claimed.score.interval if claimed and claimed.score else None,
        initial_score=beginnings.best_value(starts, record.direction),
        wall_s=record.wall_s,
        tokens=Tokens(prompt=counts.prompt_tokens, completion=counts.completion_tokens),
        consultations=counts.consultations,
        consultation_tokens=counts.consultation_tokens,
        consultations_in_vain=counts.consultations_in_vain,
        cost=prices.cost(
            Spent(
                prompt_tokens=counts.prompt_tokens,
                completion_tokens=counts.completion_tokens,
                cached_tokens=counts.cached_tokens,
                seconds=record.wall_s,
                token_cost=None if tariff is None else tariff.cost(storage.tokens_by_model(record.id)),
            )
        ),
        currency=prices.currency,
        generator_utilisation=utilisation,
        chains=tuple(storage.chain_summaries(record.id)),
        quarantine=quarantined(storage, record.id),
        refuted=tuple(storage.disagreements(record.id)),
        audit=_audit(storage, record, best.key) if best else None,
    )


def _tariff(record: RunRecord) -> Tariff | None:
    """Prices by model, where they differ; of any other run not even its configuration is read."""
    if not (record.config.get("generator") or {}).get("members"):
        return None
    return Tariff.of(from_dict(RunConfig, record.config), record.facts.get("models") or {})


def _audit(storage: Storage, record: RunRecord, key: CandidateKey) -> BestAudit | None:
    audits = [
        e
        for e in storage.evaluations(record.id, key)
        if e.purpose is Purpose.AUDIT and record.has_seen(e.finished_at)
    ]
    if not audits:
        return None
    latest = audits[-1]
    return BestAudit(
        at=latest.finished_at or latest.started_at,
        agrees=latest.score is not None,
        message=latest.failure.message if latest.failure else None,
        is_changed=latest.scorer_version != record.problem_version,
    )


def status_of(storage: Storage, record: RunRecord) -> RunStatus:
    """The status of a run, stopped when it says that it runs but no live process holds it."""
    if record.status in (RunStatus.CREATED, RunStatus.RUNNING, RunStatus.PAUSED):
        owner = storage.holder(record.id)
        if owner is None or is_dead(owner):
            return RunStatus.STOPPED
    return record.status

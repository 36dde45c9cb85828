"""What each member of a run's mixture has brought: told from its committed steps."""

from __future__ import annotations

from dataclasses import dataclass

from discovery.config import RunConfig, from_dict
from discovery.outcomes import after_disagreements
from discovery.records import INITIAL, CandidateKey
from discovery.storage.base import RunRecord, Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberTotals:
    """One member's part in a run.

    Args:
        name: Its name.
        model: Its model as its server named it; None where that is not known.
        completions: Those of committed steps.
        valid: Those that have a score.
        improved: Those that were better than their chain's best before their step.
        tokens: What its completions took, prompts left out; None where nobody counted any.
        best: Its best candidate; None without one.
        best_score: That one's score.
    """

    name: str
    model: str | None
    completions: int = 0
    valid: int = 0
    improved: int = 0
    tokens: int | None = None
    best: CandidateKey | None = None
    best_score: float | None = None


@dataclass(slots=True)
class _Count:
    completions: int = 0
    valid: int = 0
    improved: int = 0
    tokens: int | None = None
    best: CandidateKey | None = None
    best_score: float | None = None


def member_totals(storage: Storage, record: RunRecord) -> tuple[MemberTotals, ...]:
    """What the members of a run's mixture have brought, in their order; empty for a run with one generator."""
    if not (record.config.get("generator") or {}).get("members"):
        return ()
    members = from_dict(RunConfig, record.config).generator.members
    counts = {member.name: _Count() for member in members}
    better = record.direction.better
    disagreed = storage.disagreements(record.id)
    initial = [e.score.value for e in storage.evaluations(record.id, INITIAL) if e.score is not None]
    for chain in storage.chain_summaries(record.id):
        best = initial[0] if initial else None
        for stored in storage.committed_steps(record.id, chain.chain, spending=True):
            before = best
            for outcome in after_disagreements(stored, disagreed).outcomes:
                count = counts.get(outcome.generator or "")
                if count is None:
                    continue
                count.completions += 1
                if outcome.tokens is not None:
                    count.tokens = (count.tokens or 0) + outcome.tokens
                if outcome.score is None:
                    continue
                count.valid += 1
                count.improved += better(outcome.score, before)
                if better(outcome.score, count.best_score):
                    count.best, count.best_score = outcome.key, outcome.score
                if better(outcome.score, best):
                    best = outcome.score
    models = record.facts.get("models") or {}
    return tuple(
        MemberTotals(
            name=name,
            model=models.get(name),
            completions=count.completions,
            valid=count.valid,
            improved=count.improved,
            tokens=count.tokens,
            best=count.best,
            best_score=count.best_score,
        )
        for name, count in counts.items()
    )

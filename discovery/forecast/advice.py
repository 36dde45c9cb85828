"""What a pilot's records tell of its adviser: which questions there were, and what their answers took.

An answer's time is its server's own, as a completion's is: without the wait there, as far as that can be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from discovery.forecast.pilot import AdviceSeen, Spoken
from discovery.records import AdvicePurpose, Consultation
from discovery.reflection import LAG
from discovery.storage.base import Storage, StoredStep


@dataclass(frozen=True, slots=True)
class Advised:
    """An answer, and when it began to be written, in seconds; when it was asked for, before that is known."""

    sent: float
    consultation: Consultation

    @property
    def ended(self) -> float:
        """When it had come, in seconds."""
        return self.consultation.created_at.timestamp()


def read_advice(storage: Storage, run: str, steps: Sequence[StoredStep]) -> list[Advised]:
    """The answers to what some steps asked; questions that nobody answered took no time that is known.

    Args:
        storage: Where the run lives.
        run: Its id.
        steps: Whose.
    """
    if not storage.counts(run).consultations:
        return []
    asked = (
        storage.consultation(run, stored.step.chain, stored.step.step, purpose)
        for stored in steps
        for purpose in AdvicePurpose
    )
    return [
        Advised(each.created_at.timestamp() - each.latency_s, each)
        for each in asked
        if each is not None and each.latency_s is not None
    ]


def answered(advised: Sequence[Advised], *, overlap: int) -> Mapping[tuple[int, int], datetime]:
    """When each step, by its chain and number, had the last answer that its plan had to wait for.

    Args:
        advised: The answers.
        overlap: Steps that were open beside a chain's oldest one.
    """
    found: dict[tuple[int, int], datetime] = {}
    for each in advised:
        said = each.consultation
        later = 1 + overlap + LAG if said.purpose is AdvicePurpose.REFLECT else 0
        place = (said.chain, said.step + later)
        found[place] = max(found.get(place, said.created_at), said.created_at)
    return found


def advice_seen(runs: Sequence[Sequence[Advised]], steps: int) -> dict[AdvicePurpose, AdviceSeen]:
    """What was asked, by purpose.

    Args:
        runs: The answers of each run.
        steps: Of all of them.
    """
    found = {}
    for purpose in AdvicePurpose:
        said = [each.consultation for run in runs for each in run if each.consultation.purpose is purpose]
        prompts = [c.tokens.prompt for c in said if c.tokens is not None and c.tokens.prompt is not None]
        cached = sum(c.tokens.cached or 0 for c in said if c.tokens is not None)
        if said:
            found[purpose] = AdviceSeen(
                per_step=min(1.0, len(said) / max(1, steps)),
                spoken=tuple(
                    Spoken(work_s=max(0.0, each.ended - each.sent), tokens=_tokens(each.consultation))
                    for run in runs
                    for each in run
                    if each.consultation.purpose is purpose
                ),
                prompt=sum(prompts) / len(prompts) if prompts else None,
                cached_share=min(1.0, cached / sum(prompts)) if sum(prompts) else 0.0,
            )
    return found


def _tokens(said: Consultation) -> int | None:
    return said.tokens.completion if said.tokens is not None else None

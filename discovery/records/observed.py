"""What is noted of a run as a whole, and of the sandboxes that it used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from discovery.records.places import CandidateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRecord:
    """Which isolation was found to hold on this host, for one backend.

    Args:
        id: Stable name: backend and a hash of the properties.
        backend: ``bubblewrap``, ``process``, ...
        properties: Property to whether it was verified to hold.
        details: Versions and paths.
    """

    id: str
    backend: str
    properties: Mapping[str, bool]
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A run-best that was scored again in a fresh process and holds.

    Args:
        key: The candidate.
        score: Its score.
        evaluations: How many evaluations had finished in the run by then.
        announced_at: When.
    """

    key: CandidateKey
    score: float
    evaluations: int
    announced_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How a run stood at one moment: one point of its time series.

    Args:
        at: When.
        values: Name to finite number; what was not known then is left out. The names are in
            :mod:`discovery.pulse`.
    """

    at: datetime
    values: Mapping[str, float]

"""The shape of a run as far as its time depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from discovery.config import RunConfig
from discovery.pressure import Pressure


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where a run goes on.

    Args:
        cpus: CPUs for evaluations, at least 1.
        evaluation_slots: Evaluations at once where the configuration does not say.
        server_slots: Choices that the servers generate at once; None: as the pilot shows.
    """

    cpus: int
    evaluation_slots: int
    server_slots: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is simulated.

    Args:
        chains: C.
        candidates: K.
        overlap: Steps of a chain that may be open beside its oldest one.
        evaluations: N.
        generation_slots: Completions in flight; None where ``pressure`` finds out.
        pressure: What the gate's limit begins with where it follows the servers.
        evaluation_slots: Evaluations at once.
        machine: Where it goes on.
    """

    chains: int
    candidates: int
    overlap: int
    evaluations: int
    generation_slots: int | None
    pressure: Pressure | None
    evaluation_slots: int
    machine: Machine

    @staticmethod
    def of(config: RunConfig, machine: Machine) -> Shape:
        """The shape of a configuration."""
        given = config.slots.generation
        return Shape(
            chains=config.search.chains,
            candidates=config.search.candidates,
            overlap=config.overlap,
            evaluations=config.planned_evaluations,
            generation_slots=given,
            pressure=Pressure.of(config) if given is None else None,
            evaluation_slots=config.slots.evaluation or machine.evaluation_slots,
            machine=machine,
        )

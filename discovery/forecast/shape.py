"""The shape of a run as far as its time depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from discovery.config import RunConfig
from discovery.generators import EMBEDDED
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
class MemberShape:
    """A member of a mixture.

    Args:
        name: Its name.
        share: Of the completions, 0 to 1.
        is_embedded: Whether no server makes them.
    """

    name: str
    share: float
    is_embedded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Advising:
    """Who is asked what is no candidate.

    Args:
        slots: Questions in flight.
        reflects: Whether each committed candidate is reflected on.
        is_apart: Whether it has servers of its own; else they are the generator's.
        member: The member of a mixture whose servers they are; None without one.
        allowance: Tokens that a chain's questions may take; None for no limit.
    """

    slots: int
    reflects: bool
    is_apart: bool = False
    member: str | None = None
    allowance: float | None = None

    @staticmethod
    def of(config: RunConfig) -> Advising:
        """That of a configuration; whether anything is asked, a pilot tells."""
        adviser, first, cap = config.adviser, config.generator.first_model, config.budget.max_tokens
        return Advising(
            slots=adviser.slots,
            reflects=adviser.reflect,
            is_apart=bool(adviser.base_url),
            member=first.name if first is not None else None,
            allowance=None if cap is None else adviser.share * cap / config.search.chains,
        )


def members_of(config: RunConfig) -> tuple[MemberShape, ...]:
    """The members of a configuration's mixture with their shares; empty where it has none.

    What a bandit will learn is not known: each member gets the same share then.
    """
    members = config.generator.members
    even = config.arms.choice != "weights"
    total = sum(1.0 if even else member.weight for member in members)
    return tuple(
        MemberShape(
            name=member.name,
            share=(1.0 if even else member.weight) / total,
            is_embedded=member.kind == EMBEDDED,
        )
        for member in members
    )


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
        rungs_at: Evaluations of a chain at which it waits for the others, and some are pruned.
        keep: Share of the chains that goes on there.
        members: Who makes completions, where several do.
        advising: Who is asked what is no candidate.
    """

    chains: int
    candidates: int
    overlap: int
    evaluations: int
    generation_slots: int | None
    pressure: Pressure | None
    evaluation_slots: int
    machine: Machine
    rungs_at: tuple[int, ...] = ()
    keep: float = 0.5
    members: tuple[MemberShape, ...] = ()
    advising: Advising | None = None

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
            rungs_at=config.rungs_at,
            keep=config.adapt.keep,
            members=members_of(config),
            advising=Advising.of(config),
        )

"""What was measured of a small run, as a simulation of a larger one needs it: durations, tokens, overheads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from discovery.records import AdvicePurpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """One completion.

    Args:
        work_s: How long its server would take for it alone, without waiting, in seconds.
        tokens: Its tokens; None where the server does not count them.
        maker: The member of a mixture that made it; None where there is none.
    """

    work_s: float
    tokens: int | None = None
    maker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One evaluation.

    Args:
        slot_s: How long it has its slot, in seconds; None where it needs none: a duplicate, or no program.
        cpu_share: CPUs that it uses meanwhile, mean.
    """

    slot_s: float | None
    cpu_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheads:
    """What the run itself takes between the work of the model and of the evaluators, in seconds.

    Args:
        start_s: Until the first step: the initial candidate. What comes before it is no wall time of the run.
        plan_s: From a step's commit to the next one's plan.
        send_s: From that to its request at the server, where there is room.
        record_s: From a completion to its place being free and its candidate there, one after the other in a request.
        submit_s: From there to an evaluation slot, where one is free.
        pair_s: The same for the first evaluation of a slot, on top.
        commit_s: From a step's last evaluation to its commit.
        end_s: From the last commit to the end.
    """

    start_s: float = 0.0
    plan_s: float = 0.0
    send_s: float = 0.0
    record_s: float = 0.0
    submit_s: float = 0.0
    pair_s: float = 0.0
    commit_s: float = 0.0
    end_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTokens:
    """How long prompts are.

    Args:
        by_parents: Mean tokens by the number of parents shown; empty where servers do not count.
        cached_share: Share of them that lay in a server's cache, 0 to 1.
    """

    by_parents: Mapping[int, float] = field(default_factory=dict)
    cached_share: float = 0.0

    def of(self, parents: float) -> float | None:
        """Tokens of a prompt with so many parents, from a straight line through what was seen; None if nothing was."""
        known = sorted(self.by_parents.items())
        if not known:
            return None
        (few, least), (many, most) = known[0], known[-1]
        if few == many:
            return least
        return max(0.0, least + (most - least) * (parents - few) / (many - few))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServersSeen:
    """What a pilot tells of the model's servers.

    Args:
        slots: Choices that they ran at most while others waited there; None where none ever waited.
        slowdown: By which share of its time alone a choice takes longer for each other one that runs beside it.
        most: Choices in flight at most.
        is_level: Whether too few levels of load were seen to say anything of the slowdown.
        tell: Whether they tell how many choices run and wait, which the gate follows.
    """

    slots: int | None = None
    slowdown: float = 0.0
    most: int = 1
    is_level: bool = True
    tell: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSeen:
    """What a pilot tells of one member of a mixture.

    Args:
        prompts: How long its prompts are, by its own count.
        servers: Its servers.
    """

    prompts: PromptTokens = field(default_factory=PromptTokens)
    servers: ServersSeen = field(default_factory=ServersSeen)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceSeen:
    """What a pilot tells of the questions of one purpose.

    Args:
        per_step: Questions for each step, 0 to 1.
        spoken: Their answers, at least one.
        prompt: Mean tokens of a question; None where servers do not count.
        cached_share: Share of them that lay in a server's cache, 0 to 1.
    """

    per_step: float
    spoken: tuple[Spoken, ...]
    prompt: float | None = None
    cached_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What was measured.

    Args:
        runs: Ids of the runs that it is drawn from.
        spoken: Completions, at least one.
        judged: Evaluations of as many.
        verified_s: How long second scorings of run-bests had their slots, in seconds.
        record_rate: Second scorings over the sum of 1/n for the n-th evaluation: of draws that are all alike 1.
        overheads: Of the run itself.
        prompts: Their lengths.
        servers: What is known of them.
        members: The same of each member of a mixture, by its name.
        advice: What was asked of an adviser, by purpose.
    """

    runs: tuple[str, ...] = ()
    spoken: tuple[Spoken, ...]
    judged: tuple[Judged, ...]
    verified_s: tuple[float, ...] = ()
    record_rate: float = 0.0
    overheads: Overheads = field(default_factory=Overheads)
    prompts: PromptTokens = field(default_factory=PromptTokens)
    servers: ServersSeen = field(default_factory=ServersSeen)
    members: Mapping[str, MemberSeen] = field(default_factory=dict)
    advice: Mapping[AdvicePurpose, AdviceSeen] = field(default_factory=dict)

    def seen_of(self, member: str | None) -> MemberSeen:
        """What is known of a member; of one that made nothing, and without a mixture, what is known of all."""
        found = self.members.get(member) if member is not None else None
        return found or MemberSeen(prompts=self.prompts, servers=self.servers)

    def __post_init__(self) -> None:
        if not self.spoken or not self.judged:
            raise ValueError("a pilot has at least one completion and one evaluation")

"""Small frozen configurations: one per component, which gets only its own.

``RunConfig`` is stored with the run as JSON and read back on resume, so it never holds a secret: API keys come
from the environment of the process that needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from discovery.budget import Budget, Prices
from discovery.errors import ConfigError
from discovery.generators import CHOICES as CHOICES
from discovery.generators import EFFORTS as EFFORTS
from discovery.generators import KEEP as KEEP
from discovery.generators import ArmsConfig as ArmsConfig
from discovery.generators import GeneratorConfig as GeneratorConfig
from discovery.generators import MemberConfig as MemberConfig
from discovery.generators import ReasoningConfig as ReasoningConfig
from discovery.generators import SamplingConfig as SamplingConfig
from discovery.rungs import settled
from discovery.tables import from_dict as from_dict
from discovery.tables import in_range as in_range
from discovery.tables import load_toml as load_toml
from discovery.tables import to_dict as to_dict

DUPLICATES = ("source", "form", "solution")
"""What is one program: equal sources; those that differ in comments and white space only; and for selection and prompts
those whose equal solutions have equal scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """The shape of the search.

    Args:
        chains: C, independent lines of refinement, 1 to 10,000.
        steps: L, the depth of each, 1 to 1,000,000.
        candidates: K, completions per step, 1 to 1,024.
        parents: How many candidates a prompt shows, 1 to 32.
        selector: Name of the selector.
        selector_params: Its own parameters.
        overlap: How many steps of a chain may be open beside its oldest open one, 0 to 8. Step s then learns from the
            committed steps up to s - 1 - overlap, whatever the timing. None: see :attr:`RunConfig.overlap`.
        duplicates: One of :data:`DUPLICATES`, each of which holds those before it.
    """

    chains: int = 4
    steps: int = 25
    candidates: int = 4
    parents: int = 3
    selector: str = "rpucg"
    selector_params: Mapping[str, Any] = field(default_factory=dict)
    overlap: int | None = None
    duplicates: str = "solution"

    def __post_init__(self) -> None:
        if self.overlap is not None:
            in_range("overlap", self.overlap, 0, 8)
        if self.duplicates not in DUPLICATES:
            known = ", ".join(DUPLICATES)
            raise ConfigError(f"duplicates is {self.duplicates!r}; it must be one of {known}")
        for name, top in (
            ("chains", 10_000),
            ("steps", 1_000_000),
            ("candidates", 1024),
            ("parents", 32),
        ):
            in_range(name, getattr(self, name), 1, top)


ON_STALL = ("restart", "stop")
"""What becomes of a chain whose patience is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptConfig:
    """How the budget moves to where it pays.

    Args:
        rungs: How often the worst chains are pruned, 0 to 16.
        keep: Share of the chains that goes on at each of them, 0.01 to 0.99.
        at: Evaluations of a chain at which each rung stands, ascending. Empty: where each stage between two of them
            spends an equal part of the budget; settled when the run starts.
        patience: Steps of a chain without an improvement, from 1, after which ``on_stall`` happens. None: never.
        on_stall: One of :data:`ON_STALL`: the chain's selector forgets all but the initial candidate, or it ends.
    """

    rungs: int = 0
    keep: float = 0.5
    at: tuple[int, ...] = ()
    patience: int | None = None
    on_stall: str = "restart"

    def __post_init__(self) -> None:
        in_range("rungs", self.rungs, 0, 16)
        in_range("keep", self.keep, 0.01, 0.99)
        if self.patience is not None:
            in_range("patience", self.patience, 1, 1_000_000)
        if self.on_stall not in ON_STALL:
            raise ConfigError(f"on_stall is {self.on_stall!r}; it must be one of {', '.join(ON_STALL)}")
        if self.on_stall == "stop" and self.patience is None:
            raise ConfigError(
                "on_stall is 'stop', and no patience is given; say after how many steps, or leave it out"
            )
        ascending = all(0 < low < high for low, high in zip((0.5, *self.at), self.at, strict=False))
        if self.at and not (ascending and len(self.at) == self.rungs):
            raise ConfigError(
                f"at is {list(self.at)} for {self.rungs} rungs; give one ascending number of evaluations for each, or "
                "leave it out"
            )

    @property
    def restarts_after(self) -> int | None:
        """Steps without an improvement after which a chain begins anew; None: never."""
        return self.patience if self.on_stall == "restart" else None

    @property
    def stops_after(self) -> int | None:
        """Steps without an improvement after which a chain ends; None: never."""
        return self.patience if self.on_stall == "stop" else None


EDITS = ("rewrite", "diff")
"""What a model is asked for: the whole program, or SEARCH/REPLACE edits of the main parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptConfig:
    """What a prompt shows and asks for.

    Args:
        edits: One of :data:`EDITS`.
        elites: Most candidates of the overview of the chain's best ones beside the parents, 0 to 64.
        failures: Most messages of each kind of failure, 0 (counts alone) to 16.
        template: Path of a template that stands for the problem's own and the usual one; None for none.
        template_text: What that file held when the run started; a resumed run goes by it.
        context_tokens: Tokens of prompt and answer together, at least 256; None: as many as the server's model has.
    """

    edits: str = "rewrite"
    elites: int = 4
    failures: int = 3
    template: str | None = None
    template_text: str | None = None
    context_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.edits not in EDITS:
            raise ConfigError(f"edits is {self.edits!r}; it must be one of {', '.join(EDITS)}")
        in_range("elites", self.elites, 0, 64)
        in_range("failures", self.failures, 0, 16)
        if self.context_tokens is not None:
            in_range("context_tokens", self.context_tokens, 256, 100_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsConfig:
    """How much runs at once.

    Args:
        generation: Completions in flight: a step's request is sent while fewer than this are. None: as many as the
            servers can do by their own account, at most C x K x (1 + overlap).
        evaluation: Sandboxes that evaluate at once. None: one per CPU.
    """

    generation: int | None = None
    evaluation: int | None = None

    def __post_init__(self) -> None:
        for name in ("generation", "evaluation"):
            value = getattr(self, name)
            if value is not None:
                in_range(f"{name} slots", value, 1, 100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """Where candidates run.

    Args:
        backend: ``auto``, ``bubblewrap``, ``docker`` or ``process``.
        require: Isolation that must have been verified before anything runs: properties, or one of the levels of
            :mod:`discovery.sandbox.isolation`. Added to what the problem asks.
        recycle_after: Evaluations after which a slot gets a new sandbox, at least 1.
    """

    backend: str = "auto"
    require: tuple[str, ...] = ()
    recycle_after: int = 1000

    def __post_init__(self) -> None:
        in_range("recycle_after", self.recycle_after, 1, 1_000_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviserConfig:
    """Who is asked what is no candidate, and how much of that.

    Args:
        reflect: Whether a model says of each committed candidate what is to be learned from it.
        base_url: URLs of the servers; none: those of the generator.
        model: Model name; None takes the generator's where the servers are the generator's, else the only one listed.
        temperature: Sampling temperature, 0 to 2.
        max_tokens: Most tokens of one answer, reasoning included.
        effort: Reasoning effort; None takes the generator's.
        slots: Questions in flight, 1 to 1,000.
        share: What it may spend of the token budget, above 0 to 1; each chain the same part of it.
    """

    reflect: bool = False
    base_url: tuple[str, ...] = ()
    model: str | None = None
    temperature: float = 0.7
    max_tokens: int = 2048
    effort: str | None = None
    slots: int = 4
    share: float = 0.2

    def __post_init__(self) -> None:
        in_range("temperature", self.temperature, 0, 2)
        in_range("max_tokens", self.max_tokens, 1, 1_000_000)
        in_range("slots", self.slots, 1, 1000)
        in_range("share", self.share, 1e-6, 1)
        if self.effort is not None and self.effort not in EFFORTS:
            raise ConfigError(f"effort is {self.effort!r}; it must be one of {', '.join(EFFORTS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that defines a run, stored with it.

    Args:
        problem: As the user named it: bundled name, entry point or path.
        seed: Run seed; every random draw derives from it.
        search: Shape of the search.
        generator: What makes candidates.
        prompt: What prompts show and ask for.
        slots: Concurrency; may differ on resume.
        sandbox: Where candidates run.
        budget: Caps.
        prices: What the model costs; None throughout: see :mod:`discovery.prices`.
        adviser: Who is asked what is no candidate.
        adapt: How the budget moves between chains, and when they begin anew.
        arms: How a mixture of generators is shared.
    """

    problem: str
    seed: int = 0
    search: SearchConfig = field(default_factory=SearchConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    slots: SlotsConfig = field(default_factory=SlotsConfig)
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    budget: Budget = field(default_factory=Budget)
    prices: Prices = field(default_factory=Prices)
    adviser: AdviserConfig = field(default_factory=AdviserConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    arms: ArmsConfig = field(default_factory=ArmsConfig)

    def __post_init__(self) -> None:
        in_range("seed", self.seed, 0, 2**63 - 1)

    @property
    def overlap(self) -> int:
        """Steps of a chain that may be open beside its oldest open one.

        Where none is asked for: 1 where C x K completions, of which the last of each step is always waited for, cannot
        keep the given generation slots busy (fewer than twice as many), else 0. Stale parents are not worth having
        where nothing would stand idle.
        """
        if self.search.overlap is not None:
            return self.search.overlap
        slots, in_flight = self.slots.generation, self.search.chains * self.search.candidates
        return 1 if slots is not None and in_flight < 2 * slots else 0

    @property
    def planned_evaluations(self) -> int:
        """N = C x L x K, or the evaluation budget if that is less."""
        shape = self.search.chains * self.search.steps * self.search.candidates
        cap = self.budget.max_evaluations
        return shape if cap is None else min(shape, cap)

    @property
    def rungs_at(self) -> tuple[int, ...]:
        """Evaluations of a chain at which each rung stands.

        Raises:
            ConfigError: There are more rungs than chains or evaluations suffice for.
        """
        search, adapt = self.search, self.adapt
        return adapt.at or settled(
            self.planned_evaluations, search.chains, adapt.rungs, adapt.keep, search.candidates
        )

"""Selectors by name: the package's own, and users' through the entry-point group ``discovery.selectors``.

An entry point names a class (or function) that is called as ``factory(direction, **params)`` and returns a
:class:`~discovery.selection.base.Selector`. Its keyword-only arguments are the selector's parameters, but for those
that the run gives to whoever has them: ``features`` and ``objectives`` as the problem declares them, and ``overlap``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from discovery.declared import Feature, Objective
from discovery.errors import ConfigError, boundary
from discovery.records import Direction, Json
from discovery.selection.balance import Balance
from discovery.selection.base import Selector
from discovery.selection.best_of_n import BestOfN
from discovery.selection.greedy import Greedy
from discovery.selection.islands import Islands
from discovery.selection.llm_elite import LlmElite
from discovery.selection.llm_rerank import LlmRerank
from discovery.selection.pareto import Pareto
from discovery.selection.puct import Puct
from discovery.selection.rpucg import Rpucg

ENTRY_POINTS = "discovery.selectors"

Factory = Callable[..., Selector]


def _rerank(
    direction: Direction,
    *,
    base: str = "rpucg",
    shortlist: int = 8,
    features: Sequence[Feature] = (),
    objectives: Sequence[Objective] = (),
    overlap: int = 0,
    **params: Json,
) -> Selector:
    """Another selector's shortlist in a model's order; takes that one's parameters as well."""
    under = make_selector(base, direction, params, features=features, objectives=objectives, overlap=overlap)
    return LlmRerank(under, shortlist=shortlist)


_BUNDLED: dict[str, Factory] = {
    LlmRerank.name: _rerank,
    **{cls.name: cls for cls in (Balance, BestOfN, Greedy, Islands, LlmElite, Pareto, Puct, Rpucg)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A selector as a list of them shows it.

    Args:
        name: Its name.
        summary: What it does, or why it cannot be made, in one line.
        params: Its parameters with their defaults.
        origin: Where a user's comes from, as its entry point names it; None for a bundled one.
    """

    name: str
    summary: str
    params: Mapping[str, Any]
    origin: str | None = None


def selector_names() -> tuple[str, ...]:
    """All names that :func:`make_selector` knows, sorted."""
    return tuple(sorted({*_BUNDLED, *entry_points(group=ENTRY_POINTS).names}))


def described_selectors() -> list[Described]:
    """All selectors by name; one that does not load is among them, with the reason."""
    found = []
    for name in selector_names():
        origin = None if name in _BUNDLED else _entry_point(name).value
        try:
            factory = _factory(name)
        except ConfigError as error:
            found.append(Described(name=name, summary=str(error), params={}, origin=origin))
            continue
        summary = (inspect.getdoc(factory) or "").partition("\n\n")[0].replace("\n", " ")
        params = {key: each.default for key, each in _parameters(factory).items()}
        found.append(Described(name=name, summary=summary, params=params, origin=origin))
    return found


def make_selector(
    name: str,
    direction: Direction,
    params: Mapping[str, Json] | None = None,
    *,
    features: Sequence[Feature] = (),
    objectives: Sequence[Objective] = (),
    overlap: int = 0,
) -> Selector:
    """Make a selector by name.

    Args:
        name: A bundled one's, or that of an entry point; see :func:`selector_names`.
        direction: The problem's.
        params: Its parameters by name; what is left out has its default.
        features: The problem's, for a selector that takes them.
        objectives: The same.
        overlap: How many steps of a chain are open beside its oldest one, for a selector that takes it.

    Returns:
        A selector that has observed nothing.

    Raises:
        ConfigError: The name or a parameter is unknown, or a parameter has the wrong type or range.
    """
    factory = _factory(name)
    given = dict(params or {})
    known = _parameters(factory)
    for key, value in given.items():
        if key in _GIVEN:
            raise ConfigError(f"selector {name!r}: {key} is no parameter; {_GIVEN[key]}")
        if key not in known:
            if _takes_any(factory):
                continue
            listed = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"selector {name!r} has no parameter {key!r}; it has: {listed}")
        given[key] = _coerced(f"{name}: {key}", value, known[key].default)
    offered = {"features": tuple(features), "objectives": tuple(objectives), "overlap": overlap}
    taken = inspect.signature(factory).parameters
    given.update({key: value for key, value in offered.items() if key in taken})
    with boundary(f"making selector {name!r}", ConfigError):
        return factory(direction, **given)


_GIVEN = {
    "features": "the problem declares it: features=[Feature(...)] in its @problem",
    "objectives": "the problem declares it: objectives=[Objective(...)] in its @problem",
    "overlap": "the run has it: --overlap",
}
"""What a selector may take beside its parameters, and where it comes from."""


def _entry_point(name: str) -> Any:
    found = list(entry_points(group=ENTRY_POINTS, name=name))
    if not found:
        raise ConfigError(f"no selector {name!r}; known: {', '.join(selector_names())}")
    return found[0]


def _factory(name: str) -> Factory:
    if name in _BUNDLED:
        return _BUNDLED[name]
    point = _entry_point(name)
    with boundary(f"loading selector {name!r} from {point.value}", ConfigError):
        factory: Factory = point.load()
    return factory


def _takes_any(factory: Factory) -> bool:
    """Whether it takes parameters that its signature does not name."""
    kinds = [p.kind for p in inspect.signature(factory).parameters.values()]
    return inspect.Parameter.VAR_KEYWORD in kinds


def _parameters(factory: Factory) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters that it names and a user may set."""
    signature = inspect.signature(factory)
    return {
        key: p
        for key, p in signature.parameters.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY and key not in _GIVEN
    }


def _coerced(where: str, value: Any, default: Any) -> Any:
    """A value as its default's type, where that loses nothing; what has no such default is the selector's to check."""
    if type(default) is float and type(value) is int:
        return float(value)
    if type(default) is str and type(value) in (int, float):
        return str(value)
    if type(default) is bool and value in ("true", "false"):
        return value == "true"
    if type(default) in (bool, int, float, str) and type(value) is not type(default):
        raise ConfigError(f"{where} is {value!r}; expected {_SAID[type(default)]}")
    return value


_SAID = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}

"""Selectors by name: the package's own, and users' through the entry-point group ``discovery.selectors``.

An entry point names a class (or function) that is called as ``factory(direction, **params)`` and returns a
:class:`~discovery.selection.base.Selector`. Its keyword-only arguments are the selector's parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from discovery.errors import ConfigError, boundary
from discovery.records import Direction, Json
from discovery.selection.balance import Balance
from discovery.selection.base import Selector
from discovery.selection.best_of_n import BestOfN
from discovery.selection.rpucg import Rpucg

ENTRY_POINTS = "discovery.selectors"

Factory = Callable[..., Selector]

_BUNDLED: dict[str, Factory] = {cls.name: cls for cls in (Balance, BestOfN, Rpucg)}


def selector_names() -> tuple[str, ...]:
    """All names that :func:`make_selector` knows, sorted."""
    return tuple(sorted({*_BUNDLED, *entry_points(group=ENTRY_POINTS).names}))


def make_selector(name: str, direction: Direction, params: Mapping[str, Json] | None = None) -> Selector:
    """Make a selector by name.

    Args:
        name: ``best-of-n``, ``balance``, ``rpucg``, or the name of an entry point.
        direction: The problem's.
        params: Its parameters by name; what is left out has its default.

    Returns:
        A selector that has observed nothing.

    Raises:
        ConfigError: The name or a parameter is unknown, or a parameter has the wrong type or range.
    """
    factory = _factory(name)
    given = dict(params or {})
    known = _parameters(factory)
    for key, value in given.items():
        if known is None:
            continue
        if key not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"selector {name!r} has no parameter {key!r}; it has: {listed}")
        given[key] = _coerced(f"{name}: {key}", value, known[key].default)
    with boundary(f"making selector {name!r}", ConfigError):
        return factory(direction, **given)


def _factory(name: str) -> Factory:
    if name in _BUNDLED:
        return _BUNDLED[name]
    found = list(entry_points(group=ENTRY_POINTS, name=name))
    if not found:
        raise ConfigError(f"no selector {name!r}; known: {', '.join(selector_names())}")
    with boundary(f"loading selector {name!r} from {found[0].value}", ConfigError):
        factory: Factory = found[0].load()
    return factory


def _parameters(factory: Factory) -> dict[str, inspect.Parameter] | None:
    """The keyword-only parameters, or None if the factory takes any."""
    signature = inspect.signature(factory)
    kinds = [p.kind for p in signature.parameters.values()]
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return None
    return {key: p for key, p in signature.parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _coerced(where: str, value: Any, default: Any) -> Any:
    """Check a number against its default's type; everything else is the selector's to check."""
    if type(default) is float and type(value) is int:
        return float(value)
    if type(default) in (int, float) and type(value) is not type(default):
        raise ConfigError(f"{where} is {value!r}; expected {type(default).__name__}")
    return value

"""What each setting of a problem must be, for telling all that is wrong with a declaration at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from discovery.declared import Feature, KnownBest, Limits, Objective, Reference, Repeats, Stage, is_number


def _are(kind: type, value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(part, kind) for part in value)


def _are_named(kind: type, value: Any, field_name: str) -> bool:
    return _are(kind, value) and len({getattr(each, field_name) for each in value}) == len(value)


ONE_OR_MORE = (KnownBest, Reference, Feature, Objective, Stage)
"""A setting that is a list of these may be a single one."""


def _is_bounds(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return False
    ends = [end for end in value if end is not None]
    return all(is_number(end) for end in ends) and (len(ends) < 2 or ends[0] < ends[1])


def _is_schema(value: object) -> bool:
    try:
        return isinstance(value, dict) and json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError):
        return False


EXPECTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "entry": (lambda v: isinstance(v, str) and v.isidentifier(), "the name of a function"),
    "bounds": (_is_bounds, "(lowest, highest) with the lower first, None for no bound"),
    "limits": (lambda v: isinstance(v, Limits), "a Limits(...)"),
    "language": (lambda v: isinstance(v, str) and bool(v.strip()), "a language's name"),
    "command": (lambda v: v is None or (_are(str, v) and bool(v)), "a list of words or None"),
    "build": (lambda v: v is None or (_are(str, v) and bool(v)), "a list of words or None"),
    "build_limits": (lambda v: v is None or isinstance(v, Limits), "a Limits(...) or None"),
    "image": (lambda v: v is None or (isinstance(v, str) and bool(v.strip())), "a name or None"),
    "packages": (lambda v: _are(str, v), "a list of package names"),
    "isolation": (
        lambda v: isinstance(v, str) or _are(str, v),
        "a level of isolation or a list of properties",
    ),
    "max_jump": (lambda v: v is None or (is_number(v) and v > 0), "a positive number or None"),
    "repeats": (lambda v: v is None or isinstance(v, Repeats), "a Repeats(...) or None"),
    "deterministic": (lambda v: isinstance(v, bool), "True or False"),
    "scorer_timeout_s": (lambda v: is_number(v) and v > 0, "a positive number of seconds"),
    "exact_timeout_s": (lambda v: is_number(v) and v > 0, "a positive number of seconds"),
    "known_best": (
        lambda v: isinstance(v, KnownBest) or _are(KnownBest, v),
        "a KnownBest(...) or a list of them",
    ),
    "references": (
        lambda v: isinstance(v, Reference) or _are(Reference, v),
        "a Reference(...) or a list of them",
    ),
    "parameters": (
        lambda v: isinstance(v, dict) and all(isinstance(p, str) or is_number(p) for p in v.values()),
        "a dict of numbers and texts",
    ),
    "cost_s": (lambda v: v is None or (is_number(v) and v > 0), "a positive number of seconds or None"),
    "out_of_reach": (lambda v: v is None or (isinstance(v, str) and bool(v.strip())), "a sentence or None"),
    "domain": (lambda v: v is None or isinstance(v, str), "a word or None"),
    "picture": (lambda v: v is None or callable(v), "a function (artifact, axes) or None"),
    "features": (
        lambda v: isinstance(v, Feature) or _are_named(Feature, v, "name"),
        "a Feature(...) or a list of them, each of another metric",
    ),
    "objectives": (
        lambda v: isinstance(v, Objective) or _are_named(Objective, v, "metric"),
        "an Objective(...) or a list of them, each of another metric",
    ),
    "stages": (
        lambda v: isinstance(v, Stage) or _are_named(Stage, v, "name"),
        "a Stage(...) or a list of them, each of another name",
    ),
    "warm_start": (lambda v: isinstance(v, bool), "True or False"),
    "entry_file": (lambda v: v is None or (isinstance(v, str) and bool(v)), "the path of a file or None"),
    "schema": (lambda v: v is None or _is_schema(v), "a JSON Schema: a dict of what JSON can hold"),
}

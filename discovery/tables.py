"""Configurations as plain data: read from tables of settings with their names and types checked, and written back."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from discovery.errors import ConfigError

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON data."""
    return dataclasses.asdict(config)


def from_dict(kind: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Build a configuration from plain data, checking names and types.

    Args:
        kind: The configuration class.
        data: Field names to values; nested configurations as mappings.
        where: Dotted place with a dot at its end, for messages; empty for the whole.

    Returns:
        The configuration.

    Raises:
        ConfigError: A name is unknown or missing, or a value has the wrong type or range; names the place.
    """
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in data.items():
        place = f"{where}{name}"
        if name not in known:
            raise ConfigError(f"unknown setting {place!r}; {_elsewhere(kind, name, where)}")
        values[name] = _coerce(hints[name], value, place)
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where.rstrip('.')}: {error}" if where else str(error)) from error
    except TypeError as error:
        missing = [
            f.name
            for f in dataclasses.fields(kind)  # type: ignore[arg-type]
            if f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING
            and f.name not in values
        ]
        raise ConfigError(f"settings missing in {where.rstrip('.') or 'the file'}: {missing}") from error


def _elsewhere(kind: type, name: str, where: str) -> str:
    """What to write instead of an unknown setting: the place in a table below that knows it, or what is known here."""
    hints = typing.get_type_hints(kind)
    wanted = {name, name.rpartition("_")[2]}
    below = [
        f"[{where}{field}] {setting.name} = ..."
        for field, hint in hints.items()
        if dataclasses.is_dataclass(hint)
        for setting in dataclasses.fields(hint)
        if setting.name in wanted
    ]
    found = f"it is written {' or '.join(below)}; " if below else ""
    return f"{found}known here: {', '.join(sorted(hints))}"


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings as plain data.

    Raises:
        ConfigError: The file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"configuration {path}: {error}; expected a readable TOML file") from error


def _coerce(hint: Any, value: Any, place: str) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [h for h in typing.get_args(hint) if h is not type(None)]
        if value is None:
            return None
        return _coerce(options[0], value, place)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{place} is {value!r}; expected a table of settings")
        return from_dict(typing.cast(Any, hint), value, f"{place}.")
    origin = typing.get_origin(hint) or hint
    if origin is float and type(value) is int:
        return float(value)
    if origin in (int, float, str, bool) and type(value) is not origin:
        raise ConfigError(f"{place} is {value!r}; expected {origin.__name__}")
    if origin is tuple:
        (each, _) = typing.get_args(hint)
        if each is str and isinstance(value, str):
            return (value,)
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{place} is {value!r}; expected a list")
        return tuple(_coerce(each, part, f"{place}[{i}]") for i, part in enumerate(value))
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{place} is {value!r}; expected a table")
        try:
            json.dumps(dict(value), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{place} is {value!r}; expected what JSON can hold: {error}") from error
        return dict(value)
    return value


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse a setting that is out of range, with its name, its value and what it must be.

    Raises:
        ConfigError: It is.
    """
    if isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must be from {low:,} to {high:,}")

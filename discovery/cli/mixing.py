"""Mixtures of generators as the command line writes them: ``NAME=URL,weight=W,model=M``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from discovery.config import GeneratorConfig, load_toml
from discovery.errors import ConfigError
from discovery.generators import EMBEDDED

_FORM = (
    "NAME=URL or NAME=mutation, with ,weight=W or ,model=M after it, such as big=http://HOST:PORT/v1,weight=2"
)


def read_mix(given: Sequence[str]) -> list[dict[str, Any]]:
    """Members of a mixture as settings, each as ``--mix`` writes it.

    Raises:
        ConfigError: One is not written so.
    """
    return [_member(text) for text in given]


def _member(text: str) -> dict[str, Any]:
    head, *more = (part.strip() for part in text.split(","))
    name, _, place = (part.strip() for part in head.partition("="))
    if head == EMBEDDED:
        place = EMBEDDED
    if not name or not (place == EMBEDDED or place.startswith(("http://", "https://"))):
        raise ConfigError(f"--mix {text!r}: expected {_FORM}")
    member: dict[str, Any] = {"name": name}
    member |= {"kind": EMBEDDED} if place == EMBEDDED else {"base_url": place}
    for part in more:
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in ("weight", "model") or not value:
            raise ConfigError(f"--mix {text!r}: {part!r} is not known; expected {_FORM}")
        member[key] = _number(text, value) if key == "weight" else value
    return member


def _number(text: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise ConfigError(f"--mix {text!r}: weight is {value!r}; it must be a number above 0") from error


def refuse_beside(mix: Sequence[str] | None, **options: object) -> None:
    """Refuse options that name the one generator of a run, beside a mixture.

    Args:
        mix: What ``--mix`` was given; nothing is refused without.
        **options: Values by the names of ``run``'s parameters; None means not given.

    Raises:
        ConfigError: One is given.
    """
    for option, value in options.items():
        if mix and value is not None:
            shown = value[0] if isinstance(value, list) else value
            raise ConfigError(
                f"--{option.replace('_', '-')} {shown} names the one generator of a run, and --mix names several; "
                "leave one of them out"
            )


def has_members(file: Path | None) -> bool:
    """Whether a TOML file describes a mixture."""
    return file is not None and "members" in load_toml(file).get("generator", {})


def moved(generator: GeneratorConfig, mix: Sequence[str]) -> GeneratorConfig:
    """A stored mixture some of whose members have other servers now.

    Args:
        generator: As stored.
        mix: ``NAME=URL`` for each that has moved.

    Raises:
        ConfigError: There is no such member, or something else than its server is to change.
    """
    names = ", ".join(member.name for member in generator.members) or "none"
    urls: dict[str, str] = {}
    for text in mix:
        member = _member(text)
        known = any(one.name == member["name"] and one.kind != EMBEDDED for one in generator.members)
        if set(member) != {"name", "base_url"} or not known:
            raise ConfigError(
                f"--mix {text!r}: a stored run takes another server for one of its models, as NAME=URL; its "
                f"generators are {names}"
            )
        urls[member["name"]] = member["base_url"]
    members = tuple(
        replace(member, base_url=(urls[member.name],)) if member.name in urls else member
        for member in generator.members
    )
    return replace(generator, members=members)

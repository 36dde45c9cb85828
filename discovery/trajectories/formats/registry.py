"""Formats by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from discovery.errors import UsageError
from discovery.trajectories.formats import axolotl, llamafactory, nemo, openai, openrlhf, trl, verl
from discovery.trajectories.formats.base import Format

_MODULES = (trl, verl, openrlhf, axolotl, llamafactory, nemo, openai)

FORMATS: Mapping[str, Format] = {each.name: each for module in _MODULES for each in module.FORMATS}


def find_format(name: str) -> Format:
    """The format of that name.

    Raises:
        UsageError: There is none; names the nearest.
    """
    found = FORMATS.get(name)
    if found is not None:
        return found
    near = difflib.get_close_matches(name, FORMATS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(f"unknown format {name!r}; {hint}`discovery export --formats` lists what there is")

"""Where shipped content lies (problems, what runs in sandboxes, flows), and where a user's servers keep their state."""

from __future__ import annotations

import os
from pathlib import Path


def share_dir(name: str) -> Path:
    """The folder of shipped content: the repository's in a checkout, ``_share`` in a wheel.

    Args:
        name: ``problems``, ``sandboxes`` or ``flows``.

    Raises:
        FileNotFoundError: This installation ships no such folder.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_share" / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"{name!r} is not shipped with {package}; "
        "install the package again: pip install --force-reinstall discovery-loop"
    )


def state_dir(name: str) -> Path:
    """The folder of a server that this package looks after; it may not be there yet.

    ``$DISCOVERY_HOME/NAME``, else ``$XDG_STATE_HOME/discovery/NAME``, else the same under ``~/.local/state``.
    """
    own = os.environ.get("DISCOVERY_HOME")
    if own:
        return Path(own).expanduser().absolute() / name
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state else Path.home() / ".local" / "state"
    return base / "discovery" / name

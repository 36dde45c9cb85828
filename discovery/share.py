"""Where shipped content lies: problems, what runs in sandboxes, flows."""

from __future__ import annotations

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

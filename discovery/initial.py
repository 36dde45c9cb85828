"""The initial candidate's files where a folder beside the problem holds several, and the baseline's."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from discovery.bundle import BundleError, bundled, layout, read_folder
from discovery.declared import Repeats

if TYPE_CHECKING:
    from discovery.problem import ProblemSettings

FOLDER = "initial"
"""Its name."""


def initial_files(
    path: Path, variant: str | None, settings: ProblemSettings, faults: list[str], *, is_given: bool
) -> dict[str, str] | None:
    """The initial candidate's files.

    Args:
        path: The problem's file.
        variant: Which one of a family it is: the folder may be its own, or has the variant for each ``{variant}``.
        settings: As declared.
        faults: Takes what is wrong with them.
        is_given: Whether the declaration has the initial candidate's text.

    Returns:
        Path to text, the entry first; None where the initial candidate is one text, none where they have faults.
    """
    names = [FOLDER] if variant is None else [f"{FOLDER}-{variant}", FOLDER]
    folders = [path.parent / name for name in names if (path.parent / name).is_dir()]
    if is_given or path.name != "problem.py" or not folders:
        if settings.entry_file is not None:
            faults.append(
                f"entry_file is for several files; put those of the initial candidate into {FOLDER}/"
            )
        return None
    folder = folders[0]
    alone = sorted(file.name for file in path.parent.glob(f"{folder.name}.*") if file.is_file())
    if alone:
        faults.append(f"there are a folder {folder.name}/ and a file {alone[0]}; keep one of them")
    if settings.schema is not None:
        faults.append(
            f"with a schema a solution is one document; write initial.json instead of {folder.name}/"
        )
    try:
        files = read_folder(folder, settings.entry_file)
    except (BundleError, OSError) as error:
        faults.append(f"the initial candidate's files: {error}")
        return {}
    faults += [f"the initial candidate's files: {fault}" for fault in _hidden(files, settings)]
    entry = next(iter(files))
    if not files[entry].strip():
        faults.append(f"the entry file {entry} is empty; write a program that scores")
    return {p: t if variant is None else t.replace("{variant}", variant) for p, t in files.items()}


def _hidden(files: Mapping[str, str], settings: ProblemSettings) -> list[str]:
    """Python files whose import would find something else: what is imported already under that name."""
    if settings.language.lower() != "python":
        return []
    known = {name.partition(".")[0] for name in settings.packages} | sys.stdlib_module_names | {"candidate"}
    tops = {file.partition("/")[0] for file in files if file.endswith(".py")}
    return [
        f"{top} is named like a module of the interpreter or of a package; name it otherwise"
        for top in sorted(tops)
        if top.removesuffix(".py") in known
    ]


def baseline_source(
    repeats: Repeats | None, path: Path, files: tuple[str, ...], faults: list[str]
) -> str | None:
    """The program that repeats are scored in turn with, where it has files of its own.

    Args:
        repeats: As declared.
        path: The problem's file.
        files: Paths of a candidate's files, the entry first; empty where candidates are one text.
        faults: Takes what is wrong with it.
    """
    if repeats is None or not isinstance(repeats.baseline, str):
        return None
    place = path.parent / repeats.baseline
    if not files:
        try:
            return place.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            faults.append(
                f"repeats: the baseline {place} cannot be read: {error}; name a program's file beside {path.name}"
            )
            return None
    try:
        source = bundled(read_folder(place, files[0]))
        layout(source, files)
    except (OSError, BundleError) as error:
        faults.append(f"repeats: the baseline {place}: {error}; name a folder of files as in {FOLDER}/")
        return None
    return source

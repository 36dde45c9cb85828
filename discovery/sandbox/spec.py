"""From a problem to what its sandboxes have to hold."""

from __future__ import annotations

import ast
import importlib.machinery
import sys
from collections.abc import Iterator
from dataclasses import fields, replace

from discovery.bundle import unbundled
from discovery.declared import Limits
from discovery.problem import Problem
from discovery.sandbox.base import SandboxSpec
from discovery.toolchain import Toolchain


def spec_of(problem: Problem, toolchain: Toolchain, label: str) -> SandboxSpec:
    """What a problem needs of its sandboxes.

    Args:
        problem: The problem.
        toolchain: How its programs are built, if they are.
        label: Run id, for finding what is left.
    """
    settings = problem.settings
    is_python = settings.language == "python"
    return SandboxSpec(
        packages=settings.packages,
        preload=_preloaded(problem) if is_python else settings.packages,
        image=toolchain.image,
        limits=widest(settings.limits, toolchain.build_limits if toolchain.build else None),
        label=label,
    )


def _preloaded(problem: Problem) -> tuple[str, ...]:
    """What a Python problem's sandboxes import once, over all files of a candidate."""
    packages = problem.settings.packages
    texts = list(problem.initials)
    if problem.files:
        texts = [text for path, text in unbundled(problem.initial).items() if path.endswith(".py")]
    found = [name for text in texts for name in preloaded(text, packages)]
    return tuple(dict.fromkeys([*packages, *found]))


def preloaded(source: str, packages: tuple[str, ...]) -> tuple[str, ...]:
    """The modules that a sandbox imports once, so that no candidate has to: the packages, and what the source imports.

    Candidates are variations of the initial one, so they mostly import what it does. What is neither of a package
    nor of the standard library is left out: it is not there.

    Args:
        source: The initial candidate, in Python.
        packages: Import names, dotted ones for submodules.

    Returns:
        Module names, each once, packages first. Of ``from a import b`` also ``a.b``, if
        that is a module here.
    """
    tops = {package.partition(".")[0] for package in packages} | sys.stdlib_module_names
    try:
        found = list(_imports(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        found = []  # said elsewhere, when it does not score
    wanted = [name for name in found if name.partition(".")[0] in tops and name != "__future__"]
    return tuple(dict.fromkeys([*packages, *wanted]))


def widest(limits: Limits, others: Limits | None) -> Limits:
    """The larger of two limits, field by field.

    Args:
        limits: The one.
        others: The other; None for none.
    """
    if others is None:
        return limits
    names = [each.name for each in fields(Limits) if each.name != "cpu_s"]
    larger = {name: max(getattr(limits, name), getattr(others, name)) for name in names}
    return replace(limits, **larger, cpu_s=float(max(limits.cpu_limit_s, others.cpu_limit_s)))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if _is_module(name):
                    yield name


def _is_module(name: str) -> bool:
    """Whether a dotted name is a module in a package of this host, found without importing anything."""
    path: list[str] | None = None
    parts = name.split(".")
    for index, part in enumerate(parts):
        spec = importlib.machinery.PathFinder.find_spec(part, path)
        if spec is None:
            return False
        path = list(spec.submodule_search_locations or [])
        if not path:
            return index == len(parts) - 1
    return True

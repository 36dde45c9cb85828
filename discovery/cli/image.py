"""``discovery image``: the file systems of Docker sandboxes, made on this machine."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from discovery.cli.app import app, err, notice, out, print_json, print_table, program
from discovery.errors import MissingComponent, ProblemError, SandboxError, SandboxUnavailable, UsageError
from discovery.plugins import load_problem
from discovery.sandbox import images, recipes
from discovery.sandbox.answers import Image
from discovery.sandbox.docker import engine_fix
from discovery.sandbox.engine import Engine, ImageInUse
from discovery.toolchain import toolchain

_OWN = "discovery.dockerfile"
_TAG = re.compile(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?")

Flag = Annotated[bool, Parameter(negative=())]

image = App(
    name="image", help="Images of Docker sandboxes: made from this machine's own programs, no registry."
)
app.command(image)


@image.command
def build(
    what: str | None = None,
    /,
    *packages: str,
    dockerfile: Path | None = None,
    tag: str | None = None,
    json: Flag = False,
) -> int:
    """Make the image that a recipe, a problem or a Dockerfile describes; one that is up to date is left alone.

    Args:
        what: A recipe (python, cpp, rust), or the name or path of a problem: what that one needs [python].
        packages: Import names of Python packages to put in.
        dockerfile: Build this instead, from its folder; the image must bring python3. A problem names it as image=TAG.
        tag: Name of the image of a Dockerfile [its folder's].
        json: Print one JSON object on standard output, nothing else.
    """
    started = time.monotonic()
    if dockerfile is not None:
        if what is not None:
            raise UsageError(f"give either {what!r} or --dockerfile, not both")
        name, made, new = *_from_dockerfile(dockerfile, tag), True
    else:
        if tag is not None:
            raise UsageError(
                f"--tag {tag} is for --dockerfile; images of recipes are named by what is in them"
            )
        name, made, new = _from_recipe(*_wanted(what, packages))
    took_s = time.monotonic() - started
    if json:
        print_json({"tag": name, "built": new, "size_bytes": made.size_bytes, "seconds": round(took_s, 3)})
    elif new:
        out.print(f"built {name}: {_megabytes(made)} in {took_s:.1f} s", markup=False)
        _note_outdated()
    else:
        out.print(f"{name} is up to date: {_megabytes(made)}", markup=False)
    return 0


@image.command
def pull(name: str, /, *, json: Flag = False) -> int:
    """Fetch an image from its registry, for problems that say image=NAME. Nothing else here ever fetches one.

    Args:
        name: As for docker pull; the image must bring python3.
        json: Print one JSON object on standard output, nothing else.
    """
    with _engine() as engine:
        try:
            made = engine.pull(name, say=_say)
        except SandboxUnavailable:
            raise
        except SandboxError as error:
            raise UsageError(
                f"{name} cannot be fetched ({error}); images of recipes need no registry: {program()} image build"
            ) from error
    if json:
        print_json({"tag": name, "size_bytes": made.size_bytes})
    else:
        out.print(f"fetched {name}: {_megabytes(made)}", markup=False)
    return 0


@image.command(name="list")
def list_images(*, json: Flag = False) -> int:
    """List the images that were made here, and which of them are outdated.

    Args:
        json: Print one JSON list on standard output, nothing else.
    """
    with _engine() as engine:
        rows = [_row(name, found) for name, found in _ours(engine)]
    if json:
        print_json(rows)
        return 0
    if not rows:
        out.print(f"no images; make one: {program()} image build", markup=False)
        return 0
    table = Table("image", "recipe", "packages", "size", "age", "state", box=None, pad_edge=False)
    for row in rows:
        size = f"{int(str(row['size_bytes'])) / 2**20:.0f} MiB"
        packages = row["packages"]
        shown = ", ".join(packages) if isinstance(packages, list) else ""
        table.add_row(
            str(row["tag"]),
            str(row["recipe"] or "-"),
            shown,
            size,
            _age(row["created_at"]),
            str(row["state"]),
        )
    print_table(table)
    return 0


@image.command
def remove(*tags: str, all: Flag = False, outdated: Flag = False, json: Flag = False) -> int:
    """Remove images that were made here. Exit code 1 when one is kept, because a container uses it.

    Args:
        tags: Names, as discovery image list shows them.
        all: Every one.
        outdated: Every one that is outdated.
        json: Print one JSON list of what was removed on standard output, nothing else.
    """
    if bool(tags) + all + outdated != 1:
        raise UsageError(
            "say which: names of images, or --outdated, or --all; `discovery image list` lists them"
        )
    with _engine() as engine:
        ours = dict(_ours(engine))
        named = [tag if tag in ours else f"{tag}:latest" for tag in tags]
        unknown = [tag for tag, name in zip(tags, named, strict=True) if name not in ours]
        if unknown:
            raise UsageError(
                f"{unknown[0]!r} is no image that was made here; `discovery image list` shows those that were"
            )
        chosen = named or [n for n, found in ours.items() if all or _state(found) == "outdated"]
        removed = [name for name in dict.fromkeys(chosen) if _is_removed(engine, name, quiet=json)]
    if json:
        print_json(removed)
    elif not chosen:
        out.print("nothing to remove")
    return 0 if len(removed) == len(set(chosen)) else 1


def _is_removed(engine: Engine, name: str, *, quiet: bool) -> bool:
    """Remove an image and say so; False where a container still uses it."""
    try:
        engine.remove_image(name)
    except ImageInUse as error:
        notice(f"{name} is kept: {error}; end the run that uses it, then remove it again")
        return False
    if not quiet:
        out.print(f"removed {name}", markup=False)
    return True


@contextmanager
def _engine() -> Iterator[Engine]:
    """An engine; what it refuses is the user's to mend."""
    try:
        with Engine() as engine:
            yield engine
    except SandboxUnavailable as error:
        raise UsageError(f"{error}: {engine_fix()}") from error
    except SandboxError as error:
        raise UsageError(str(error)) from error


def _wanted(what: str | None, packages: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Recipe and packages."""
    if what is None or what in recipes.names():
        return what or recipes.DEFAULT, packages
    try:
        settings = load_problem(what).settings
    except ProblemError as error:
        raise ProblemError(f"{error}; recipes are: {', '.join(recipes.names())}") from error
    named = toolchain(settings).image
    if not recipes.is_recipe(named):
        raise UsageError(
            f"the problem {what!r} names the Docker image {named!r}, which is no recipe: build it with "
            f"`discovery image build --dockerfile PATH --tag {named}`, or fetch it with `discovery image pull {named}`"
        )
    return named or recipes.DEFAULT, (*settings.packages, *packages)


def _note_outdated() -> None:
    with _engine() as engine:
        old = [name for name, found in _ours(engine) if _state(found) == "outdated"]
    if old:
        are = "1 image is" if len(old) == 1 else f"{len(old)} images are"
        notice(f"{are} outdated: {program()} image remove --outdated")


def _from_recipe(recipe: str, packages: tuple[str, ...]) -> tuple[str, Image, bool]:
    name = images.tag(recipe, packages)
    with _engine() as engine:
        found = engine.image(name)
        if found is not None:
            return name, found, False
        err.print(f"gathering {recipe}{''.join(f', {package}' for package in packages)} ...", markup=False)
        contents = images.contents(recipe, packages)
        made = engine.import_image(
            contents.tar(),
            name,
            labels=images.labels(recipe, packages),
            environment=contents.environment,
        )
    return name, made, True


def _from_dockerfile(dockerfile: Path, tag: str | None) -> tuple[str, Image]:
    path = dockerfile.absolute()
    path = path / "Dockerfile" if path.is_dir() else path
    if not path.is_file():
        raise UsageError(f"there is no Dockerfile {dockerfile}; give the path of one")
    name = tag or re.sub(r"[^a-z0-9]+", "-", path.parent.name.lower()).strip("-") or "own"
    if not _TAG.fullmatch(name):
        raise UsageError(f"--tag {name!r} cannot name an image; use lower-case letters, like my-tools:1")
    name = name if ":" in name else f"{name}:latest"
    if name.startswith(images.NAME):
        raise UsageError(
            f"--tag {name!r}: names that begin with {images.NAME!r} are for recipes; choose another"
        )
    with _engine() as engine:
        return name, engine.build(str(path.parent), str(path), name, labels={_OWN: "1"}, say=_say)


def _ours(engine: Engine) -> list[tuple[str, Image]]:
    found = [*engine.images(images.LABELS[0]), *engine.images(_OWN)]
    return sorted({name: one for one in found for name in one.names}.items())


def _row(name: str, found: Image) -> dict[str, object]:
    recipe = _recipe(found)
    return {
        "tag": name,
        "recipe": recipe,
        "packages": _packages(found) if recipe else [],
        "size_bytes": found.size_bytes,
        "created_at": found.created_at.isoformat() if found.created_at else None,
        "state": _state(found),
    }


def _recipe(found: Image) -> str | None:
    """What it was made of; None for what a Dockerfile made, even of such an image."""
    return None if _OWN in found.labels else found.labels.get(images.LABELS[0])


def _packages(found: Image) -> list[str]:
    return [name for name in found.labels.get(images.LABELS[1], "").split(",") if name]


def _state(found: Image) -> str:
    """``current``, ``outdated``, or ``own`` for what a Dockerfile made, which nobody can tell."""
    recipe = _recipe(found)
    if recipe is None:
        return "own"
    try:
        now = images.content_hash(recipe, tuple(_packages(found)))
    except MissingComponent:
        return "outdated"  # what it was made from is not here any more
    return "current" if found.labels.get(images.LABELS[2]) == now else "outdated"


def _age(created_at: object) -> str:
    if not isinstance(created_at, str):
        return "-"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(created_at)).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _megabytes(found: Image) -> str:
    return f"{found.size_bytes / 2**20:.0f} MiB"


def _say(line: str) -> None:
    err.print(line, markup=False)

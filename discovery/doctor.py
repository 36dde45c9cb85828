"""What this machine has and lacks, and the command that gets each missing thing.

Each check is a function that answers with one :class:`Diagnosis`, never raises for what it examines, changes
nothing on the machine and shows no secret. Only what a safe run cannot do without is ``needed``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from discovery.errors import MissingComponent
from discovery.orchestration import server as prefect_server
from discovery.records import SandboxRecord

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 1 << 30
ANSWER_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """How one thing is.

    Args:
        name: What was looked at.
        ok: Whether it is there and works.
        detail: Version, place or what is wrong, in one line.
        fix: The command that gets it; None when nothing is to be done.
        needed: Whether runs cannot be made safely without it.
    """

    name: str
    ok: bool
    detail: str
    fix: str | None = None
    needed: bool = False


def diagnose() -> list[Diagnosis]:
    """Look at everything; takes a few seconds, most of them for importing Prefect's server."""
    return [check() for check in CHECKS]


def install_command(extra: str) -> str:
    """The command that installs one of this package's extras into the running environment."""
    return f"{sys.executable} -m pip install 'discovery-loop[{extra}]'"


def system_install(package: str) -> str:
    """The command that installs a system package on this kind of machine."""
    commands = {
        "apt-get": "apt-get install -y",
        "dnf": "dnf install -y",
        "pacman": "pacman -S --noconfirm",
        "apk": "apk add",
        "zypper": "zypper install -y",
    }
    sudo = "" if os.geteuid() == 0 else "sudo "
    for manager, command in commands.items():
        if shutil.which(manager):
            return f"{sudo}{command} {package}"
    return f"install {package} with this system's package manager"


def check_python() -> Diagnosis:
    """The interpreter's version."""
    wanted = ".".join(map(str, MIN_PYTHON))
    return Diagnosis(
        name="python",
        ok=sys.version_info >= MIN_PYTHON,
        detail=f"{platform.python_version()} at {sys.executable}",
        fix=f"make setup PYTHON=python{wanted}",
        needed=True,
    )


def check_machine() -> Diagnosis:
    """Processors and memory, for the record."""
    cpus = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return Diagnosis(
        name="machine",
        ok=True,
        detail=f"{cpus} CPUs, {memory:.1f} GiB of memory: {cpus} evaluations at once unless said",
    )


def check_bubblewrap() -> Diagnosis:
    """The default sandbox, as its backend sees it."""
    from discovery.sandbox import make_backend

    missing = list(make_backend("bubblewrap").missing())
    detail, _, fix = missing[0].rpartition("; ") if missing else ("", "", "")
    return Diagnosis(
        name="bubblewrap",
        ok=not missing,
        detail=(detail or missing[0]) if missing else f"works, at {shutil.which('bwrap')}",
        fix=(fix if detail else system_install("bubblewrap")) if missing else None,
        needed=True,
    )


def check_namespaces() -> Diagnosis:
    """Whether the kernel lets ordinary users make namespaces, which bubblewrap needs when it is not root."""
    for setting, bad, good in (
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ):
        try:
            value = (Path("/proc/sys") / setting).read_text().strip()
        except OSError:
            continue
        if value == bad:
            return Diagnosis(
                name="user namespaces",
                ok=False,
                detail=f"{setting.replace('/', '.')} is {value}: only root can make them",
                fix=f"{'' if os.geteuid() == 0 else 'sudo '}sysctl -w {good}",
            )
    return Diagnosis(name="user namespaces", ok=True, detail="ordinary users may make them")


def check_control_groups() -> Diagnosis:
    """Whether all processes of an evaluation together can be held to its limits."""
    from discovery.sandbox.hierarchies import Absent, find

    found = find()
    if isinstance(found, Absent):
        detail, _, fix = found.why.rpartition(": ")
        return Diagnosis(name="control groups", ok=False, detail=detail, fix=fix)
    where = ", ".join(str(folder) for folder in dict.fromkeys(found.folders.values()))
    return Diagnosis(name="control groups", ok=True, detail=f"version {found.version}, writable at {where}")


async def verify_sandbox(name: str) -> SandboxRecord:
    """Find out, by trying, what a sandbox holds on this machine; takes about a second.

    Args:
        name: Of the backend.

    Raises:
        ConfigError: There is none of that name.
        MissingComponent: It does not work here.
        SandboxError: It failed meanwhile.
    """
    from discovery.sandbox import make_backend
    from discovery.sandbox.base import SandboxSpec

    backend = make_backend(name)
    missing = list(backend.missing())
    if missing:
        raise MissingComponent(f"sandbox {name!r} does not work here: {'; '.join(missing)}")
    return await backend.verify(SandboxSpec(label="doctor"))


def check_storage() -> Diagnosis:
    """Whether the default storage can be written."""
    from discovery.storage.open import default_url

    fix = "export DISCOVERY_STORAGE=/a/folder/to/write/in/discovery.db"
    url = default_url()
    path = Path(url.removeprefix("sqlite:///")).expanduser()
    if "://" in str(url) and not url.startswith("sqlite:///"):
        where = urllib.parse.urlsplit(url)
        return Diagnosis(
            name="storage", ok=True, detail=f"{where.scheme} at {where.hostname}, not asked", needed=True
        )
    folder = _existing(path.parent)
    writable = os.access(path if path.exists() else folder, os.W_OK) and os.access(folder, os.W_OK)
    detail = str(path) if writable else f"{path} cannot be written"
    return Diagnosis(name="storage", ok=writable, detail=detail, fix=fix, needed=True)


def check_disk() -> Diagnosis:
    """Room where the default storage lies."""
    from discovery.storage.open import default_url

    url = default_url()
    path = (
        Path.cwd()
        if "://" in url and not url.startswith("sqlite:///")
        else Path(url.removeprefix("sqlite:///"))
    )
    folder = _existing(path)
    free = shutil.disk_usage(folder).free
    return Diagnosis(
        name="disk",
        ok=free >= MIN_FREE_BYTES,
        detail=f"{free / 2**30:.1f} GiB free at {folder}",
        fix="make room, or export DISCOVERY_STORAGE=/where/there/is/room/discovery.db",
    )


def check_prefect() -> Diagnosis:
    """Whether Prefect's server can be imported: newer releases of fastapi break it."""
    error = prefect_server.import_error()
    running = prefect_server.status()
    where = f"runs at {running.state.dashboard}" if running.state else "not running: discovery server start"
    detail, _, fix = error.rpartition("; ") if error else (f"its server imports; {where}", "", "")
    return Diagnosis(
        name="prefect",
        ok=error is None,
        detail=detail,
        fix=fix.rpartition(": ")[2] or None,
    )


def check_docker() -> Diagnosis:
    """The other sandbox, as its backend sees it: package, engine, image."""
    from discovery.sandbox import make_backend

    missing = list(make_backend("docker").missing())
    if not missing:
        return Diagnosis(name="docker", ok=True, detail="its engine answers and has images for sandboxes")
    detail, _, fix = missing[0].rpartition(": ")
    return Diagnosis(name="docker", ok=False, detail=detail, fix=fix)


def check_psycopg() -> Diagnosis:
    """The driver for storage on PostgreSQL."""
    return _module("psycopg", "postgres", "for storage on PostgreSQL, shared by several machines")


def check_scipy() -> Diagnosis:
    """Scipy, which some problems let candidates use."""
    return _module("scipy", "scipy", "some problems let candidates use it")


def check_vllm() -> Diagnosis:
    """The program that ``discovery serve`` starts."""
    from discovery.generation.vllm import find_build

    try:
        build = find_build()
    except MissingComponent as error:
        detail = str(error).partition(";")[0]
        return Diagnosis(name="vllm", ok=False, detail=detail, fix=install_command("vllm"))
    what = f"{build.version or 'of unknown version'}{', for processors only' if build.is_cpu else ''}"
    return Diagnosis(name="vllm", ok=True, detail=f"{what}, at {build.program}")


def check_model_server() -> Diagnosis:
    """Whether a model server answers at ``OPENAI_BASE_URL``, or one of ``discovery serve`` runs."""
    base = os.environ.get("OPENAI_BASE_URL", "").rstrip("/")
    fix = "discovery serve MODEL, then: export OPENAI_BASE_URL=http://localhost:8000/v1"
    if not base and (own := _served_here()):
        return Diagnosis(name="model server", ok=True, detail=own)
    if not base:
        return Diagnosis(
            name="model server",
            ok=False,
            detail="none of `discovery serve` runs here, and OPENAI_BASE_URL is not set",
            fix=fix,
        )
    shown = _without_credentials(base)
    key = os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        request = urllib.request.Request(f"{base}/models", headers=headers)
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as response:
            models = [str(model["id"]) for model in json.load(response)["data"]]
    except urllib.error.HTTPError as error:
        asks = error.code in (401, 403)
        return Diagnosis(
            name="model server",
            ok=False,
            detail=f"{shown} answers {error.code} {error.reason}",
            fix="export OPENAI_API_KEY=..." if asks else fix,
        )
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        return Diagnosis(name="model server", ok=False, detail=f"{shown} does not answer: {reason}", fix=fix)
    except (ValueError, KeyError, TypeError):
        return Diagnosis(
            name="model server", ok=False, detail=f"{shown}/models is no list of models", fix=fix
        )
    return Diagnosis(
        name="model server", ok=True, detail=f"{shown} serves {', '.join(models[:3]) or 'nothing'}"
    )


def _served_here() -> str:
    """The servers of ``discovery serve`` on this machine, in one line."""
    from discovery.generation.control import running_servers

    return ", ".join(f"{server.name} at {server.url} (discovery serve)" for server in running_servers())


def _module(name: str, extra: str, why: str) -> Diagnosis:
    if importlib.util.find_spec(name) is None:
        return Diagnosis(name=name, ok=False, detail=f"not installed; {why}", fix=install_command(extra))
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Diagnosis(name=name, ok=True, detail=version(name))
    except PackageNotFoundError:
        return Diagnosis(name=name, ok=True, detail="installed")


def _existing(path: Path) -> Path:
    """The nearest ancestor that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _without_credentials(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "OPENAI_BASE_URL"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


CHECKS: tuple[Callable[[], Diagnosis], ...] = (
    check_python,
    check_machine,
    check_bubblewrap,
    check_namespaces,
    check_control_groups,
    check_storage,
    check_disk,
    check_prefect,
    check_docker,
    check_psycopg,
    check_scipy,
    check_vllm,
    check_model_server,
)

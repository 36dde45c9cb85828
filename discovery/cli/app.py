"""The application object, its exit codes, and what becomes of errors."""

from __future__ import annotations

import importlib
import io
import json
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, MissingArgumentError, UnusedCliTokensError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from discovery import __version__
from discovery.errors import ConfigError, DiscoveryError, StorageError
from discovery.sandbox.isolation import expanded

MISUSE = 2
FAULT = 70
"""A fault of this program itself, as ``sysexits.h`` numbers it."""
INTERRUPTED = 130
DEBUG = "DISCOVERY_DEBUG"
"""Environment variable: when it is set, a fault of this program shows its traceback."""

MODULES = {
    "running": ("run",),
    "resuming": ("resume",),
    "plan": ("plan",),
    "look": ("runs", "best"),
    "compare": ("compare",),
    "problems": ("problems",),
    "selectors": ("selectors",),
    "testbed": ("testbed",),
    "show": ("show",),
    "judge": ("score", "check", "new"),
    "audit": ("audit",),
    "certify": ("certify",),
    "machine": ("doctor", "server", "bench"),
    "model": ("model",),
    "image": ("image",),
    "prices": ("prices",),
    "licences": ("licences",),
    "serve": ("serve", "publish"),
    "export": ("export",),
    "train": ("train",),
    "loop": ("loop",),
    "imports": ("import",),
}
"""The modules of this package that hold commands, and which."""

_UNBOUNDED = 10_000

app = App(
    name="discovery",
    version=__version__,
    help="Let a model write programs, score them in sandboxes, refine the best, keep every trajectory.",
    result_action="return_value",
    help_format="plaintext",
)

out = Console(highlight=False, soft_wrap=True, emoji=False)
"""Standard output, for people."""
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
"""Standard error: progress, notices, errors."""


def print_json(value: Any) -> None:
    """Print one line of strict JSON on standard output."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_table(table: Table) -> None:
    """Print a table on standard output: as wide as the terminal, or in full where none reads it."""
    if out.is_terminal:
        out.print(table, soft_wrap=False)
        return
    text = io.StringIO()
    Console(file=text, width=_UNBOUNDED, highlight=False).print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))


def program() -> str:
    """How the user calls this program, for commands that are shown to be copied."""
    called = Path(sys.argv[0])
    found = shutil.which("discovery")
    if called.name != "discovery" or not called.is_file():
        return "discovery"
    if found is not None and Path(found).resolve() == called.resolve():
        return "discovery"
    path = called.absolute()
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def again(storage: str | None) -> str:
    """What to add to a command that is shown, so that it finds the storage that this one was given."""
    return f" --storage {shlex.quote(storage)}" if storage else ""


def properties(given: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of ``--require-isolation``, which may be repeated or separated by commas; None when it was not given.

    Raises:
        ConfigError: One is unknown or empty.
    """
    if given is None:
        return None
    names = tuple(name.strip() for each in given for name in each.split(","))
    if "" in names:  # an unset variable of a shell must not turn into nothing being required
        raise ConfigError(
            f"--require-isolation {','.join(given)!r} has an empty name; give levels or properties, or none"
        )
    expanded(names)
    return names


def printable(text: str) -> str:
    """Text from elsewhere without control codes, for where markup is not read."""
    text = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def say_error(message: str) -> None:
    """Print one line on standard error."""
    err.print(f"[bold red]error:[/] {escape(printable(' '.join(message.split())))}")


def notice(message: str) -> None:
    """Print one line that the user should know, on standard error."""
    err.print(f"[yellow]note:[/] {escape(printable(message))}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; None takes ``sys.argv``.

    Returns:
        The exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    first = given[0] if given else ""
    # Each module takes its time to load. Help, and what nobody knows, need them all.
    for name in [name for name, commands in MODULES.items() if first in commands] or MODULES:
        importlib.import_module(f"discovery.cli.{name}")
    try:
        result = app(given, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        say_error(_misuse(error))
        return MISUSE
    except StorageError as error:
        say_error(f"storage: {error}")
        return MISUSE
    except DiscoveryError as error:
        say_error(str(error))
        return MISUSE
    except KeyboardInterrupt:
        say_error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        say_error(f"the system refuses: {error}; see `{program()} doctor`")
        return MISUSE
    except Exception as error:  # noqa: BLE001 - the last boundary: a fault here is one line too
        say_error(
            f"a fault of discovery itself, please report it: {type(error).__name__}: {error}; "
            f"{DEBUG}=1 shows where"
        )
        if os.environ.get(DEBUG):
            traceback.print_exc()
        return FAULT
    return int(result) if isinstance(result, int) else 0


def _misuse(error: CycloptsError) -> str:
    """What the command line library found, in our words where its own are about itself."""
    chain = " ".join(error.command_chain or ())
    if isinstance(error, UnusedCliTokensError):
        extra = " ".join(shlex.quote(token) for token in error.unused_tokens or ())
        message = f"`discovery {chain}` takes nothing further, but got: {extra}."
    elif isinstance(error, MissingArgumentError) and error.argument is not None and error.argument.required:
        name = error.argument.name.lstrip("-").upper()
        hint = " `discovery problems` lists what there is." if name == "PROBLEM" else ""
        hint = " `discovery runs` lists what there is." if name == "RUN" else hint
        message = f"`discovery {chain}` needs {name}.{hint}"
    else:
        message = str(error)
    return f"{message} See: discovery {f'{chain} ' if chain else ''}--help"

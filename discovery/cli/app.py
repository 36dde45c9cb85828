"""The application object, its exit codes, and what becomes of errors."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from cyclopts import App, CycloptsError
from rich.console import Console
from rich.markup import escape

from discovery import __version__
from discovery.errors import DiscoveryError, StorageError

MISUSE = 2
INTERRUPTED = 130

app = App(
    name="discovery",
    version=__version__,
    help="Let a model write programs, score them in sandboxes, refine the best, keep every trajectory.",
    result_action="return_value",
    help_format="plaintext",
)

out = Console(highlight=False, soft_wrap=True)
"""Standard output, for people."""
err = Console(stderr=True, highlight=False, soft_wrap=True)
"""Standard error: progress, notices, errors."""


def print_json(value: Any) -> None:
    """Print one line of strict JSON on standard output."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    sys.stdout.flush()


def say_error(message: str) -> None:
    """Print one line on standard error."""
    err.print(f"[bold red]error:[/] {escape(' '.join(message.split()))}")


def notice(message: str) -> None:
    """Print one line that the user should know, on standard error."""
    err.print(f"[yellow]note:[/] {escape(message)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; None takes ``sys.argv``.

    Returns:
        The exit code.
    """
    for commands in ("running", "look", "judge", "machine"):
        importlib.import_module(f"discovery.cli.{commands}")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(given, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        say_error(f"{error} See: discovery {'--help' if not given else given[0] + ' --help'}")
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
        sys.stderr.close()
        return 0
    return int(result) if isinstance(result, int) else 0

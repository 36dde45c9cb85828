"""Run benchmarks by name, all of them by default."""

import argparse
import importlib
import inspect
import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.report import Report

NAMES = (
    *("cost", "flat", "busy", "search", "sandbox_latency", "soak", "timeouts", "kept", "stream"),
    *("prefix", "first_request", "export", "loop", "suite", "selection_cost", "selection", "plan"),
)
OPTIONS = ("evaluations", "sandbox", "storage", "minutes", "problems", "results", "page")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; all by default")
    parser.add_argument(
        "--results", type=Path, default=Path("benchmarks") / "results", help="folder for JSON"
    )
    parser.add_argument("--evaluations", type=int, help="of benchmarks that can be longer or shorter")
    parser.add_argument("--sandbox", help="of benchmarks that run on any: bubblewrap, docker or process")
    parser.add_argument("--storage", help="of `export`: where the made-up run is kept, to be used again")
    parser.add_argument(
        "--minutes",
        type=float,
        nargs="+",
        help="of `suite`: how long each problem is searched, several from one run",
    )
    parser.add_argument(
        "--problems", nargs="+", metavar="PROBLEM", help="of `suite` and `selection`: only these"
    )
    parser.add_argument("--page", type=Path, help="of `suite`: writes what is kept of minutes as Markdown")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}; known: {', '.join(NAMES)}")
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    arguments.results.mkdir(parents=True, exist_ok=True)
    missed = False
    for name in arguments.names or NAMES:
        report = _measured(name, arguments)
        for each in (*report.details, report.table()):
            console.print(each)
            console.print()
        missed = missed or not report.holds
        file = arguments.results / f"{name}.json"
        about = {
            "benchmark": name,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
        file.write_text(json.dumps({**about, **report.as_dict()}, indent=1) + "\n")
        console.print(f"  {file}\n")
    return 1 if missed else 0


def _measured(name: str, arguments: argparse.Namespace) -> Report:
    run = importlib.import_module(f"benchmarks.{name}").run
    known = inspect.signature(run).parameters
    return run(**{n: v for n in OPTIONS if n in known and (v := getattr(arguments, n)) is not None})


if __name__ == "__main__":
    sys.exit(main())

"""Run benchmarks by name, all of them by default."""

import argparse
import importlib
import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

NAMES = ("cost", "flat", "busy", "search", "sandbox_latency")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; all by default")
    parser.add_argument(
        "--results", type=Path, default=Path("benchmarks") / "results", help="folder for JSON"
    )
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}; known: {', '.join(NAMES)}")
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    arguments.results.mkdir(parents=True, exist_ok=True)
    missed = False
    for name in arguments.names or NAMES:
        report = importlib.import_module(f"benchmarks.{name}").run()
        console.print(report.table())
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


if __name__ == "__main__":
    sys.exit(main())

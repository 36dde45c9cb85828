"""The folder of a comparison: its plan, so that it goes on by its id alone, and its report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from discovery.comparison.page import page
from discovery.comparison.plan import Comparison, Setting
from discovery.comparison.report import Report, as_dict, curves_csv
from discovery.config import RunConfig, from_dict, to_dict
from discovery.errors import ConfigError, UsageError
from discovery.loop.folder import write_text_whole, write_whole

FOLDERS = Path("discovery-runs")
_PREFIX = "compare-"


class ComparisonFolder:
    """One folder.

    Args:
        path: Where; made when the plan is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def named(cls, name: str) -> ComparisonFolder:
        """The folder that a user names: by its path, or by the comparison's id.

        Raises:
            UsageError: No comparison is there.
        """
        tried = (Path(name), FOLDERS / name, FOLDERS / f"{_PREFIX}{name}")
        found = next((path for path in tried if (path / "plan.json").is_file()), None)
        if found is None:
            there = sorted(
                path.parent.name.removeprefix(_PREFIX) for path in FOLDERS.glob(f"{_PREFIX}*/plan.json")
            )
            listed = (
                f"; here are: {', '.join(there)}" if there else "; no comparison was started in this folder"
            )
            raise UsageError(f"there is no comparison {name!r} in {FOLDERS}{listed}")
        return cls(found)

    @classmethod
    def of(cls, comparison: Comparison) -> ComparisonFolder:
        """Where a comparison's folder is unless said."""
        return cls(FOLDERS / f"{_PREFIX}{comparison.id}")

    @property
    def page(self) -> Path:
        """The report for people."""
        return self.path / "report.html"

    def save_plan(self, comparison: Comparison) -> None:
        """Write the plan.

        Raises:
            UsageError: The folder cannot be written.
        """
        write_whole(self.path / "plan.json", plan_as_dict(comparison))

    def plan(self) -> Comparison:
        """The plan.

        Raises:
            ConfigError: It cannot be read.
        """
        file = self.path / "plan.json"
        try:
            return plan_of_dict(json.loads(file.read_text(encoding="utf-8")), str(file))
        except (OSError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"{file}: {error}; expected the plan of a comparison, as it was written"
            ) from error

    def save_report(self, report: Report, command: str) -> None:
        """Write the report: a page, and the same for other programs.

        Args:
            report: What to write.
            command: That makes the comparison again, or goes on with it.

        Raises:
            UsageError: The folder cannot be written.
        """
        write_whole(self.path / "report.json", as_dict(report))
        write_text_whole(self.path / "curves.csv", curves_csv(report))
        write_text_whole(self.page, page(report, command))


def plan_as_dict(comparison: Comparison) -> dict[str, Any]:
    """A plan as plain JSON data."""
    return {
        "id": comparison.id,
        "problem": comparison.problem,
        "problem_name": comparison.problem_name,
        "version": comparison.version,
        "seeds": list(comparison.seeds),
        "settings": [
            {"name": s.name, "is_baseline": s.is_baseline, "config": to_dict(s.config)}
            for s in comparison.settings
        ],
    }


def plan_of_dict(data: Mapping[str, Any], where: str) -> Comparison:
    """A plan from plain data.

    Args:
        data: As :func:`plan_as_dict` made it.
        where: Its file, for messages.

    Raises:
        ConfigError: It is no plan.
    """
    try:
        return Comparison(
            id=str(data["id"]),
            problem=str(data["problem"]),
            problem_name=str(data["problem_name"]),
            version=str(data["version"]),
            seeds=tuple(int(seed) for seed in data["seeds"]),
            settings=tuple(
                Setting(
                    name=str(one["name"]),
                    is_baseline=bool(one["is_baseline"]),
                    config=from_dict(RunConfig, one["config"]),
                )
                for one in data["settings"]
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{where} is not the plan of a comparison ({error!r}); start it anew") from error

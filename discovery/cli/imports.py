"""``discovery import``: runs that another machine has exported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from discovery.bundled import PROBLEM_FILE, bundled_file, installed_problems
from discovery.cli.app import again, app, notice, out, print_json, program
from discovery.cli.watch import printable
from discovery.errors import ProblemError
from discovery.plugins import load_problem, share_dir
from discovery.problem import Problem
from discovery.records import RunStatus
from discovery.run import config_of
from discovery.storage import open_storage
from discovery.storage.base import RunRecord
from discovery.trajectories.archive import read_archive
from discovery.trajectories.arrival import Arrived, arrive


@app.command(name="import")
def import_runs(
    folder: Path,
    *,
    problem: str | None = None,
    storage: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Bring in runs that `discovery export --format parquet` wrote, here or on another machine.

    Everything is checked before anything is stored. Runs that are here already must be equal, and are left alone; an
    import that was interrupted is repeated.

    Args:
        folder: The folder of the export.
        problem: Name or path of the runs' problem here, which `audit`, `best`, `export` and `resume` load [where
            it was on the other machine, else the bundled or installed one of that name and version].
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        json: Print one JSON object on standard output, nothing else.
    """
    given = load_problem(problem) if problem is not None else None
    read_archive(folder)  # before a storage is made
    with_storage = open_storage(storage)
    try:
        arrived = arrive(with_storage, folder, problem=given)
    finally:
        with_storage.close()
    if json:
        print_json({"runs": [_as_json(each) for each in arrived]})
        return 0
    for each in arrived:
        came = "has come" if each.is_new else "was here already, and is equal"
        counts = ", ".join(
            f"{each.rows.get(name, 0):,} {name}" for name in ("steps", "candidates", "evaluations")
        )
        out.print(f"{each.run.id} {came}: {each.run.status}, {counts}", markup=False)
    for said in dict.fromkeys(said for each in arrived for said in _notices(each, given)):
        notice(said)
    first = arrived[0].run.id
    out.print(f"Look at it with: {program()} show {first}{again(storage)}", markup=False)
    return 0


def _is_here(run: RunRecord) -> bool:
    """Whether `audit` and `resume` find the run's problem; a file at its path is not executed to find out."""
    if os.path.exists(run.problem_path):  # noqa: PTH110 - no error for what is no path at all
        return True
    if bundled_file(run.problem) is None and run.problem not in installed_problems():
        return False
    try:
        return load_problem(run.problem).version == run.problem_version
    except ProblemError:  # a broken plugin that nobody asked for
        return False


def _is_code(path: str) -> bool:
    """Whether something is at a path that is none of the bundled problems: what an archive says may be anything."""
    if not os.path.exists(path):  # noqa: PTH110 - no error for what is no path at all
        return False
    found = Path(path).resolve()
    return found.name != PROBLEM_FILE or found.parent.parent != share_dir("problems").resolve()


def _notices(each: Arrived, given: Problem | None) -> list[str]:
    """What a user should know before anything but reading is done with the run."""
    run, path = each.run, printable(each.run.problem_path)
    said = []
    if not _is_here(each.run):
        said.append(
            f"problem {run.problem} is not at {path} on this machine: `audit`, `export` and `resume` need it there, "
            "or its place given by --problem when its runs are imported"
        )
    if each.is_new and each.is_changed is None and _is_code(run.problem_path):
        said.append(
            f"{run.id} says that its problem is {path}, and that is on this machine: `audit`, `best`, `export` and "
            "`resume` will execute it, so look at it first, or give another by --problem when its runs are imported"
        )
    if each.is_changed:
        said.append(
            f"problem {run.problem} here is of another version than in {run.id}: scores may rightly differ"
        )
    if given is not None and not each.is_new and str(given.path) != run.problem_path:
        said.append(f"{run.id} was here already, so its problem stays at {path}")
    generator = config_of(run).generator
    servers = (*generator.base_url, *(url for member in generator.members for url in member.base_url))
    if servers and run.status is not RunStatus.FINISHED:
        where = printable(", ".join(servers))
        said.append(
            f"`resume` would send its requests, and OPENAI_API_KEY, to {where}; "
            f"{'--mix NAME=URL' if generator.members else '--base-url'} gives another"
        )
    return said


def _as_json(each: Arrived) -> dict[str, Any]:
    return {
        "run": each.run.id,
        "problem": each.run.problem,
        "status": str(each.run.status),
        "new": each.is_new,
        "rows": each.rows,
        "problem_path": each.run.problem_path,
        "problem_here": _is_here(each.run),
        "problem_changed": each.is_changed,
    }

"""``discovery certify``: what a stranger can check without this package."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from discovery.best import announced_evaluation, best_announced, confirming_evaluation
from discovery.cli.app import app, out, print_json
from discovery.cli.judge import score_file
from discovery.cli.show import candidate_key
from discovery.cli.watch import plain
from discovery.data import Data
from discovery.errors import Invalid, UsageError
from discovery.plugins import load_problem, load_stored
from discovery.problem import Problem
from discovery.records import Evaluation, Json, Score
from discovery.referee import agrees, has_verifier
from discovery.solutions import is_data
from discovery.storage import open_existing
from discovery.storage.base import RunRecord, Storage


@app.command
def certify(
    what: str,
    solution: str | None = None,
    *,
    out_dir: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    problem: str | None = None,
    check: Annotated[bool, Parameter(negative=())] = False,
    storage: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write a folder with which a stranger checks a solution and its exact score: `python3 verify.py`, no more.

    Args:
        what: A run's id, or a unique beginning of it; with a file, a problem; with --check, a certificate's folder.
        solution: Of a run: CHAIN.STEP.INDEX of another candidate than its best. Of a problem: a .json or .npy file.
        out_dir: Folder to write to [certificate-NAME].
        problem: With --check: where the problem is, if its name is not known here.
        check: Check a certificate by the problem that is here; its script is compared, and not run.
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        json: Print one JSON object on standard output, nothing else.

    Exit code 0 when it is written or holds, 1 when the solution or the certificate does not hold.
    """
    from discovery.certificate import check_certificate, write_certificate
    from discovery.exact.certified import CertificateError

    if check:
        if solution is not None or out_dir is not None:
            raise UsageError("--check reads one certificate's folder; leave the rest out")
        try:
            return _said(check_certificate(Path(what), problem), None, json)
        except CertificateError as error:
            return _said([], str(error), json)
    if problem is not None:
        raise UsageError("--problem goes with --check; to certify a file, write: certify PROBLEM FILE")
    try:
        if solution is not None and is_data(Path(solution)):
            certified, artifact, provenance = _of_file(what, Path(solution))
        else:
            certified, artifact, provenance = _of_run(what, solution, storage)
        made = write_certificate(
            out_dir or Path(f"certificate-{certified.name}"), certified, artifact, provenance
        )
    except Invalid as error:
        return _said([], error.reason, json)
    if json:
        print_json(
            {
                "holds": True,
                "folder": str(made.folder),
                "problem": certified.name,
                "exact": made.exact.decimal(),
            }
        )
        return 0
    out.print(f"{certified.name}: exactly {made.exact.decimal()}", markup=False)
    out.print(
        f"wrote {made.folder}; to check it: python3 {quote(str((made.folder / 'verify.py').resolve()))}",
        markup=False,
    )
    return 0


def _said(lines: list[str], error: str | None, json: bool) -> int:
    if json:
        print_json({"holds": error is None, "checked": lines, "error": error})
    for line in () if json else lines:
        out.print(f"ok     {plain(line)}")
    if error is not None and not json:
        out.print(f"[bold red]invalid[/]  {plain(error)}")
    return 0 if error is None else 1


def _of_file(name: str, file: Path) -> tuple[Problem, Data, dict[str, Json]]:
    """A solution in a file, as it counts."""
    problem = load_problem(name)
    _hold_verifiable(problem)
    evaluation = asyncio.run(score_file(problem, file))
    if evaluation.score is None:
        raise Invalid(evaluation.failure.message if evaluation.failure else "it has no score")
    provenance = {"file": file.name, "sha256": sha256(file.read_bytes()).hexdigest()}
    return problem, _artifact(evaluation.score, file.name), provenance


def _of_run(run: str, candidate: str | None, url: str | None) -> tuple[Problem, Data, dict[str, Json]]:
    """A run's verified best, or another candidate of it."""
    storage = open_existing(url)
    try:
        record = storage.get_run(run)
        evaluation = _claimed(storage, record, candidate)
        source = storage.candidate(record.id, evaluation.key)
    finally:
        storage.close()
    problem = load_stored(record.problem_path, record.problem, record.problem_version)
    if problem is None:
        raise UsageError(f"the problem of run {record.id}, {record.problem_path}, is gone; put it back")
    _hold_verifiable(problem)
    assert evaluation.score is not None
    artifact = _artifact(evaluation.score, f"candidate {evaluation.key} of run {record.id}")
    _compare(problem, evaluation.score, artifact)
    provenance = {
        "run": record.id,
        "problem_version": record.problem_version,
        "candidate": str(evaluation.key),
        "program_sha256": source.source_hash if source is not None else None,
        **({"warm_start": str(source.warm_start)} if source is not None and source.warm_start else {}),
        "generator": record.config.get("generator", {}).get("kind"),
        "model": record.facts.get("model"),
        "scored_at": (evaluation.finished_at or datetime.now(UTC)).isoformat(),
    }
    return problem, artifact, provenance


def _claimed(storage: Storage, record: RunRecord, candidate: str | None) -> Evaluation:
    if candidate is None:
        best = best_announced(storage.announcements(record.id), record.direction)
        if best is None:
            raise UsageError(f"run {record.id} has no verified best yet; see `discovery show {record.id}`")
        found = confirming_evaluation(storage, record.id, best)
        found = found or announced_evaluation(storage, record.id, best)
        named = str(best.key)
    else:
        scored = [e for e in storage.evaluations(record.id, candidate_key(candidate)) if e.score is not None]
        found, named = (scored[-1] if scored else None), candidate
    if found is None:
        raise UsageError(f"candidate {named} of run {record.id} has no score; name another one")
    return found


def _hold_verifiable(problem: Problem) -> None:
    if not has_verifier(problem):
        raise UsageError(
            f"problem {problem.name!r} has no exact scorer, so nothing certifies a solution; "
            "one whose solutions are data gets a verify.py beside its problem.py"
        )


def _artifact(score: Score, whose: str) -> Data:
    if score.artifact is None:
        raise UsageError(f"the score of {whose} has no artifact, so there is no solution to certify")
    return score.artifact


def _compare(problem: Problem, score: Score, artifact: Data) -> None:
    """Refuse what the run's problem, as it is now, scores otherwise than the run says."""
    from discovery.referee import exact_score

    exact = exact_score(problem, artifact)
    if not agrees(score.value, exact) or (score.exact is not None and score.exact != exact.decimal()):
        raise Invalid(
            f"the run says {score.exact or score.value!r}, and the exact score is {exact.decimal()}; is the problem "
            "another one by now?"
        )

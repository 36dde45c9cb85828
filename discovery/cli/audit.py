"""``discovery audit``: a stored run's best candidates, scored again from nothing."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from discovery.agreement import shown
from discovery.audit import Audit, Audited, audit
from discovery.cli.app import app, notice, out, print_json, print_table
from discovery.cli.judge import MODEL
from discovery.cli.watch import printable
from discovery.config import SandboxConfig
from discovery.launch import evaluator_for, problem_of
from discovery.records import Evaluation
from discovery.run import config_of
from discovery.sandbox.base import SandboxBackend
from discovery.sandbox.choice import choose_backend
from discovery.storage import open_existing
from discovery.storage.base import Storage


@app.command(name="audit")
def audit_run(
    run: str,
    *,
    top: int = 5,
    storage: str | None = None,
    sandbox: str = "auto",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Score a run's best candidates again, from nothing, and say which scores differ.

    Exit code 0 when all agree, 1 when one differs.

    Args:
        run: Its id, or a unique beginning of it.
        top: How many different candidates; the announced best and the initial one are always among them.
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        sandbox: auto, bubblewrap, docker or process.
        json: Print one JSON object on standard output, nothing else.
    """
    with_storage = open_existing(storage)
    try:
        run = with_storage.get_run(run).id
        chosen = choose_backend(SandboxConfig(backend=sandbox), MODEL)
        if chosen.notice:
            notice(chosen.notice)
        found = asyncio.run(_audit(with_storage, run, chosen.backend, top))
    finally:
        with_storage.close()
    if json:
        print_json(_as_json(found))
        return 0 if found.agrees else 1
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("candidate", "stored", "again", "result"):
        table.add_column(column)
    for audited in found.candidates:
        name = f"{audited.key}{' (best)' if audited.is_best else ''}"
        results = (_result(audited.claimed), _result(audited.again))
        table.add_row(name, *results, Text(_said(audited)))
    print_table(table)
    if found.is_changed:
        notice("the problem has changed since the run: its scores may rightly differ")
    if found.not_kept is not None:
        notice(f"the results were not stored: {found.not_kept}")
    differ = sum(not audited.agrees for audited in found.candidates)
    count = len(found.candidates)
    out.print(f"all {count} agree" if not differ else f"{differ} of {count} differ", markup=False)
    return 0 if found.agrees else 1


async def _audit(storage: Storage, run: str, backend: SandboxBackend, top: int) -> Audit:
    record = storage.get_run(run)
    require = config_of(record).sandbox.require
    async with evaluator_for(problem_of(record), backend, label=run, require=require) as evaluator:
        return await audit(storage, run, evaluator, top)


def _result(evaluation: Evaluation) -> str:
    if evaluation.score is not None:
        return shown(evaluation.score)
    return str(evaluation.failure.kind) if evaluation.failure is not None else "-"


def _said(audited: Audited) -> str:
    if audited.agrees:
        return "agrees" if audited.note is None else f"agrees: {printable(audited.note)}"
    first, again = audited.claimed.score, audited.again.score
    if first is not None and again is not None:
        return f"differs by {again.value - first.value:.10g}"
    failure = audited.again.failure
    return f"differs: {printable(' '.join(failure.message.split()))}" if failure is not None else "differs"


def _as_json(found: Audit) -> dict[str, Any]:
    return {
        "run": found.run,
        "agrees": found.agrees,
        "problem_changed": found.is_changed,
        "stored": found.not_kept is None,
        "not_stored": found.not_kept,
        "candidates": [
            {
                "candidate": str(audited.key),
                "best": audited.is_best,
                "agrees": audited.agrees,
                "stored": _score_json(audited.claimed),
                "again": _score_json(audited.again),
                "note": audited.note,
            }
            for audited in found.candidates
        ],
    }


def _score_json(evaluation: Evaluation) -> dict[str, Any]:
    score, failure = evaluation.score, evaluation.failure
    return {
        "score": score.value if score else None,
        "exact": score.exact if score else None,
        "interval": list(score.interval) if score and score.interval else None,
        "failure": {"kind": str(failure.kind), "message": failure.message} if failure else None,
    }

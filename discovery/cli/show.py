"""``discovery show``: where a run stands, how busy it was, or one of its candidates."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from discovery.agreement import shown
from discovery.bottleneck import bottleneck
from discovery.cli.app import again, app, out, print_json, print_table, program
from discovery.cli.report import advice_of, as_json, cost_of, fates, tokens_of, with_interval
from discovery.cli.watch import duration, number, plain, printable, utilisation
from discovery.comparison.plan import COMPARISON, SETTING
from discovery.config import RunConfig, SandboxConfig, to_dict
from discovery.errors import UsageError
from discovery.members import MemberTotals, member_totals
from discovery.pulse import Quantity, overall, recent
from discovery.records import (
    AdvicePurpose,
    CandidateKey,
    Consultation,
    Json,
    Measurement,
    Purpose,
    RunStatus,
    SandboxRecord,
)
from discovery.run import config_of
from discovery.storage import open_existing
from discovery.storage.base import RunRecord, Storage
from discovery.summary import BestAudit, RunSummary, summarize

_SHOWN = 5
"""So many of a list of candidates are shown."""


@app.command
def show(
    run: str,
    candidate: str | None = None,
    *,
    series: Annotated[bool, Parameter(negative=())] = False,
    storage: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show where a run stands, or one of its candidates.

    Args:
        run: Its id, or a unique beginning of it.
        candidate: CHAIN.STEP.INDEX, "initial" or "initial-1", ...: show that candidate with its evaluation.
        series: Print what was measured every ten seconds as CSV, nothing else.
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        json: Print one JSON object on standard output, nothing else.
    """
    if series and candidate is not None:
        raise UsageError(
            f"--series is of a whole run, and {candidate!r} is a candidate; leave one of them out"
        )
    with_storage = open_existing(storage)
    try:
        if candidate is not None:
            return _show_candidate(with_storage, run, candidate, json)
        if series:
            record = with_storage.get_run(run)
            return _show_series(record.id, with_storage.measurements(record.id), json)
        summary = summarize(with_storage, run)
        record = with_storage.get_run(summary.run)
        verified = with_storage.sandbox(str(record.facts.get("isolation")))
        points = with_storage.measurements(record.id)
        members = member_totals(with_storage, record)
    finally:
        with_storage.close()
    if json:
        counted = {name: record.facts.get(name, 0) for name in ("restarts", "too_long")}
        adapted = {"ended_chains": fates(record), **counted}
        shared = {"generators": [_member_as_json(member) for member in members]} if members else {}
        print_json({**as_json(summary), **adapted, **shared, "utilisation": _utilisation_as_json(points)})
        return 0
    facts = Table.grid(padding=(0, 2))
    for label, value in (*_facts(record, summary, verified), *_utilisation(points)):
        if value:
            facts.add_row(Text(label, style="dim"), Text(printable(value)))
    out.print(Text(summary.run, style="bold"))
    print_table(facts)
    if members:
        print_table(_members(members))
        out.print()
    print_table(_chains(summary, fates(record)))
    out.print("\nNext:")
    for command in _next(summary):
        out.print(f"  {program()} {command}{again(storage)}", markup=False)
    return 0


def _facts(
    record: RunRecord, summary: RunSummary, verified: SandboxRecord | None
) -> Sequence[tuple[str, str]]:
    config = config_of(record)
    failures = ", ".join(f"{kind} {count}" for kind, count in sorted(summary.failures.items()))
    model = record.facts.get("model")
    return (
        ("problem", f"{summary.problem} ({record.direction})"),
        ("status", f"{summary.status}{f': {summary.message}' if summary.message else ''}"),
        ("search", _search(config)),
        ("generator", config.generator.kind + (f" {model}" if model else "") + _sharing(config)),
        ("sandbox", _sandbox_line(record.facts, config.sandbox, verified)),
        ("seed", str(config.seed)),
        ("comparison", _comparison(record)),
        ("started", f"{record.created_at:%Y-%m-%d %H:%M:%S} UTC, {duration(summary.wall_s)} of work"),
        ("evaluations", f"{summary.evaluations} of {config.planned_evaluations}"),
        ("programs", f"{summary.distinct_candidates} {summary.programs}"),
        ("failed", f"{sum(summary.failures.values())}{f' ({failures})' if failures else ''}"),
        ("quarantined", str(summary.quarantine) if summary.quarantine.total else ""),
        ("disagreed", _few(summary.refuted)),
        ("restarts", str(record.facts.get("restarts", ""))),
        ("too long", _too_long(record)),
        ("initial", number(summary.initial_score)),
        (
            "best",
            with_interval(summary.best_score, summary.best_interval)
            + (f" (candidate {summary.best})" if summary.best else ""),
        ),
        ("exact", summary.best_exact or ""),
        ("tokens", " (".join(tokens_of(summary)) + ")" if summary.tokens.total else ""),
        ("advice", " ".join(advice_of(summary)) if summary.consultations else ""),
        ("cost", ", ".join(filter(None, cost_of(summary)))),
        ("audited", _audited(summary.audit) if summary.audit else ""),
    )


def _too_long(record: RunRecord) -> str:
    count = record.facts.get("too_long")
    return f"the parent chosen for {count} steps; another one was improved" if count else ""


def _sharing(config: RunConfig) -> str:
    """How a mixture is shared; empty for one generator."""
    return f", by {config.arms.choice}" if config.generator.members else ""


def _comparison(record: RunRecord) -> str:
    """Which comparison and which setting of it a run is of; empty for a run of its own."""
    of, setting = record.facts.get(COMPARISON), record.facts.get(SETTING)
    return f"{of}, setting {setting}" if of else ""


def _search(config: RunConfig) -> str:
    search = config.search
    shape = f"C={search.chains} L={search.steps} K={search.candidates}, {search.selector}"
    if (base := search.selector_params.get("base")) is not None:
        shape += f" over {base}"
    if config.prompt.edits != "rewrite":
        shape += f", edits as {config.prompt.edits}"
    if config.adviser.reflect:
        shape += ", with reflection"
    adapt = config.adapt
    rungs = f"rungs at {', '.join(map(str, adapt.at))} (keep {adapt.keep:g})" if adapt.at else ""
    patience = f"{adapt.on_stall} after {adapt.patience} steps in vain" if adapt.patience else ""
    overlap = f"overlap {config.overlap}" if config.overlap else ""
    return ", ".join(filter(None, (shape, overlap, rungs, patience)))


def _members(members: Sequence[MemberTotals]) -> Table:
    """What each generator of a mixture has brought."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("generator")
    table.add_column("model")
    for column in ("completions", "valid", "improved", "tokens", "per improvement", "best", "candidate"):
        table.add_column(column, justify="right")
    for one in members:
        share = f" ({100 * one.improved / one.completions:.1f} %)" if one.completions else ""
        each = f"{one.tokens / one.improved:,.0f}" if one.tokens is not None and one.improved else "-"
        table.add_row(
            one.name,
            Text(printable(one.model or "-")),
            f"{one.completions:,}",
            f"{one.valid:,}",
            f"{one.improved:,}{share}",
            "-" if one.tokens is None else f"{one.tokens:,}",
            each,
            number(one.best_score),
            str(one.best) if one.best else "-",
        )
    return table


def _member_as_json(one: MemberTotals) -> dict[str, Any]:
    return {**to_dict(one), "best": str(one.best) if one.best else None}


def _chains(summary: RunSummary, fates: Mapping[int, str]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("chain", "steps", "evaluations", "best", "candidate"):
        table.add_column(column, justify="right")
    if fates:
        table.add_column("")
    for chain in summary.chains:
        table.add_row(
            str(chain.chain),
            str(chain.steps),
            str(chain.evaluations),
            number(chain.best_score),
            str(chain.best) if chain.best else "-",
            *([fates.get(chain.chain, "")] if fates else []),
        )
    return table


# Utilisation


def _utilisation(points: Sequence[Measurement]) -> Sequence[tuple[str, str]]:
    """How busy a run was as a whole and in its last minutes, and what it waited for."""
    whole, late = overall(points), overall(recent(points))
    finding = bottleneck(late)
    rows = [("utilisation", _busy(whole))]
    if late.get(Quantity.WINDOW_S, 0.0) < whole.get(Quantity.WINDOW_S, 0.0):
        rows.append((f"last {duration(late[Quantity.WINDOW_S])}", _busy(late)))
    if finding is not None:
        rows += [("waits for", finding.what), ("", finding.fix)]
    return rows


def _busy(values: Mapping[str, float]) -> str:
    shares = (("generator", Quantity.GENERATOR_BUSY), ("evaluators", Quantity.EVALUATOR_BUSY))
    busy = [f"{name} {100 * values[share]:.0f} %" for name, share in shares if share in values]
    return ", ".join([*busy, *utilisation(values)])


def _utilisation_as_json(points: Sequence[Measurement]) -> dict[str, Any] | None:
    if not points:
        return None
    late = overall(recent(points))
    finding = bottleneck(late)
    return {"run": overall(points), "recent": late, "waits_for": str(finding.kind) if finding else None}


def _show_series(run: str, points: Sequence[Measurement], json: bool) -> int:
    if json:
        print_json({"run": run, "series": [{"at": p.at.isoformat(), **p.values} for p in points]})
        return 0
    writer = csv.DictWriter(
        sys.stdout, ["at", *map(str, Quantity)], extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows({"at": p.at.isoformat(), **p.values} for p in points)
    return 0


# The rest of what is stored of it


def _sandbox_line(facts: Mapping[str, Json], asked: SandboxConfig, verified: SandboxRecord | None) -> str:
    """The backend, how many properties were verified to hold, and which were not."""
    name = str(facts.get("sandbox") or asked.backend)
    if verified is None:
        return name
    missing = [prop for prop, holds in verified.properties.items() if not holds]
    held = len(verified.properties) - len(missing)
    found = f"{name}, {held} of {len(verified.properties)} properties verified"
    return f"{found}; not {', '.join(missing)}" if missing else found


def _few(keys: Sequence[CandidateKey]) -> str:
    """The first candidates, and how many more there are."""
    more = len(keys) - _SHOWN
    return ", ".join(map(str, keys[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _audited(audit: BestAudit) -> str:
    """When the best was audited and with what result."""
    result = "it scored as announced" if audit.agrees else printable(" ".join((audit.message or "").split()))
    changed = ", of a problem that has changed since the run" if audit.is_changed else ""
    return f"{audit.at:%Y-%m-%d %H:%M:%S} UTC{changed}: {result}"


def _next(summary: RunSummary) -> list[str]:
    """The commands that make sense after a look at a run."""
    commands = []
    if summary.best is not None:
        commands += [f"show {summary.run} {summary.best}", f"best {summary.run}", f"audit {summary.run}"]
    if summary.best_exact:
        commands.append(f"certify {summary.run}")
    if summary.status in (RunStatus.STOPPED, RunStatus.FAILED, RunStatus.PAUSED):
        commands.append(f"resume {summary.run}")
    return commands


def _show_candidate(storage: Storage, run: str, text: str, json: bool) -> int:
    record = storage.get_run(run)
    key = candidate_key(text)
    candidate = storage.candidate(record.id, key)
    evaluations = storage.evaluations(record.id, key)
    if candidate is None and not evaluations:
        raise UsageError(
            f"run {record.id} has no candidate {text!r} (CHAIN.STEP.INDEX, steps count from 1); "
            f"`discovery show {record.id}` names the best"
        )
    asked = _reflection(storage, record.id, key)
    if json:
        print_json(
            {
                "run": record.id,
                "candidate": str(key),
                "parents": [str(parent) for parent in candidate.parents] if candidate else [],
                "form": candidate.form if candidate else None,
                "warm_start": str(candidate.warm_start) if candidate and candidate.warm_start else None,
                "source": candidate.source if candidate else None,
                "answer": _answer(storage, record.id, key),
                "reflection": None
                if asked is None
                else {"text": asked.text, "failure": asked.failure, "tokens": asked.answer.tokens},
                "evaluations": [
                    {
                        "purpose": str(e.purpose),
                        "state": str(e.state),
                        "score": e.score.value if e.score else None,
                        "exact": e.score.exact if e.score else None,
                        "interval": list(e.score.interval) if e.score and e.score.interval else None,
                        "samples": list(e.score.samples) if e.score else None,
                        "metrics": dict(e.score.metrics) if e.score else None,
                        "failure": str(e.failure.kind) if e.failure else None,
                        "message": e.failure.message if e.failure else None,
                        "suspicion": e.suspicion,
                        "duplicate_of": str(e.duplicate_of) if e.duplicate_of else None,
                        "sandbox": e.sandbox,
                    }
                    for e in evaluations
                ],
            }
        )
        return 0
    if candidate is not None:
        out.print(plain(candidate.source))
        out.print(Text(f"parents: {', '.join(map(str, candidate.parents)) or 'none'}", style="dim"))
        if candidate.warm_start is not None:
            out.print(Text(f"it was given the construction of {candidate.warm_start}", style="dim"))
    elif (answer := _answer(storage, record.id, key)) is not None:
        out.print(Text("no program was found in this answer of the model:", style="dim"))
        out.print(plain(answer))
    for e in evaluations:
        said = shown(e.score) if e.score else f"{e.failure.kind}: {e.failure.message}" if e.failure else ""
        out.print(f"{e.purpose}: {plain(said)}")
        if e.score is not None and e.score.exact is not None:
            out.print(f"  exactly {plain(e.score.exact)}")
        if e.score is not None and e.score.samples:
            out.print(
                f"  {len(e.score.samples)} repeats: {', '.join(map(number, e.score.samples))}", markup=False
            )
        if e.duplicate_of is not None and e.purpose is Purpose.SEARCH:
            out.print(f"  taken over from {e.duplicate_of}, an equal program", markup=False)
        if e.suspicion is not None and e.purpose is Purpose.SEARCH:
            out.print(f"  quarantined: {plain(e.suspicion)}")
        if e.score is not None and e.score.feedback:
            out.print(f"  {plain(e.score.feedback)}")
        if e.failure is not None and e.failure.detail:
            out.print(plain(e.failure.detail))
    if asked is not None:
        title = "reflection" if asked.text else "no reflection"
        flaw = f", of no use to later prompts: {asked.failure}" if asked.text and asked.failure else ""
        out.print(Text(f"{title}{plain(flaw)}:", style="dim"))
        out.print(plain((asked.text or asked.failure or "").strip()))
    return 0


def _reflection(storage: Storage, run: str, key: CandidateKey) -> Consultation | None:
    """What a model was asked about a committed candidate, with its answer; None where it was not asked."""
    asked = storage.consultation(run, key.chain, key.step, AdvicePurpose.REFLECT)
    return asked if asked is not None and asked.subject == key else None


def _answer(storage: Storage, run: str, key: CandidateKey) -> str | None:
    """What the model wrote, reasoning left out; None where nothing is stored."""
    if key.is_initial:
        return None
    step = storage.step(run, key.chain, key.step)
    completion = step.completions.get(key.index) if step is not None else None
    return completion.text if completion is not None else None


def candidate_key(text: str) -> CandidateKey:
    """A candidate's key as the user writes it.

    Raises:
        UsageError: It is none.
    """
    try:
        return CandidateKey.parse(text)
    except ValueError as error:
        raise UsageError(
            f"candidate {text!r}: expected CHAIN.STEP.INDEX, such as 0.3.1, or 'initial', 'initial-1', ..."
        ) from error

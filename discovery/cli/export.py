"""``discovery export``: trajectories of runs, scored again and chosen, as rows for a library that trains."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter
from rich.table import Table
from rich.text import Text

from discovery.cli.app import app, err, notice, out, print_json, print_table, program
from discovery.cli.judge import MODEL
from discovery.cli.watch import printable
from discovery.config import SandboxConfig, in_range
from discovery.errors import UsageError
from discovery.evaluator import Evaluator
from discovery.launch import evaluation_slots, evaluator_for, problem_of
from discovery.licences import load_licences, require_trainable
from discovery.run import config_of
from discovery.sandbox.base import SandboxBackend
from discovery.sandbox.choice import choose_backend
from discovery.storage import open_existing
from discovery.storage.base import RunRecord, Storage
from discovery.trajectories.archive import write_archive
from discovery.trajectories.assemble import outlines, samples
from discovery.trajectories.curate import curated
from discovery.trajectories.export import Facts, RunFact, require_place, write_export
from discovery.trajectories.formats.base import Options, Reasoning
from discovery.trajectories.formats.registry import FORMATS, find_format
from discovery.trajectories.judge import Judgement, judged
from discovery.trajectories.manifest import Manifest, Refutation, as_json
from discovery.trajectories.records import Filter, Keep, Split, TrajectoryOutline

PARQUET = "parquet"
TRAINS = {"trl-sft": "", "trl-dpo": " --method dpo", "trl-grpo": " --method grpo"}
"""Formats that `discovery train` reads, with what it is told."""

CHOICE = Parameter(group=Group.create_ordered("What is chosen"))
ROWS = Parameter(group=Group.create_ordered("What rows hold"))


@app.command(name="export")
def export_runs(
    *runs: str,
    format: str = "trl-sft",
    to: Annotated[Path | None, Parameter(name="--out")] = None,
    formats: Annotated[bool, Parameter(negative=())] = False,
    keep: Annotated[Keep, CHOICE] = Keep.TRAJECTORY,
    top: Annotated[float, CHOICE] = 10.0,
    truncate: Annotated[bool, CHOICE] = True,
    improving_only: Annotated[bool, CHOICE] = True,
    validation: Annotated[float, CHOICE] = 10.0,
    split_by: Annotated[str, CHOICE] = "trajectory",
    seed: Annotated[int, CHOICE] = 0,
    reasoning: Annotated[str | None, ROWS] = None,
    pairs: Annotated[int, ROWS] = 4,
    storage: str | None = None,
    sandbox: str = "auto",
    licences: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write trajectories of runs as training data: the best, scored again before they count.

    Args:
        runs: Ids, or unique beginnings of ids.
        format: What the rows are for; --formats lists them. parquet is all that is stored of the runs, unfiltered.
        to: Folder of the export; it must not hold anything else.
        formats: List the formats and do nothing.
        keep: trajectory (the best by their outcome), step (the best attempts by their own score), random or all.
        top: So many percent of each problem, ties included; with trajectory, step and random.
        truncate: Whether a trajectory ends where its best occurred first.
        improving_only: Whether a trajectory must beat the initial candidate.
        validation: So many percent are for validation, 0 to 50.
        split_by: What is never on both sides: trajectory or problem.
        seed: Of the split and of random.
        reasoning: thinking, reasoning_content, inline or omit [where the format wants it].
        pairs: Most worse siblings against the committed answer of a step, for preferences.
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        sandbox: For scoring again: auto, bubblewrap, docker or process.
        licences: Table of what may be trained on [the file that `discovery licences` names].
        json: Print one JSON object on standard output, nothing else.
    """
    if formats:
        return _list_formats(json)
    if not runs:
        raise UsageError("name at least one run; `discovery runs` lists what there is")
    if to is None:
        raise UsageError("say where to write with --out DIR")
    order = _Order(
        to=to,
        format=format,
        filter=_filter(keep, top, truncate, improving_only, validation, split_by, seed),
        options=Options(reasoning=_place(reasoning), pairs=pairs),
        sandbox=sandbox,
        licences=licences,
    )
    if format == PARQUET:
        return _archive(runs, order, storage, json)
    find_format(format).context(order.options, {})
    require_place(to)
    with contextlib.closing(open_existing(storage)) as opened:
        done = _export(opened, _records(opened, runs), order)
    if json:
        print_json({"folder": str(to), **as_json(done.manifest)})
    else:
        _say(done, to)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What was asked for.

    Args:
        to: Folder of the export.
        format: Name of its format.
        filter: What is chosen.
        options: How rows are made.
        sandbox: Where candidates are scored again.
        licences: The user's table; None for the usual place.
    """

    to: Path
    format: str
    filter: Filter
    options: Options
    sandbox: str
    licences: Path | None


def _place(reasoning: str | None) -> Reasoning | None:
    """Where reasoning is to go."""
    if reasoning is None:
        return None
    if reasoning not in list(Reasoning):
        raise UsageError(f"--reasoning is {reasoning!r}; it must be one of {', '.join(Reasoning)}")
    return Reasoning(reasoning)


def _filter(
    keep: Keep,
    top: float,
    truncate: bool,
    improving_only: bool,
    validation: float,
    split_by: str,
    seed: int,
) -> Filter:
    """What was asked for, refused where it is out of range."""
    in_range("--top", top, 1e-6, 100)
    in_range("--validation", validation, 0, 50)
    if split_by not in ("trajectory", "problem"):
        raise UsageError(f"--split-by is {split_by!r}; it must be trajectory or problem")
    return Filter(
        keep=keep,
        top_percent=top,
        truncate=truncate,
        improving_only=improving_only,
        validation_percent=validation,
        split_by=split_by,
        seed=seed,
    )


def _records(storage: Storage, runs: Sequence[str]) -> list[RunRecord]:
    """The runs, each once, by id."""
    found = {record.id: record for record in map(storage.get_run, runs)}
    return [found[run] for run in sorted(found)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """What was exported, of how much.

    Args:
        manifest: Of the export.
        trajectories: How many there were.
        judgement: Who was heard.
    """

    manifest: Manifest
    trajectories: int
    judgement: Judgement


def _export(storage: Storage, records: Sequence[RunRecord], order: _Order) -> _Done:
    ids = [record.id for record in records]
    everything = list(outlines(storage, ids))
    if not everything:
        raise UsageError(
            f"nothing to export: no step of {', '.join(ids)} is committed; `discovery resume` goes on"
        )
    speakers = {model for run in ids for model in storage.speakers(run)}
    allowed = require_trainable(speakers, load_licences(order.licences))
    backend = choose_backend(SandboxConfig(backend=order.sandbox), MODEL)
    if backend.notice:
        notice(backend.notice)
    err.print("scoring the best again before they count ...", style="dim")
    judgement = asyncio.run(_judged(storage, everything, order.filter, backend.backend))
    for run, reason in judgement.not_kept.items():
        notice(f"results of scoring {run} again were not stored: {reason}")
    selection = curated(judgement.outlines, order.filter)
    manifest = write_export(
        order.to,
        order.format,
        selection,
        samples(storage, selection),
        facts=Facts(
            runs=tuple(RunFact.of(record) for record in records),
            licences=allowed,
            refuted=tuple(
                Refutation(
                    run=out.outline.run,
                    chain=out.outline.chain,
                    problem=out.outline.problem,
                    reason=out.reason,
                )
                for out in judgement.refuted
            ),
            options=order.options,
        ),
    )
    return _Done(manifest=manifest, trajectories=len(everything), judgement=judgement)


async def _judged(
    storage: Storage, everything: Sequence[TrajectoryOutline], chosen: Filter, backend: SandboxBackend
) -> Judgement:
    def evaluators(record: RunRecord) -> AbstractAsyncContextManager[Evaluator]:
        config = config_of(record)
        return evaluator_for(
            problem_of(record),
            backend,
            slots=_slots(record),
            label=record.id,
            require=config.sandbox.require,
        )

    return await judged(storage, everything, chosen, evaluators)


def _slots(record: RunRecord) -> int:
    """Evaluations at once: as the run's, but of one from elsewhere no more than there are CPUs here.

    Else a large machine's run would be scored again on a busy one, and what is right be out for its time.
    """
    slots, here = evaluation_slots(config_of(record)), len(os.sched_getaffinity(0))
    return slots if record.arrived_at is None else min(slots, here)


def _archive(runs: Sequence[str], order: _Order, storage: str | None, as_object: bool) -> int:
    """Everything of the runs, as Parquet."""
    if order.filter != Filter() or order.options != Options():
        raise UsageError(
            "parquet is all that is stored of the runs, and nothing is chosen for it; leave out --keep, --top and the "
            "other options of what is chosen and of what rows hold"
        )
    if order.licences is not None:
        raise UsageError(
            "parquet is all that is stored of the runs, whoever wrote it: no licence is asked for; leave out --licences"
        )
    to = order.to
    with contextlib.closing(open_existing(storage)) as opened:
        ids = [record.id for record in _records(opened, runs)]
        inventory = write_archive(to, opened, ids)
    if as_object:
        print_json({"folder": str(to), "format": PARQUET, "id": inventory.id, "runs": ids})
        return 0
    count = f"{len(ids)} {_plural('run', len(ids))}"
    out.print(f"all that is stored of {count} is in {to} (archive {inventory.id})", markup=False)
    out.print(f"\n{program()} import {shlex.quote(str(to))}", style="bold", markup=False)
    return 0


# Words


def _say(done: _Done, to: Path) -> None:
    manifest = done.manifest
    train, held = manifest.rows(Split.TRAIN), manifest.rows(Split.VALIDATION)
    kept = sum(share.trajectories for share in manifest.runs)
    count = f"{train} {_plural('row', train)} to train on"
    held_words = f", {held} for validation" if held else ""
    out.print(
        f"{manifest.format}: {count}{held_words}, of {kept} of {done.trajectories} trajectories",
        markup=False,
    )
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("run", "problem", "trajectories", "steps", "rows"):
        table.add_column(column, justify="left" if column in ("run", "problem") else "right")
    for share in manifest.runs:
        table.add_row(
            Text(share.run),
            Text(printable(share.problem)),
            *map(str, (share.trajectories, share.steps, share.rows)),
        )
    print_table(table)
    for reason, number in manifest.left_out.items():
        out.print(f"left out: {number} {printable(reason)}", markup=False)
    heard = done.judgement
    out.print(
        f"scored again: {heard.evaluated} now, {heard.known} before; "
        f"{len(heard.refuted) or 'none'} did not hold",
        markup=False,
    )
    for each in manifest.refuted:
        out.print(f"out: {each.run} chain {each.chain}: {printable(each.reason)}", markup=False)
    out.print(f"{to} (export {manifest.id})", markup=False)
    out.print(f"\n{_next(manifest.format, to)}", style="bold", markup=False)


def _next(format_name: str, to: Path) -> str:
    """The command that goes on, where there is one here."""
    folder = shlex.quote(str(to))
    if format_name in TRAINS:
        return f"{program()} train {folder} --model MODEL --out TRAINING{TRAINS[format_name]}"
    return f"{folder}/README.md says how {FORMATS[format_name].library} reads it"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _list_formats(as_object: bool) -> int:
    if as_object:
        print_json([_format_json(name) for name in FORMATS])
        return 0
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("format", "for", "a row"):
        table.add_column(column)
    for each in FORMATS.values():
        table.add_row(each.name, each.library, each.about)
    table.add_row(PARQUET, "discovery import", "all that is stored of the runs, on any machine")
    print_table(table)
    return 0


def _format_json(name: str) -> dict[str, Any]:
    form = FORMATS[name]
    return {
        "format": form.name,
        "library": form.library,
        "about": form.about,
        "page": form.page,
        "fields": list(form.columns),
        "reasoning": [str(each) for each in form.reasonings],
    }

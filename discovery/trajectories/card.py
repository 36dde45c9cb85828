"""The card of an export or an archive: ``README.md``, for people and for Hugging Face's ``load_dataset``.

Source: https://huggingface.co/docs/datasets/repository_structure (configurations in the front matter).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from discovery.storage.base import RunRecord
from discovery.trajectories.formats.base import Format, data_file
from discovery.trajectories.inventory import Inventory
from discovery.trajectories.manifest import Manifest
from discovery.trajectories.records import Split

CARD = "README.md"
"""Its name in the folder."""


def card_of(manifest: Manifest, made_by: Format) -> str:
    """The card.

    Args:
        manifest: Of the export.
        made_by: Its format.
    """
    return "\n".join([*_front(manifest, made_by), "", *_body(manifest, made_by), ""])


def archive_card(inventory: Inventory, runs: Sequence[RunRecord]) -> str:
    """The card of an archive: a configuration for each table, and where they come from.

    Args:
        inventory: What it holds.
        runs: Its runs.
    """
    front = [
        "---",
        f"pretty_name: {json.dumps(f'Runs {inventory.id}')}",
        "tags:",
        "- discovery-loop",
        "configs:",
    ]
    # One without rows is no split that could be loaded.
    for name in sorted(name for name, fact in inventory.files.items() if fact.rows):
        front += [f"- config_name: {name.partition('.')[0]}", f"  data_files: {name}"]
    files = [(name, str(fact.rows), str(fact.bytes)) for name, fact in sorted(inventory.files.items())]
    rows = [(r.id, r.problem, r.problem_version[:12], str(r.status), str(r.facts.get("model"))) for r in runs]
    body = [
        f"# Runs {inventory.id}",
        "",
        "All that is stored of these runs, unfiltered, a table for each kind of record. Each one with rows is a "
        "configuration: "
        '`load_dataset(FOLDER, "candidates")`. `discovery import FOLDER` brings the runs into another storage. '
        "Nothing here was scored again, and no licence was asked for: `discovery export` of another format does both.",
        "",
        "## Where every row is from",
        "",
        *_table(("run", "problem", "version", "status", "model"), rows),
        "",
        "## Tables",
        "",
        *_table(("file", "rows", "bytes"), files),
    ]
    return "\n".join([*front, "---", "", *body, ""])


def _front(manifest: Manifest, made_by: Format) -> list[str]:
    lines = ["---", f"pretty_name: {json.dumps(f'Trajectories {manifest.id}')}", "tags:"]
    lines += ["- discovery-loop", f"- {made_by.name}", "configs:", "- config_name: default", "  data_files:"]
    for split in Split:
        if data_file(split) in manifest.files:
            lines += [f"  - split: {split}", f"    path: {data_file(split)}"]
    lines += ["dataset_info:", "  features:"]
    for column, kind in made_by.columns.items():
        lines += [f"  - name: {column}", *(f"    {line}" for line in kind.splitlines())]
    return [*lines, "---"]


def _body(manifest: Manifest, made_by: Format) -> list[str]:
    chosen = manifest.filter
    counts = ", ".join(
        f"{manifest.rows(split)} for {split}" for split in Split if data_file(split) in manifest.files
    )
    lines = [
        f"# Trajectories {manifest.id}",
        "",
        f"Rows for {made_by.library}: {made_by.about}. {counts}.",
        f"Their format is documented at {made_by.page}.",
        *(["", made_by.note] if made_by.note else []),
        "",
        "Written by `discovery export`; `manifest.json` says the same in full, with the hash of every file.",
        "",
        "## What was chosen",
        "",
        *_table(
            ("setting", "value"),
            [
                ("keep", str(chosen.keep)),
                ("top, % of each problem", f"{chosen.top_percent:g}"),
                ("cut after the first best", _yes(chosen.truncate)),
                ("only those that beat the initial candidate", _yes(chosen.improving_only)),
                (f"for validation, % by {chosen.split_by}", f"{chosen.validation_percent:g}"),
                ("seed", str(chosen.seed)),
                ("where reasoning goes", str(manifest.options.reasoning or made_by.reasonings[0])),
                *([("most worse siblings a step", str(manifest.options.pairs))] if made_by.has_pairs else []),
            ],
        ),
        "",
        "## Where every row is from",
        "",
        *_table(
            ("run", "problem", "version", "trajectories", "steps", "rows"),
            [
                (r.run, r.problem, r.problem_version[:12], str(r.trajectories), str(r.steps), str(r.rows))
                for r in manifest.runs
            ],
        ),
        "",
        "## Whose words they are",
        "",
        *_table(
            ("model", "revision", "adapter", "answers", "provider", "licence", "may be trained on"),
            [
                (
                    m.model or m.generator,
                    m.revision or "unknown",
                    m.adapter or "none",
                    str(m.answers),
                    m.provider or "unknown",
                    m.licence or "unknown",
                    "unknown" if m.trainable is None else _yes(m.trainable),
                )
                for m in manifest.models
            ],
        ),
    ]
    if manifest.left_out:
        left = [(reason, str(count)) for reason, count in manifest.left_out.items()]
        lines += ["", "## What was left out", "", *_table(("reason", "count"), left)]
    if manifest.refuted:
        out = [(r.run, str(r.chain), r.problem, r.reason) for r in manifest.refuted]
        lines += [
            "",
            "## Whose score did not hold",
            "",
            *_table(("run", "chain", "problem", "reason"), out),
        ]
    return lines


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table of Markdown; what stands in a cell cannot end it, is no markup, and does nothing to a terminal."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]


def _cell(text: str) -> str:
    plain = "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
    return "".join(f"\\{c}" if c in "\\|`*_[]<>#" else c for c in plain)

"""Exports of any rows, for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from discovery.trajectories.formats.base import Options
from discovery.trajectories.manifest import NAME, Manifest, as_json, fact_of, id_of
from discovery.trajectories.records import Filter


def write_export(folder: Path, format_name: str = "trl-sft", **files: Sequence[Mapping[str, Any]]) -> Path:
    """Write the folder of an export.

    Args:
        folder: Where to; made.
        format_name: What its manifest says.
        **files: Rows, by ``train`` and ``validation``.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    facts = {}
    for name, rows in files.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        facts[path.name] = fact_of(path, len(rows))
    manifest = Manifest(
        id=id_of(format_name, Options(), Filter(), facts),
        format=format_name,
        options=Options(),
        filter=Filter(),
        files=facts,
        left_out={},
        refuted=(),
        runs=(),
        models=(),
        package_version="0",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    (folder / NAME).write_text(json.dumps(as_json(manifest)), encoding="utf-8")
    return folder


def sft_row(number: int, weight: Any = 1.0, answer: str | None = None, **more: Any) -> dict[str, Any]:
    """One row as ``trl-sft`` has it.

    Args:
        number: Tells it from others.
        weight: Of it.
        answer: What is learned.
        **more: Further keys of the answer's message.
    """
    answer = f"def f(x): x + {number % 10}" if answer is None else answer
    return {
        "prompt": [{"role": "user", "content": f"number {number}"}],
        "completion": [{"role": "assistant", "content": answer, **more}],
        "weight": weight,
        "origin": {"run": "r", "problem": "p", "problem_version": "v", "chain": number, "step": 1},
    }

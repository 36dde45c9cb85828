"""LLaMA-Factory: ShareGPT conversations, with the entry of ``dataset_info.json`` that tells it so.

Source: https://llamafactory.readthedocs.io/en/latest/getting_started/data_preparation.html, ``data/README.md`` and
``SharegptDatasetConverter`` of its code. Its own rule: ``human`` stands at odd places and ``gpt`` at even ones, the
system message in a column of its own, ``""`` where there is none. Conversations that break it are skipped by it with a
warning, so they are left out here, and counted. It has no key for reasoning, and takes ``<think>`` in the text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from discovery.trajectories.formats.base import (
    ORIGIN,
    TEXT,
    Context,
    Format,
    Made,
    Row,
    data_file,
    nothing,
    structs,
)
from discovery.trajectories.formats.messages import answer_text
from discovery.trajectories.formats.siblings import said, unusable
from discovery.trajectories.records import Sample, Split

PAGE = "https://llamafactory.readthedocs.io/en/latest/getting_started/data_preparation.html"
INFO = "dataset_info.json"
NOT_ALTERNATING = "its prompt does not alternate between user and assistant"
_NAMES = {"user": "human", "assistant": "gpt"}


def _sft(sample: Sample, context: Context) -> Made:
    reason = unusable(sample.committed, context, is_learned=True)
    if reason is not None:
        return nothing(reason)
    messages = list(sample.prompt.messages)
    system = messages.pop(0).content if messages and messages[0].role == "system" else ""
    roles = [message.role for message in messages]
    if len(roles) % 2 == 0 or roles != [("user", "assistant")[place % 2] for place in range(len(roles))]:
        return nothing(NOT_ALTERNATING)
    turns = [{"from": _NAMES[message.role], "value": message.content} for message in messages]
    answer = {"from": "gpt", "value": answer_text(said(sample.committed), context)}
    row: Row = {"conversations": [*turns, answer], "system": system, "origin": sample.origin}
    return Made(rows=(row,))


def _info(splits: tuple[Split, ...]) -> Mapping[str, str]:
    entries = {
        f"discovery_{split}": {
            "file_name": data_file(split),
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "system": "system"},
        }
        for split in splits
    }
    return {INFO: json.dumps(entries, indent=2) + "\n"}


FORMATS = (
    Format(
        name="llamafactory",
        library="LLaMA-Factory (sharegpt)",
        about="a conversation of human and gpt, and the system message beside it",
        page=PAGE,
        columns={
            "conversations": structs(**{"from": "string", "value": "string"}),
            "system": TEXT,
            "origin": ORIGIN,
        },
        make=_sft,
        note=(
            f"`{INFO}` has the entries: give this folder as `dataset_dir`, `dataset: discovery_train`, and "
            "`eval_dataset: discovery_validation` where there is one. Only the answer is learned with "
            "`mask_history: true`, which matters for prompts of several turns."
        ),
        files=_info,
    ),
)

"""Axolotl: conversations in which each message says whether it is learned.

Source: https://docs.axolotl.ai/docs/dataset-formats/conversation.html (``chat_template``) and its configuration
reference: ``message_field_training`` names the key that says it, ``field_thinking`` and ``template_thinking_key`` (by
default both ``reasoning_content``) the keys of reasoning; for gpt-oss both are ``thinking``.
"""

from __future__ import annotations

from collections.abc import Mapping

from discovery.trajectories.formats.base import (
    MESSAGES,
    ORIGIN,
    Context,
    Format,
    Made,
    Reasoning,
    Row,
    data_file,
    nothing,
)
from discovery.trajectories.formats.messages import answer_turn, prompt_turns
from discovery.trajectories.formats.siblings import said, unusable
from discovery.trajectories.records import Sample, Split

PAGE = "https://docs.axolotl.ai/docs/dataset-formats/conversation.html"
CONFIG = "axolotl.yaml"
_KEYS = {Split.TRAIN: "datasets", Split.VALIDATION: "test_datasets"}


def _sft(sample: Sample, context: Context) -> Made:
    reason = unusable(sample.committed, context, is_learned=True)
    if reason is not None:
        return nothing(reason)
    answer = answer_turn(said(sample.committed), context)
    row: Row = {
        "messages": [
            *({**turn, "train": False} for turn in prompt_turns(sample.prompt)),
            {**answer, "train": True},
        ],
        "origin": sample.origin,
    }
    return Made(rows=(row,))


def _config(splits: tuple[Split, ...]) -> Mapping[str, str]:
    lines = ["# Put this into the configuration that `axolotl train` gets; paths are from where it runs."]
    for split in splits:
        lines += [
            f"{_KEYS[split]}:",
            f"  - path: {data_file(split)}",
            "    ds_type: json",
            "    split: train",
            "    type: chat_template",
            "    field_messages: messages",
            "    message_field_training: train",
            "    roles_to_train: []",
        ]
    return {CONFIG: "\n".join(lines) + "\n"}


FORMATS = (
    Format(
        name="axolotl",
        library="Axolotl (chat_template)",
        about="the whole conversation as messages, each with whether it is learned",
        page=PAGE,
        columns={"messages": MESSAGES, "origin": ORIGIN},
        make=_sft,
        reasonings=(Reasoning.CONTENT, Reasoning.THINKING, Reasoning.INLINE, Reasoning.OMIT),
        note=(
            f"`{CONFIG}` is its part of a configuration. With reasoning under `thinking`, as gpt-oss wants it, add "
            "`field_thinking: thinking` and `template_thinking_key: thinking` to each data set there."
        ),
        files=_config,
    ),
)

"""OpenRLHF: inputs and outputs, and preferences.

Source: https://openrlhf.readthedocs.io/en/latest/, and ``sft_dataset.py`` and ``reward_dataset.py`` of its code. Both
sides are lists of messages, which it joins and gives to the tokenizer's chat template when it is told
``--apply_chat_template``; their keys reach the template, so reasoning may have one. By default it is left out, as
nothing of OpenRLHF's own documentation speaks of it.
"""

from __future__ import annotations

from discovery.trajectories.formats.base import (
    MESSAGES,
    ORIGIN,
    TURNS,
    Context,
    Format,
    Made,
    Reasoning,
    Row,
    nothing,
)
from discovery.trajectories.formats.messages import answer_turn, prompt_turns
from discovery.trajectories.formats.siblings import pairs, said, unusable
from discovery.trajectories.records import Sample

PAGE = "https://openrlhf.readthedocs.io/en/latest/"
_REASONINGS = (Reasoning.OMIT, Reasoning.INLINE, Reasoning.THINKING, Reasoning.CONTENT)


def _sft(sample: Sample, context: Context) -> Made:
    reason = unusable(sample.committed, context, is_learned=True)
    if reason is not None:
        return nothing(reason)
    row: Row = {
        "input": prompt_turns(sample.prompt),
        "output": [answer_turn(said(sample.committed), context)],
        "origin": sample.origin,
    }
    return Made(rows=(row,))


def _preference(sample: Sample, context: Context) -> Made:
    found, left_out = pairs(sample, context)
    rows = tuple(
        {
            "prompt": prompt_turns(sample.prompt),
            "chosen": [answer_turn(pair.chosen, context)],
            "rejected": [answer_turn(pair.rejected, context)],
            "origin": sample.origin,
        }
        for pair in found
    )
    return Made(rows=rows, left_out=left_out)


FORMATS = (
    Format(
        name="openrlhf-sft",
        library="OpenRLHF train_sft",
        about="prompt and answer as messages",
        page=PAGE,
        columns={"input": TURNS, "output": MESSAGES, "origin": ORIGIN},
        make=_sft,
        reasonings=_REASONINGS,
        note="Give `--input_key input --output_key output --apply_chat_template`.",
    ),
    Format(
        name="openrlhf-preference",
        library="OpenRLHF train_dpo and train_rm",
        about="a prompt, the committed answer and a worse sibling of it",
        page=PAGE,
        columns={"prompt": TURNS, "chosen": MESSAGES, "rejected": MESSAGES, "origin": ORIGIN},
        make=_preference,
        reasonings=_REASONINGS,
        has_pairs=True,
        note="Give `--prompt_key prompt --chosen_key chosen --rejected_key rejected --apply_chat_template`.",
    ),
)

"""OpenAI's JSON lines, which others take as well: supervised and preference.

Source: https://developers.openai.com/api/docs/guides/supervised-fine-tuning and
https://developers.openai.com/api/docs/guides/direct-preference-optimization. Fields that are not documented are refused
there, so rows carry no origin: ``origin.jsonl`` has one for each, in the same order. Roles are system, developer, user
and assistant; each side of a preference is one assistant message. There is no place for reasoning.
"""

from __future__ import annotations

from discovery.trajectories.formats.base import JSON, TURNS, Context, Format, Made, Row, nothing
from discovery.trajectories.formats.messages import answer_turn, prompt_turns
from discovery.trajectories.formats.siblings import pairs, said, unusable
from discovery.trajectories.records import Sample

_SFT_PAGE = "https://developers.openai.com/api/docs/guides/supervised-fine-tuning"
_DPO_PAGE = "https://developers.openai.com/api/docs/guides/direct-preference-optimization"
_ROLES = frozenset(["system", "developer", "user", "assistant"])
UNKNOWN_ROLE = "its prompt has a message of a role that is not taken"


def _takes(sample: Sample) -> bool:
    return all(message.role in _ROLES for message in sample.prompt.messages)


def _sft(sample: Sample, context: Context) -> Made:
    reason = unusable(sample.committed, context, is_learned=True)
    if reason is not None:
        return nothing(reason)
    if not _takes(sample):
        return nothing(UNKNOWN_ROLE)
    answer = answer_turn(said(sample.committed), context)
    row: Row = {"messages": [*prompt_turns(sample.prompt), answer]}
    return Made(rows=(row,))


def _preference(sample: Sample, context: Context) -> Made:
    if not _takes(sample):
        return nothing(UNKNOWN_ROLE)
    found, left_out = pairs(sample, context)
    rows = tuple(
        {
            "input": {"messages": prompt_turns(sample.prompt)},
            "preferred_output": [answer_turn(pair.chosen, context)],
            "non_preferred_output": [answer_turn(pair.rejected, context)],
        }
        for pair in found
    )
    return Made(rows=rows, left_out=left_out)


FORMATS = (
    Format(
        name="openai-sft",
        library="OpenAI fine-tuning, and services that take its files",
        about="the whole conversation as messages",
        page=_SFT_PAGE,
        columns={"messages": TURNS},
        make=_sft,
        origin=None,
    ),
    Format(
        name="openai-preference",
        library="OpenAI direct preference optimization, and services that take its files",
        about="a prompt, the committed answer and a worse sibling of it",
        page=_DPO_PAGE,
        columns={"input": JSON, "preferred_output": TURNS, "non_preferred_output": TURNS},
        make=_preference,
        has_pairs=True,
        origin=None,
    ),
)

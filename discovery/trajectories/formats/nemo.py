"""NeMo-RL: inputs and outputs, and ranked completions.

Source: https://docs.nvidia.com/nemo/rl/latest/guides/sft.html (``ResponseDataset``: ``input``, ``output``) and
https://docs.nvidia.com/nemo/rl/latest/guides/dpo.html (``PreferenceDataset``: ``context``, ``completions``; the lower
rank is preferred, and there must be two).

``input`` is one text, which it makes a user message. A system message stands before the user's there, with an empty
line between; prompts of further messages are left out. Its ``openai_format`` data set keeps the roles, and reads
``openai-sft``.
"""

from __future__ import annotations

from discovery.trajectories.formats.base import (
    MESSAGES,
    ORIGIN,
    TEXT,
    TURNS,
    Context,
    Format,
    Made,
    Reasoning,
    Row,
    nothing,
)
from discovery.trajectories.formats.messages import (
    NOT_ONE_QUESTION,
    answer_text,
    answer_turn,
    prompt_turns,
    question,
)
from discovery.trajectories.formats.siblings import pairs, said, unusable
from discovery.trajectories.records import Sample

_SFT_PAGE = "https://docs.nvidia.com/nemo/rl/latest/guides/sft.html"
_DPO_PAGE = "https://docs.nvidia.com/nemo/rl/latest/guides/dpo.html"


def _sft(sample: Sample, context: Context) -> Made:
    reason = unusable(sample.committed, context, is_learned=True)
    if reason is not None:
        return nothing(reason)
    asked = question(sample.prompt)
    if asked is None:
        return nothing(NOT_ONE_QUESTION)
    row: Row = {
        "input": asked.user if asked.system is None else f"{asked.system}\n\n{asked.user}",
        "output": answer_text(said(sample.committed), context),
        "origin": sample.origin,
    }
    return Made(rows=(row,))


def _preference(sample: Sample, context: Context) -> Made:
    found, left_out = pairs(sample, context)
    rows = tuple(
        {
            "context": prompt_turns(sample.prompt),
            "completions": [
                {"rank": rank, "completion": [answer_turn(answer, context)]}
                for rank, answer in enumerate((pair.chosen, pair.rejected))
            ],
            "origin": sample.origin,
        }
        for pair in found
    )
    return Made(rows=rows, left_out=left_out)


FORMATS = (
    Format(
        name="nemo-sft",
        library="NeMo-RL (ResponseDataset)",
        about="the prompt as one text, and the answer",
        page=_SFT_PAGE,
        columns={"input": TEXT, "output": TEXT, "origin": ORIGIN},
        make=_sft,
    ),
    Format(
        name="nemo-preference",
        library="NeMo-RL (PreferenceDataset)",
        about="a prompt, the committed answer at rank 0 and a worse sibling of it at rank 1",
        page=_DPO_PAGE,
        columns={"context": TURNS, "completions": MESSAGES, "origin": ORIGIN},
        make=_preference,
        reasonings=(Reasoning.OMIT, Reasoning.INLINE, Reasoning.THINKING, Reasoning.CONTENT),
        has_pairs=True,
    ),
)

"""TRL: supervised, preference, unpaired preference, online and reward-model rows.

Source: https://huggingface.co/docs/trl/dataset_formats and the code of TRL 1.16. All are conversational: TRL applies
the model's chat template, so an answer's reasoning is a key of its message. That of gpt-oss is ``thinking``; its
template drops ``reasoning_content`` without a word, fails on ``thinking: null``, and writes an empty analysis for
``""``. (Transformers 5.23 saves it from the first two: it gives a template each key under the other's name, and takes
nulls out.) So the key is left out where no reasoning is known. Where a request set ``reasoning_effort``,
``chat_template_kwargs`` say so; they are empty elsewhere, never null, which TRL fails on.

A record of several turns would lose all reasoning but the last one's in that template: there is one row for each step.

TRL leaves columns aside that it does not know, so rows carry ``origin`` and ``weight``, and the rewards of
:mod:`discovery.trajectories.rewards` by name, null where one is not defined. It has no weight of a row; ``discovery
train`` does.
"""

from __future__ import annotations

from collections.abc import Mapping

from discovery.records import Completion, Json
from discovery.trajectories.formats.base import (
    JSON,
    MESSAGES,
    NUMBER,
    ORIGIN,
    TEXT,
    TEXTS,
    TRUTH,
    TURNS,
    Context,
    Format,
    Made,
    Reasoning,
    Row,
    nothing,
)
from discovery.trajectories.formats.messages import answer_turn, prompt_turns
from discovery.trajectories.formats.siblings import pairs, said, siblings, unusable
from discovery.trajectories.records import Attempt, Sample, Split

PAGE = "https://huggingface.co/docs/trl/dataset_formats"
KEYED = (Reasoning.THINKING, Reasoning.CONTENT, Reasoning.INLINE, Reasoning.OMIT)
REWARD = "reward.py"
_REWARD = '''\
"""The reward of GRPO and RLOO: a problem's own scorer, in sandboxes. Give `reward_func` to the trainer."""

from discovery.training.reward import rewards


def reward_func(prompts, completions, **columns) -> list[float | None]:
    return rewards(prompts, completions, **columns)
'''


def _kwargs(answer: Completion) -> dict[str, Json]:
    """What the chat template was told when the prompt was sent, as far as it is known."""
    effort = answer.sampling.get("reasoning_effort")
    return {"reasoning_effort": effort} if effort is not None else {}


def _rewards(sample: Sample, attempt: Attempt) -> dict[str, Json]:
    """The rewards of one attempt by name; null for one that is not defined for it."""
    place = sample.attempts.index(attempt)
    return {name: values[place] for name, values in sample.rewards.items()}


def _sft(sample: Sample, context: Context) -> Made:
    committed = sample.committed
    reason = unusable(committed, context, is_learned=True)
    if reason is not None:
        return nothing(reason)
    row: Row = {
        "prompt": prompt_turns(sample.prompt),
        "completion": [answer_turn(said(committed), context)],
        "chat_template_kwargs": _kwargs(said(committed)),
        "weight": sample.weight,
        "rewards": _rewards(sample, committed),
        "origin": sample.origin,
    }
    return Made(rows=(row,))


def _messages(sample: Sample, context: Context) -> Made:
    made = _sft(sample, context)
    rows = ({"messages": row.pop("prompt") + row.pop("completion"), **row} for row in made.rows)
    return Made(rows=tuple(rows), left_out=made.left_out)


def _dpo(sample: Sample, context: Context) -> Made:
    found, left_out = pairs(sample, context)
    rows = tuple(
        {
            "prompt": prompt_turns(sample.prompt),
            "chosen": [answer_turn(pair.chosen, context)],
            "rejected": [answer_turn(pair.rejected, context)],
            "chat_template_kwargs": _kwargs(pair.chosen),
            "origin": sample.origin,
        }
        for pair in found
    )
    return Made(rows=rows, left_out=left_out)


def _reward(sample: Sample, context: Context) -> Made:
    made = _dpo(sample, context)
    rows = []
    for row in made.rows:
        prompt = row.pop("prompt")
        rows.append(row | {"chosen": prompt + row["chosen"], "rejected": prompt + row["rejected"]})
    return Made(rows=tuple(rows), left_out=made.left_out)


def _kto(sample: Sample, context: Context) -> Made:
    found = siblings(sample, context)
    attempts = (found.chosen, *found.worse) if found.chosen is not None else ()
    rows = tuple(
        {
            "prompt": prompt_turns(sample.prompt),
            "completion": [answer_turn(said(attempt), context)],
            "label": attempt is found.chosen,
            "chat_template_kwargs": _kwargs(said(attempt)),
            "rewards": _rewards(sample, attempt),
            "origin": sample.origin,
        }
        for attempt in attempts
    )
    return Made(rows=rows, left_out=found.left_out)


def _online(sample: Sample, context: Context) -> Made:
    problem = sample.trajectory.problem
    row: Row = {
        "prompt": prompt_turns(sample.prompt),
        "problem": problem,
        "problem_path": context.problems.get(sample.trajectory.run, problem),
        "parents": [str(key) for key in sample.prompt.parents],
        "main": sample.main or "",
        "origin": sample.origin,
    }
    return Made(rows=(row,))


def reward_file(_: tuple[Split, ...]) -> Mapping[str, str]:
    """The reward function, for the trainers of :data:`REWARD`."""
    return {REWARD: _REWARD}


_SFT = {
    "chat_template_kwargs": JSON,
    "weight": NUMBER,
    "rewards": JSON,
    "origin": ORIGIN,
}
_PAIR = {
    "chosen": MESSAGES,
    "rejected": MESSAGES,
    "chat_template_kwargs": JSON,
    "origin": ORIGIN,
}
_ONLINE = {
    "prompt": TURNS,
    "problem": TEXT,
    "problem_path": TEXT,
    "parents": TEXTS,
    "main": TEXT,
    "origin": ORIGIN,
}
_ONLINE_NOTE = (
    "`reward.py` holds `reward_func`, which scores completions with the problem's own scorer in sandboxes of this "
    "machine; `problem_path` names the problem as `discovery run` does: bundled ones by name, others by their path "
    "here. `main` is the program that completions are edits of, empty where they are whole programs."
)

FORMATS = (
    Format(
        name="trl-sft",
        library="TRL SFTTrainer and discovery train",
        about="prompt and completion as messages, and a weight; the loss is on the completion only",
        page=PAGE,
        columns={"prompt": TURNS, "completion": MESSAGES, **_SFT},
        make=_sft,
        reasonings=KEYED,
    ),
    Format(
        name="trl-messages",
        library="TRL SFTTrainer",
        about="the whole conversation as messages",
        page=PAGE,
        columns={"messages": MESSAGES, **_SFT},
        make=_messages,
        reasonings=KEYED,
        note="Give `SFTConfig(assistant_only_loss=True)`, or the prompt is learned too; `trl-sft` needs no such care.",
    ),
    Format(
        name="trl-dpo",
        library="TRL DPOTrainer and discovery train",
        about="a prompt, the committed answer and a worse sibling of it",
        page=PAGE,
        columns={"prompt": TURNS, **_PAIR},
        make=_dpo,
        reasonings=KEYED,
        has_pairs=True,
    ),
    Format(
        name="trl-kto",
        library="TRL KTOTrainer",
        about="a prompt, an answer, and whether it is wanted: the committed one is, worse siblings are not",
        page=PAGE,
        columns={
            "prompt": TURNS,
            "completion": MESSAGES,
            "label": TRUTH,
            "chat_template_kwargs": JSON,
            "rewards": JSON,
            "origin": ORIGIN,
        },
        make=_kto,
        reasonings=KEYED,
        has_pairs=True,
    ),
    *(
        Format(
            name=name,
            library=library,
            about="a prompt, and what the reward function needs",
            page=PAGE,
            columns=_ONLINE,
            make=_online,
            reasonings=(Reasoning.OMIT,),
            note=_ONLINE_NOTE,
            files=reward_file,
        )
        for name, library in (
            ("trl-grpo", "TRL GRPOTrainer and discovery train"),
            ("trl-rloo", "TRL RLOOTrainer"),
        )
    ),
    Format(
        name="trl-reward",
        library="TRL RewardTrainer",
        about="the conversation with the committed answer, and with a worse sibling of it",
        page=PAGE,
        columns=_PAIR,
        make=_reward,
        reasonings=KEYED,
        has_pairs=True,
    ),
)

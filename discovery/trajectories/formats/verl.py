"""verl: prompts for its reinforcement learning, and conversations for its supervised fine-tuning.

Source: https://verl.readthedocs.io/en/latest/preparation/prepare_data.html, and ``RLHFDataset`` and
``MultiTurnSFTDataset`` of its code. Both read Parquet only, by ``datasets`` and by pandas. Parquet has one structure
for all messages, so these hold role and content and nothing else; where the reasoning is wanted, it goes inline.

An export is JSON lines, whatever the library, so that a hash says the same everywhere: the card has the line that turns
it into Parquet, with the types that verl expects.
"""

from __future__ import annotations

from collections.abc import Mapping

from discovery.trajectories.formats.base import (
    ORIGIN,
    TEXT,
    TURNS,
    Context,
    Format,
    Made,
    Reasoning,
    Row,
    nothing,
    struct,
)
from discovery.trajectories.formats.messages import answer_turn, prompt_turns
from discovery.trajectories.formats.siblings import said, unusable
from discovery.trajectories.records import Sample, Split

PAGE = "https://verl.readthedocs.io/en/latest/preparation/prepare_data.html"
_PARQUET = """\
verl reads Parquet. In this folder:

```
python -c "import os, datasets
for split, rows in datasets.load_dataset(os.getcwd()).items(): rows.to_parquet(split + '.parquet')"
```
"""
_REWARD = '''\
"""The reward of verl's reward manager `batch`: a problem's own scorer, in sandboxes.

verl has no reward that is unknown. Where nothing of a group has a score, all of it gets 0: the same for all, which a
method that compares within groups (GRPO, RLOO and kin) takes for no signal. Use it with no other method.
"""

from discovery.training.reward import rewards


def compute_score(data_sources, solution_strs, ground_truths, extra_infos, **_) -> list[float]:
    mains = [info.get("main") for info in extra_infos]
    found = rewards(list(extra_infos), list(solution_strs), problem_path=list(ground_truths), main=mains)
    return [0.0 if reward is None else reward for reward in found]
'''


def _online(sample: Sample, context: Context) -> Made:
    trajectory = sample.trajectory
    row: Row = {
        "data_source": trajectory.problem,
        "prompt": prompt_turns(sample.prompt),
        "ability": "program",
        "reward_model": {
            "style": "rule",
            "ground_truth": context.problems.get(trajectory.run, trajectory.problem),
        },
        "extra_info": {"split": str(sample.split), **sample.origin, "main": sample.main or ""},
    }
    return Made(rows=(row,))


def _sft(sample: Sample, context: Context) -> Made:
    reason = unusable(sample.committed, context, is_learned=True)
    if reason is not None:
        return nothing(reason)
    answer = answer_turn(said(sample.committed), context)
    row: Row = {"messages": [*prompt_turns(sample.prompt), answer], "origin": sample.origin}
    return Made(rows=(row,))


def _reward_file(_: tuple[Split, ...]) -> Mapping[str, str]:
    return {"reward.py": _REWARD}


FORMATS = (
    Format(
        name="verl",
        library="verl (GRPO, RLOO and kin)",
        about="a prompt, and what the reward function needs; `extra_info` says where it is from",
        page=PAGE,
        columns={
            "data_source": TEXT,
            "prompt": TURNS,
            "ability": TEXT,
            "reward_model": struct(style="string", ground_truth="string"),
            "extra_info": struct(
                split="string",
                run="string",
                problem="string",
                problem_version="string",
                chain="int64",
                step="int64",
                main="string",
            ),
        },
        make=_online,
        reasonings=(Reasoning.OMIT,),
        origin="extra_info",
        note=(
            f"{_PARQUET}\n`reward.py` scores with the problem's own scorer in sandboxes of this machine, a group at a "
            "time: `reward_model.reward_manager=batch custom_reward_function.path=reward.py "
            "custom_reward_function.name=compute_score`."
        ),
        files=_reward_file,
    ),
    Format(
        name="verl-sft",
        library="verl (supervised)",
        about="the whole conversation as messages",
        page=PAGE,
        columns={"messages": TURNS, "origin": ORIGIN},
        make=_sft,
        note=f"{_PARQUET}\nThe multi-turn data set of verl reads `messages`.",
    ),
)

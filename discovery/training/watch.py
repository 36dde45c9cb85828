"""What happens at each step of a training, whatever its method: told, logged, validated, kept, ended.

One object that a Trainer of transformers calls back. It decides from the trainer's own history only, which is part of
each checkpoint, so that a resumed training decides as one that was never interrupted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.errors import TrainingFailed
from discovery.training.config import TrainConfig
from discovery.training.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a validation says.

    Args:
        key: As the trainer names it.
        grows: Whether more is better.
    """

    key: str = "eval_loss"
    grows: bool = False

    def better(self, a: float, b: float | None) -> bool:
        """Whether ``a`` is strictly better than ``b``; anything is better than none."""
        return b is None or (a > b if self.grows else a < b)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is told of one optimiser step.

    Args:
        step: Its number.
        steps: How many there will be at most.
        loss: Training loss; None where none was logged.
        validation: What a validation after it said; None where there was none.
        reward: Mean reward of the step's completions; None where there are none.
        rows_per_s: Rows in a second since the start; None at first.
        tokens_per_s: Tokens in a second since the start; None where they are not counted.
        left_s: Seconds that the rest will take at most; None at first.
    """

    step: int
    steps: int
    loss: float | None
    validation: float | None
    reward: float | None
    rows_per_s: float | None
    tokens_per_s: float | None
    left_s: float | None


Tell = Callable[[Line], None]


class Watch:
    """Called back by a trainer.

    Args:
        place: Where checkpoints, the log and the best weights are.
        config: What ends it early.
        save: Writes the weights as they are now to a folder.
        tell: Gets a line for each step.
        measure: What a validation says.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        place: Place,
        config: TrainConfig,
        save: Callable[[Path], None],
        tell: Tell,
        *,
        measure: Measure | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tokens = self.rows = 0
        self._place, self._config, self._save, self._tell = place, config, save, tell
        self.measure = measure or Measure()
        self._clock = clock
        self._began: tuple[float, int] | None = None

    # What a Trainer calls: see transformers.TrainerCallback. Other events are of no interest.

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):
            return _nothing
        raise AttributeError(name)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Begin to measure time."""
        self._began = (self._clock(), state.global_step)
        return control

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Validate and save after the last step, whatever its number."""
        if state.global_step >= state.max_steps:
            if args.eval_strategy == "no":
                self._place.keep_best(state.global_step, self._save)
            else:
                control.should_evaluate = True
        return control

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> Any:
        """Tell a step; refuse to go on with a loss or a gradient that is no number: the weights are none either."""
        for key, what in (("loss", "loss"), ("grad_norm", "gradient's norm")):
            if logs and key in logs and _number(logs[key]) is None:
                raise TrainingFailed(
                    f"the {what} of step {state.global_step} is {logs[key]}: training diverged; "
                    "lower --learning-rate, or clip_norm in the configuration"
                )
        if logs and ("loss" in logs or self.measure.key in logs):
            self._say(state, logs)
        return control

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Keep the weights where they are the best so far, and end where it has not become better for long enough."""
        if state.global_step == 0:
            return control
        values = validations(state.log_history, self.measure)
        if best_of(values, self.measure) == state.global_step:
            self._place.keep_best(state.global_step, self._save)
        if is_enough(values, self.measure, self._config.patience):
            control.should_training_stop = control.should_save = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Let a checkpoint count."""
        self._place.mark_whole(state.global_step)
        return control

    def _say(self, state: Any, logs: Mapping[str, Any]) -> None:
        rate = tokens = left = None
        if self._began is not None:
            seconds, steps = self._clock() - self._began[0], state.global_step - self._began[1]
            if steps and seconds > 0:
                rate = (
                    self.rows or steps * self._config.batch_rows
                ) / seconds  # the last step of an epoch has fewer
                tokens = self.tokens / seconds if self.tokens else None
                left = (state.max_steps - state.global_step) * seconds / steps
        line = Line(
            step=state.global_step,
            steps=state.max_steps,
            loss=_number(logs.get("loss")),
            validation=_number(logs.get(self.measure.key)),
            reward=_number(logs.get("reward")),
            rows_per_s=rate,
            tokens_per_s=tokens,
            left_s=left,
        )
        numbers = {name: value for name, value in logs.items() if _number(value) is not None}
        self.log({"step": line.step, **numbers, "rows_per_s": rate, "tokens_per_s": tokens})
        self._tell(line)

    def log(self, line: Mapping[str, Any]) -> None:
        """Append one line to the log."""
        with self._place.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")


def validations(history: list[dict[str, Any]], measure: Measure) -> dict[int, float]:
    """What validations said, by step; without those that were no number."""
    found = {line["step"]: _number(line[measure.key]) for line in history if measure.key in line}
    return {step: value for step, value in found.items() if value is not None}


def best_of(values: Mapping[int, float], measure: Measure) -> int | None:
    """The first step with the best value; None where there is none."""
    best: int | None = None
    for step, value in sorted(values.items()):
        if measure.better(value, None if best is None else values[best]):
            best = step
    return best


def is_enough(values: Mapping[int, float], measure: Measure, patience: int) -> bool:
    """Whether the last ``patience`` validations were all no better than one before; never where that is 0."""
    best = best_of(values, measure)
    return best is not None and 0 < patience <= sum(step > best for step in values)


def _number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < float("inf") else None


def _nothing(args: Any, state: Any, control: Any, **_: Any) -> Any:
    return control

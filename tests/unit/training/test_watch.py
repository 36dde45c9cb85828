import json
from types import SimpleNamespace

import pytest

from discovery.errors import TrainingFailed
from discovery.training.config import TrainConfig
from discovery.training.place import Place
from discovery.training.watch import Measure, Watch, best_of, is_enough, validations

LOSS, REWARD = Measure(), Measure(key="eval_reward", grows=True)


@pytest.mark.parametrize(
    ("values", "measure", "best"),
    [
        ({}, LOSS, None),
        ({1: 3.0, 2: 1.0, 3: 2.0}, LOSS, 2),
        ({1: 3.0, 2: 1.0, 3: 1.0}, LOSS, 2),
        ({1: 3.0, 2: 1.0, 3: 2.0}, REWARD, 1),
    ],
)
def test_the_first_of_the_best_is_the_best(values, measure, best):
    assert best_of(values, measure) == best


@pytest.mark.parametrize(
    ("values", "patience", "enough"),
    [
        ({1: 1.0, 2: 2.0}, 2, False),
        ({1: 1.0, 2: 2.0, 3: 1.0}, 2, True),
        ({1: 1.0, 2: 2.0, 3: 0.5}, 2, False),
        ({1: 1.0, 2: 2.0, 3: 2.0, 4: 2.0}, 0, False),
        ({}, 1, False),
    ],
)
def test_it_ends_after_so_many_validations_without_improvement(values, patience, enough):
    assert is_enough(values, LOSS, patience) is enough


def test_a_validation_that_is_no_number_is_none():
    history = [
        {"step": 1, "eval_loss": float("nan")},
        {"step": 2, "eval_loss": 2.0},
        {"step": 2, "loss": 1.0},
    ]
    assert validations(history, LOSS) == {2: 2.0}


@pytest.fixture
def watched(tmp_path):
    """A watch whose clock shows what a test says."""
    told, now = [], SimpleNamespace(value=0.0)
    place = Place(tmp_path / "out")
    with place.held():
        watch = Watch(place, TrainConfig(batch_rows=8), lambda _: None, told.append, clock=lambda: now.value)
        yield watch, told, now, place


def test_rates_and_the_time_left_are_of_this_process(watched):
    watch, told, now, place = watched
    control = SimpleNamespace()
    watch.on_train_begin(None, SimpleNamespace(global_step=10, max_steps=20), control)
    now.value, watch.tokens = 4.0, 2000
    watch.on_log(None, SimpleNamespace(global_step=12, max_steps=20), control, {"loss": 0.5, "odd": "text"})
    [line] = told
    assert (line.step, line.steps, line.loss, line.validation) == (12, 20, 0.5, None)
    assert (line.rows_per_s, line.tokens_per_s, line.left_s) == (4.0, 500.0, 16.0)
    assert json.loads(place.log.read_text()) == {
        "step": 12,
        "loss": 0.5,
        "rows_per_s": 4.0,
        "tokens_per_s": 500.0,
    }


def test_rows_are_those_that_there_were_where_they_are_counted(watched):
    """The last step of an epoch may have fewer than batch_rows."""
    watch, told, now, _ = watched
    watch.on_train_begin(None, SimpleNamespace(global_step=0, max_steps=1), None)
    now.value, watch.rows = 4.0, 2
    watch.on_log(None, SimpleNamespace(global_step=1, max_steps=1), None, {"loss": 0.5})
    assert told[0].rows_per_s == 0.5


def test_what_is_no_step_is_not_told(watched):
    watch, told, _, place = watched
    watch.on_log(None, SimpleNamespace(global_step=1, max_steps=2), None, {"train_runtime": 1.0})
    assert told == []
    assert not place.log.exists()


def test_a_loss_that_is_no_number_ends_it(watched):
    watch, told, _, _ = watched
    with pytest.raises(TrainingFailed, match="the loss of step 3 is inf"):
        watch.on_log(None, SimpleNamespace(global_step=3, max_steps=9), None, {"loss": float("inf")})
    assert told == []


def test_a_gradient_that_is_no_number_ends_it_even_where_the_loss_is_one(watched):
    """Its step has made all weights NaN, and the last step has no loss after it that would tell."""
    watch, told, _, _ = watched
    state = SimpleNamespace(global_step=9, max_steps=9)
    with pytest.raises(TrainingFailed, match="the gradient's norm of step 9 is nan"):
        watch.on_log(None, state, None, {"loss": 1.0, "grad_norm": float("nan")})
    assert told == []


def test_other_events_change_nothing(watched):
    control = SimpleNamespace(should_save=False)
    assert watched[0].on_epoch_begin(None, None, control, model=1) is control
    with pytest.raises(AttributeError, match="nonsense"):
        watched[0].nonsense  # noqa: B018

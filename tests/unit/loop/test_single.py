"""One round for itself: an export and a training, killed between any two acts and gone on with."""

from collections import Counter

import pytest

from discovery.errors import ConfigError, UsageError
from discovery.loop.single import SingleRound
from discovery.training.config import TrainConfig
from discovery.trajectories.records import Filter, Keep
from tests.unit.loop.conftest import ActingFolder, FakeExporter, FakeTrainer, Killed, World


def single(world, model, runs=("a", "b")):
    folder = ActingFolder(world.place / "out", world)
    return SingleRound(folder, runs, model, Filter(keep=Keep.ALL), TrainConfig(epochs=2, seed=4))


async def go(world, model, **options):
    return await single(world, model, **options).execute(FakeExporter(world), FakeTrainer(world))


async def test_killed_between_any_two_acts_it_goes_on_and_trains_once(tmp_path, model):
    (tmp_path / "whole").mkdir()
    world = World(tmp_path / "whole")
    weights = await go(world, model)
    assert weights == world.place / "out" / "revisions" / "1"
    (choice,), (training,) = world.exported, world.trained
    assert (choice.revisions, choice.filter.keep) == ((("a", "b"),), Keep.ALL)
    assert (training.base, training.config.seed) == (model, 4)
    assert await go(world, model) == weights
    assert len(world.trained) == 1
    for kill_at in range(len(world.acts)):
        place = tmp_path / str(kill_at)
        place.mkdir()
        killed = World(place)
        killed.kill_at = kill_at
        with pytest.raises(Killed):
            await go(killed, model)
        await go(killed, model)
        steps = Counter(what for what in killed.acts if what.startswith("checkpoints/"))
        assert (sorted(steps), set(steps.values())) == ([f"checkpoints/1 {n}" for n in (1, 2, 3)], {1})


async def test_a_folder_of_something_else_is_refused(tmp_path, model):
    world = World(tmp_path)
    await go(world, model)
    with pytest.raises(ConfigError, match="is of other runs"):
        await go(world, model, runs=("c",))
    with pytest.raises(ConfigError, match="is of other weights"):
        await go(world, tmp_path / "another")


async def test_nothing_to_learn_from_is_said(tmp_path, model):
    world = World(tmp_path)
    world.rows = 0
    with pytest.raises(ConfigError, match="nothing of these runs is worth training on"):
        await go(world, model)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="name another folder"):
        await go(World(tmp_path / "file"), model)

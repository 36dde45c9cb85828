"""Which of the weights in the folder of a training count, whenever it is killed."""

import pytest

from discovery.training.place import Place


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path / "out")
    with found.held():
        yield found


def keep(place, step):
    def save(folder):
        folder.mkdir()
        (folder / "model").write_text(f"of {step}")

    place.keep_best(step, save)


def whole(place, step):
    (place.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
    place.mark_whole(step)


def kept(place):
    return sorted(path.name for path in place.folder.glob("best-*"))


def test_the_best_of_the_last_checkpoint_come_back_where_a_better_one_was_not_checkpointed(place):
    """What comes again may be otherwise on a GPU, or with answers drawn anew, and then these are the best."""
    keep(place, 2)
    whole(place, 4)
    keep(place, 6)  # and then it is killed
    place.rewind(place.last_checkpoint()[1])
    assert place.best() == (place.folder / "best-2", 2)


def test_what_is_kept_anew_after_a_kill_is_what_was_validated_anew(place):
    whole(place, 4)
    keep(place, 6)
    (place.folder / "best-6" / "model").write_text("of a process that is no more")
    place.rewind(4)
    keep(place, 6)
    assert (place.folder / "best-6" / "model").read_text() == "of 6"


def test_no_more_are_kept_than_are_needed(place):
    keep(place, 2)
    whole(place, 4)
    for step in (6, 8, 10):
        keep(place, step)
        assert kept(place) == sorted(["best-2", f"best-{step}"])
    whole(place, 12)
    assert kept(place) == ["best-10"]
    keep(place, 14)
    place.rewind(-1)
    assert place.best() is None

"""A rung that waits for chains of another process: storage is looked at, and that is said."""

import asyncio

from discovery.barrier import Barrier
from discovery.past import Course
from discovery.progress import Progress
from discovery.records import Direction
from discovery.rungs import Rungs
from discovery.testing.selector import committed_step


def steps_of(chain, scores):
    return [committed_step(chain, number, (), [score]) for number, score in enumerate(scores)]


class Elsewhere:
    """Chain 0 is ours; chain 1 is another process's, and only storage tells of it."""

    def __init__(self):
        self.stored, self.told, self.why = [], [], None
        self.progress = Progress(Direction.MAXIMIZE, 40, 2)
        self.rungs = Rungs((2,), 0.5, Direction.MAXIMIZE, total=40, spent=[0, 0])
        self.barrier = Barrier(
            self.rungs,
            self.progress,
            held=lambda: [0],
            look=lambda chain: self.stored,
            course=self.course,
            ends=lambda: self.why,
            notice=self.notice,
            look_s=0.01,
        )

    async def notice(self, reason):
        self.told.append(reason)

    @staticmethod
    def course():
        return Course(Direction.MAXIMIZE, 0, None)

    def come(self, scores):
        course = self.course()
        for step in steps_of(0, scores):
            course.take_in(step)
            self.barrier.observe(0, course)


async def test_a_chain_of_another_process_is_looked_for_in_storage():
    place = Elsewhere()
    place.come([0.0, 5.0, 1.0])
    waiting = asyncio.create_task(place.barrier.wait(0))
    await asyncio.sleep(0.05)
    assert place.progress.chains[0].waits_at == 1
    assert place.told[-1] == "rung 1 waits for chains that another process runs: 1"
    place.stored = steps_of(1, [0.0, 4.0])
    await asyncio.sleep(0.05)
    assert not waiting.done()
    place.stored = steps_of(1, [0.0, 4.0, 4.5])
    assert await waiting is None
    assert place.told[-1] is None
    assert place.barrier.share(0) == 38
    assert place.progress.chains[1].end == "pruned at rung 1 of 1"


async def test_while_it_waits_for_them_the_budget_may_end_it():
    place = Elsewhere()
    place.come([0.0, 5.0, 1.0])
    place.why = "60 seconds spent"
    assert await place.barrier.wait(0) == "60 seconds spent"


async def test_what_they_have_in_storage_counts_from_the_start():
    place = Elsewhere()
    place.stored = steps_of(1, [0.0, 9.0, 1.0, 2.0])
    place.come([0.0, 5.0, 1.0])
    place.barrier.look_at_others()
    assert await place.barrier.wait(0) == "pruned at rung 1 of 1"
    assert place.rungs.share(1) == 38

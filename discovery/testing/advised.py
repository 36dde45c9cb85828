"""The contract of ``AdvisedSelector`` as tests, beside that of every selector: answers scripted, garbage and hostile.

Needs pytest. Give the fixture ``selector_factory`` of :mod:`discovery.testing.selector`. Then::

    class TestMySelector(AdvisedSelectorContract):
        pass
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from discovery.records import CandidateKey, CommittedStep, Direction
from discovery.selection.base import AdvisedSelector, Selection, Shortlist
from discovery.testing.selector import committed_step

AdvisedFactory = Callable[[Direction], AdvisedSelector]
Answerer = Callable[[int, Shortlist], str | None]


def _every(number: int, shortlist: Shortlist) -> str:
    """A proper answer: two of those shown, which ones changes from step to step."""
    shown = len(shortlist.candidates)
    return f"Because.\nANSWER: {number % shown + 1}, {(number + 1) % shown + 1}"


ANSWERS: dict[str, Answerer] = {
    "proper": _every,
    "none": lambda number, shortlist: None,
    "empty": lambda number, shortlist: "",
    "garbage": lambda number, shortlist: "I cannot rank 3 programs, sorry. 0.1.0 is best; ANSWER none",
    "unknown": lambda number, shortlist: "ANSWER: 0, 99, -1, 4.5, 1e9, 123456789012345678901234567890",
    "duplicates": lambda number, shortlist: "answer = [2, 2, 2, 2, 2, 2]",
    "reversed": lambda number, shortlist: (
        "ANSWER: " + ", ".join(str(n) for n in range(len(shortlist.candidates), 0, -1))
    ),
    "wordy": lambda number, shortlist: "**ANSWER:** programs #2 and #1, for 100 reasons\n" + "x" * 100_000,
    "hostile": lambda number, shortlist: "ANSWER: \x00\ud800 {{}} ; DROP TABLE steps; -- 2 \u0663 \u00b2",
}
"""What a model may say, by how it goes wrong."""


def advised(
    selector: AdvisedSelector,
    answers: Answerer,
    *,
    seed: int,
    steps: int = 30,
    direction: Direction = Direction.MAXIMIZE,
    lag: int = 0,
) -> Iterator[tuple[Shortlist | None, str | None, Selection, CommittedStep]]:
    """Run one chain whose selector is answered.

    Args:
        selector: Chooses and observes.
        answers: What the model says, by step and shortlist.
        seed: Of everything drawn.
        steps: Steps after the initial one.
        direction: The selector's.
        lag: Steps that are held back from it, as with overlap.

    Yields:
        What was asked, the answer, the choice, and the step that came of it.
    """
    rng = np.random.default_rng(seed)
    taken = [committed_step(0, 0, (), [direction.key(float(rng.normal()))], direction)]
    selector.observe(taken[0])
    seen = 0
    for number in range(1, steps + 1):
        while seen < number - 1 - lag:
            seen += 1
            selector.observe(taken[seen])
        count = int(rng.integers(1, 5))
        shortlist = selector.shortlist(0, count, np.random.default_rng([seed, number]))
        answer = None if shortlist is None else answers(number, shortlist)
        if shortlist is None:
            selection = selector.choose(0, count, np.random.default_rng([seed, number]))
        else:
            selection = selector.decide(0, count, shortlist, answer, np.random.default_rng([seed, number]))
            selector.heed(0, answer)
        scores = [
            direction.key(float(rng.normal())) if rng.random() < 0.7 else None
            for _ in range(int(rng.integers(1, 4)))
        ]
        taken.append(committed_step(0, number, selection.parents, scores, direction))
        yield shortlist, answer, selection, taken[-1]


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS.keys())
class AdvisedSelectorContract:
    """Every promise beyond those of a selector, whatever the model says."""

    def test_what_is_asked_and_chosen_exists(
        self, selector_factory: AdvisedFactory, answers: Answerer
    ) -> None:
        """Distinct scored candidates of the chain, at least one and at most as many as asked for."""
        there: set[CandidateKey] = set()
        for shortlist, _, selection, step in advised(selector_factory(Direction.MAXIMIZE), answers, seed=1):
            if step.step == 1:
                there.update(selection.parents)
            asked = shortlist.candidates if shortlist else selection.parents
            for keys in (asked, selection.parents):
                assert len(set(keys)) == len(keys) >= 1
                assert set(keys) <= there
            if shortlist is not None:
                assert len(shortlist.candidates) >= 2
            assert len(selection.parents) <= 4
            there.update([step.committed] if step.committed else [])

    def test_deciding_changes_nothing(self, selector_factory: AdvisedFactory, answers: Answerer) -> None:
        """The same question and answer give the same choice; asking again asks the same."""
        selector = selector_factory(Direction.MAXIMIZE)
        for number, _ in enumerate(advised(selector, answers, seed=2), start=1):
            shortlist = selector.shortlist(0, 3, np.random.default_rng(number))
            assert selector.shortlist(0, 3, np.random.default_rng(number)) == shortlist
            if shortlist is not None:
                answer = answers(number, shortlist)
                chosen = [
                    selector.decide(0, 3, shortlist, answer, np.random.default_rng(number)) for _ in range(2)
                ]
                assert chosen[0] == chosen[1]

    @pytest.mark.parametrize("lag", [0, 2])
    def test_replay_equals_live(self, selector_factory: AdvisedFactory, answers: Answerer, lag: int) -> None:
        """Stored answers, heeded between the same observations, give the same choices from then on."""
        live, again = selector_factory(Direction.MINIMIZE), selector_factory(Direction.MINIMIZE)
        told = list(advised(live, answers, seed=3, direction=Direction.MINIMIZE, lag=lag))
        rng = np.random.default_rng(3)
        again.observe(committed_step(0, 0, (), [-float(rng.normal())], Direction.MINIMIZE))
        seen = 0
        for number, (shortlist, answer, _, _) in enumerate(told, start=1):
            while seen < number - 1 - lag:
                seen += 1
                again.observe(told[seen - 1][3])
            if shortlist is not None:
                again.heed(0, answer)
        for number in range(1, 9):
            assert _chosen(live, number) == _chosen(again, number)
            assert live.shortlist(0, 3, np.random.default_rng(number)) == again.shortlist(
                0, 3, np.random.default_rng(number)
            )

    def test_minimising_mirrors_maximising(self, selector_factory: AdvisedFactory, answers: Answerer) -> None:
        """Scores are compared through the direction only."""
        up = advised(selector_factory(Direction.MAXIMIZE), answers, seed=4)
        low = Direction.MINIMIZE
        down = advised(selector_factory(low), answers, seed=4, direction=low)
        for (asked, _, chosen, _), (mirrored, _, other, _) in zip(up, down, strict=True):
            assert (asked and asked.candidates) == (mirrored and mirrored.candidates)
            assert chosen.parents == other.parents

    def test_without_an_answer_it_is_the_selector_that_needs_none(
        self, selector_factory: AdvisedFactory, answers: Answerer
    ) -> None:
        """Whatever was answered before."""
        selector = selector_factory(Direction.MAXIMIZE)
        for number, _ in enumerate(advised(selector, answers, seed=5), start=1):
            shortlist = selector.shortlist(0, 3, np.random.default_rng(number))
            if shortlist is not None:
                decided = selector.decide(0, 3, shortlist, None, np.random.default_rng(number))
                assert decided.parents == _chosen(selector, number).parents


def _chosen(selector: AdvisedSelector, seed: int) -> Selection:
    return selector.choose(0, 3, np.random.default_rng(seed))

"""A model's order of another selector's shortlist.

The selector under it chooses as ever, and names further candidates that it would choose from. A model sees them with
their scores and says which are worth going on from; those that it names come first, in its order, and the selector's
own choice fills up. Where no answer comes, or one that names nothing that was shown, the choice is the selector's
own.

A shortlist that holds no more than was asked for is not worth a question, unless the main parent is in doubt: the
model is asked as soon as there are two.

Source: SimpleTES, arXiv 2604.19341, whose ``llm_puct`` and ``llm_rpucg`` do this over two selectors.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from discovery.errors import ConfigError
from discovery.records import AdvicePurpose, CommittedStep, Json
from discovery.selection.base import AdvisedSelector, Selection, Selector, Shortlist, metrics_of
from discovery.selection.order import named


class LlmRerank:
    """Chooses what a model names of another selector's shortlist; see the module docstring.

    Args:
        base: The selector under it, which has observed nothing.
        shortlist: How many candidates the model is shown, 2 to 32.

    Raises:
        ConfigError: A parameter is out of range, or the selector under it asks a model itself.
    """

    name = "llm-rerank"

    def __init__(self, base: Selector, *, shortlist: int = 8) -> None:
        if not 2 <= shortlist <= 32:
            raise ConfigError(f"llm-rerank: shortlist is {shortlist!r}; it must be from 2 to 32")
        if isinstance(base, AdvisedSelector):
            raise ConfigError(
                f"llm-rerank: base is {base.name!r}, which asks a model itself; give one that does not, such as rpucg"
            )
        self.params: Mapping[str, Json] = {"base": base.name, "shortlist": shortlist, **base.params}
        self.metrics = metrics_of(base)
        self.notice = getattr(base, "notice", None)
        self._base = base
        self._shortlist = shortlist

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step."""
        self._base.observe(step)

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """The choice of the selector under it."""
        return self._base.choose(chain, count, rng)

    def shortlist(self, chain: int, count: int, rng: np.random.Generator) -> Shortlist | None:
        """What the selector under it would choose, and would choose from; None where that is one candidate."""
        further = rng.spawn(1)[0]
        otherwise = self._base.choose(chain, count, rng)
        wide = self._base.choose(chain, max(count, self._shortlist), further)
        candidates = tuple(dict.fromkeys((*otherwise.parents, *wide.parents)))[: max(count, self._shortlist)]
        if len(candidates) < 2:
            return None
        return Shortlist(
            purpose=AdvicePurpose.RERANK, candidates=candidates, count=count, otherwise=otherwise
        )

    def decide(
        self, chain: int, count: int, shortlist: Shortlist, answer: str | None, rng: np.random.Generator
    ) -> Selection:
        """What the model named, then what the selector under it chose."""
        otherwise = shortlist.otherwise or self._base.choose(chain, count, rng)
        order = [shortlist.candidates[place] for place in named(answer, len(shortlist.candidates))]
        values: dict[str, Json] = {
            **otherwise.values,
            "shortlist": [str(key) for key in shortlist.candidates],
            "named": [str(key) for key in order],
        }
        # As many as the selector under it gave, unless the model names more: it may have kept near-copies out.
        parents = tuple(dict.fromkeys((*order, *otherwise.parents)))
        most = max(min(len(order), count), len(otherwise.parents))
        return Selection(parents=parents[:most], values=values)

    def heed(self, chain: int, answer: str | None) -> None:
        """Nothing is folded: an answer is about one choice."""

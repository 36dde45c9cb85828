"""Adapters beside the model of a server: loaded under names made of their content, verified, and the oldest unloaded.

A new round of training is a new name and a new folder, never the old ones with other content: vLLM finds cached keys
and values by both, and would go on with those of the old weights.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from discovery.errors import ServerFailed, UsageError
from discovery.generation.probe import Probe, find_card
from discovery.generation.weights import Kind, Weights, discard, published_copy, read_weights, require_fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Weights that are served now.

    Args:
        kind: What they are.
        model: The model name for requests: an adapter's own, or the name that the server has always had.
        revision: The copy that is served; its name is made of its content.
        url: Base URL of the server.
        seconds: How long it took.
    """

    kind: Kind
    model: str
    revision: str
    url: str
    seconds: float


class Adapters:
    """The published adapters of one server.

    Args:
        probe: Asks the server.
        say: Told in one line what happens.
        kept: How many stay loaded.
    """

    def __init__(self, probe: Probe, say: Callable[[str], None], *, kept: int) -> None:
        self._probe = probe
        self._say = say
        self._kept = kept
        self._loaded: dict[str, Path] = {}

    def publish(self, adapter: Weights) -> str:
        """Load an adapter and have it answer.

        Args:
            adapter: A published copy.

        Returns:
            Its model name.

        Raises:
            ServerFailed: It is not served, and everything else is as before.
        """
        name = adapter.folder.name
        try:
            _load_verified(self._probe, name, adapter.folder)
        except ServerFailed as error:
            if name not in self._loaded:
                discard(adapter.folder)
            raise ServerFailed(f"{name} is not served, everything else is as before: {error}") from error
        self._loaded[name] = adapter.folder
        while len(self._loaded) > self._kept:
            oldest = next(iter(self._loaded))
            with contextlib.suppress(ServerFailed):
                self._probe.unload_adapter(oldest)
            discard(self._loaded.pop(oldest))
            self._say(f"unloaded {oldest}, the oldest of more than {self._kept} adapters")
        return name

    def load_again(self) -> None:
        """Load them into a new process of the server. Never raises; says which one could not be."""
        for name, folder in tuple(self._loaded.items()):
            try:
                _load_verified(self._probe, name, folder)
            except ServerFailed as error:
                del self._loaded[name]
                self._say(f"{name} is not served any more: {error}")

    def clear(self) -> None:
        """Forget them: the server has another model now."""
        self._loaded.clear()


def publish_adapter(folder: Path, url: str, shelf: Path) -> Published:
    """Load an adapter into a server that somebody else looks after.

    Args:
        folder: Of the adapter.
        url: The server's URL.
        shelf: Where its copy goes, which the server must see.

    Raises:
        UsageError: The folder holds a checkpoint, which takes a restart.
        WeightsError: The folder is not whole.
        ServerFailed: The server refuses it, or does not answer for it; its other models are as before.
    """
    begun = time.monotonic()
    weights = read_weights(folder)
    if weights.kind is not Kind.ADAPTER:
        raise UsageError(
            f"{weights.folder} is a checkpoint, which takes a restart of the server, and {url} is not ours to restart; "
            "serve it with `discovery serve`, or restart that server with it"
        )
    probe = Probe(url)
    cards = probe.cards()
    bases = [card.root for card in cards if card.parent is None and card.root and Path(card.root).is_dir()]
    served = read_weights(Path(bases[0])) if len(bases) == 1 else None
    require_fit(weights, served, largest_rank=weights.rank)  # its own limit, the server does not tell
    copied = published_copy(weights, shelf)
    name = copied.folder.name
    _load_verified(probe, name, copied.folder)
    return Published(
        kind=weights.kind,
        model=name,
        revision=str(copied.folder),
        url=url,
        seconds=time.monotonic() - begun,
    )


def _load_verified(probe: Probe, name: str, folder: Path) -> None:
    """Load an adapter if it is not there, and have it answer; leaves nothing of one that does not."""
    if find_card(probe.cards(), name) is None:
        probe.load_adapter(name, str(folder))
    with contextlib.ExitStack() as undone:
        undone.callback(_unload, probe, name)
        card = find_card(probe.cards(), name)
        if card is None or card.root != str(folder) or card.parent is None:
            raise ServerFailed(f"{probe.root} does not list {name} as an adapter from {folder}")
        probe.answer(name)
        undone.pop_all()


def _unload(probe: Probe, name: str) -> None:
    with contextlib.suppress(ServerFailed):
        probe.unload_adapter(name)

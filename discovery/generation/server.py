"""A model server that is looked after: started, started again when it dies, and given new weights.

:meth:`ModelServer.publish` is the one way to new weights. A checkpoint takes the place of the old one by a restart
under the same name: nothing of the old weights can survive that, neither in a prefix cache nor in a half-loaded
layer. An adapter is loaded beside the model under a name of its own, made of its content. Either is verified by a
request, and when anything fails, what was served before is served again.

vLLM's reload in place and its sleep mode are not used: they can leave a prefix cache of the old weights, silently
corrupt quantised and mixture-of-experts models, and end the server over a bad folder.

A run that is going on meets a restart as an outage: it pauses, learns again what is served, and goes on.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from discovery.errors import ServerFailed, WeightsError
from discovery.generation.adapters import Adapters, Published
from discovery.generation.probe import Probe, find_card
from discovery.generation.process import ServerProcess
from discovery.generation.vllm import DRAIN_S, Build, ServeOptions, command, environment
from discovery.generation.weights import (
    Kind,
    Weights,
    discard,
    fingerprint,
    published_copy,
    read_weights,
    require_fit,
)

SHELF = "weights"
"""Name of the folder of published copies."""
LOG = "server.log"

_LOOK_S = 0.5
_DEATHS_COUNTED_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """How a server is looked after.

    Args:
        start_s: Longest start, in seconds.
        grace_s: Seconds to end by itself before it is killed.
        drain_s: Seconds beside those to answer what is in flight, when it is stopped for new weights.
        restarts: Deaths within a quarter of an hour after which it is started again.
        pause_s: Seconds before it is started again; twice as long after each further death.
        adapters: How many published adapters stay loaded; the oldest are unloaded.
    """

    start_s: float = 1800.0
    grace_s: float = 5.0
    drain_s: float = DRAIN_S
    restarts: int = 3
    pause_s: float = 1.0
    adapters: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a server serves, as it says itself.

    Args:
        name: What requests call the model.
        url: Base URL for clients on this machine.
        root: Where its weights came from.
        context_tokens: Longest prompt with completion, in tokens; None where it does not say.
        reasons: Whether it told reasoning apart in a first short answer.
        adapters: Names of its adapters.
        takes_adapters: Whether it takes adapters while it runs.
        version: The server's version.
    """

    name: str
    url: str
    root: str | None
    context_tokens: int | None
    reasons: bool
    adapters: tuple[str, ...]
    takes_adapters: bool
    version: str | None


class ModelServer:
    """A supervised vLLM process. Its methods may be called from any thread.

    Args:
        build: Which vLLM.
        options: What to serve.
        home: Folder of its log and of published weights.
        say: Told in one line what happens; from other threads, too.
        care: How it is looked after.
        base: The environment to begin with.
    """

    def __init__(
        self,
        build: Build,
        options: ServeOptions,
        home: Path,
        *,
        say: Callable[[str], None] = lambda line: None,
        care: Care | None = None,
        base: Mapping[str, str] | None = None,
    ) -> None:
        self.options = options
        self.home = home
        self.probe = Probe(options.root)
        self.failure: ServerFailed | None = None
        """Why it was given up; None while it is looked after."""
        self._build = build
        self._listeners = [say]
        self._care = care or Care()
        self._base = dict(os.environ if base is None else base)
        self._changing = threading.RLock()
        self._stopping = threading.Event()
        self._process: ServerProcess | None = None
        self._supervisor: threading.Thread | None = None
        self._adapters = Adapters(self.probe, self._say, kept=self._care.adapters)
        self._deaths: deque[float] = deque()
        self._fingerprint = ""

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home / LOG

    @property
    def pid(self) -> int | None:
        """Id of its process; None while there is none."""
        process = self._process
        return None if process is None else process.pid

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @contextlib.contextmanager
    def heard_by(self, say: Callable[[str], None]) -> Iterator[None]:
        """Tell somebody else, too, what happens while the body runs."""
        self._listeners.append(say)
        try:
            yield
        finally:
            self._listeners.remove(say)

    def start(self) -> Serving:
        """Start it and wait until it serves; then it is looked after until :meth:`stop`.

        Returns:
            What it serves.

        Raises:
            WeightsError: The model's folder is not whole; nothing was started.
            ServerFailed: It does not start, or does not answer; nothing is left of it.
        """
        with self._changing:
            if self.options.folder is not None:
                self._fingerprint = fingerprint(read_weights(self.options.folder))
            with contextlib.suppress(OSError):
                self.log.unlink()
            serving = self._launch(self.options)
            self._supervisor = threading.Thread(target=self._supervise, name="model server", daemon=True)
            self._supervisor.start()
            return serving

    def serving(self) -> Serving:
        """What it serves now.

        Raises:
            ServerFailed: It does not answer.
        """
        with self._changing:
            return self._verified(self.options)

    def publish(self, folder: Path) -> Published:
        """Serve new weights, or go on serving the old ones.

        Args:
            folder: Of a checkpoint or an adapter; it is copied, and may change afterwards.

        Returns:
            What is served now, verified by a request.

        Raises:
            WeightsError: The folder is not whole, or does not fit; the server was not touched.
            ServerFailed: The weights are not served; the old ones are, unless the message says otherwise.
        """
        begun = time.monotonic()
        weights = read_weights(folder)
        with self._changing:
            if self._process is None:
                raise ServerFailed("the model server does not run; start it first: discovery serve MODEL")
            self._require_unchanged()
            served = self.options.folder
            room = self.options.adapters
            require_fit(
                weights,
                read_weights(served) if served is not None else None,
                largest_rank=room.rank if room is not None else None,
            )
            self._say(f"copying {weights.folder}")
            copied = published_copy(weights, self.home / SHELF)
            is_adapter = weights.kind is Kind.ADAPTER
            model = self._adapters.publish(copied) if is_adapter else self._publish_checkpoint(copied)
            return Published(
                kind=weights.kind,
                model=model,
                revision=str(copied.folder),
                url=self.options.url,
                seconds=time.monotonic() - begun,
            )

    def stop(self) -> None:
        """End it and everything it started. May be called twice."""
        self._stopping.set()
        process = self._process
        if process is not None:
            process.stop()  # without the lock: whoever starts it meanwhile sees it end
        with self._changing:
            self._end_process()
        if self._supervisor is not None and self._supervisor is not threading.current_thread():
            self._supervisor.join()

    def _say(self, line: str) -> None:
        for listener in tuple(self._listeners):
            listener(line)

    # Its process

    def _launch(self, options: ServeOptions) -> Serving:
        """Start a process and wait until it serves; leaves none behind when it does not."""
        if self._stopping.is_set():
            raise ServerFailed("the model server is being stopped")
        self._process = process = ServerProcess(
            command(self._build, options),
            environment(self._build, options, self._base),
            self.log,
            grace_s=self._care.grace_s,
        )
        with contextlib.ExitStack() as undone:
            undone.callback(self._end_process)
            process.wait_healthy(self.probe, self._care.start_s, self._say)
            try:
                serving = self._verified(options)
            except ServerFailed as error:
                raise ServerFailed(
                    f"the model server started, but {error}; {process.cause(self._say)}"
                ) from error
            undone.pop_all()
        self.options = options
        return serving

    def _end_process(self, *, drain_s: float = 0.0) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.stop(drain_s=drain_s)

    def _verified(self, options: ServeOptions) -> Serving:
        """What is served, after the model has answered a short request."""
        cards = self.probe.cards()
        card = find_card(cards, options.name)
        wanted = str(options.folder or options.model)
        is_other = options.folder is not None and card is not None and card.root not in (None, wanted)
        if card is None or is_other:
            listed = ", ".join(f"{card.name} ({card.root})" for card in cards) or "nothing"
            raise ServerFailed(f"{options.root} serves {listed} instead of {options.name} ({wanted})")
        answer = self.probe.answer(options.name)
        return Serving(
            name=options.name,
            url=options.url,
            root=card.root,
            context_tokens=card.context_tokens,
            reasons=answer.reasons,
            adapters=tuple(card.name for card in cards if card.parent),
            takes_adapters=options.adapters is not None,
            version=self.probe.version(),
        )

    def _supervise(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            process = self._process
            if process is None or process.exit_code is None or not self._changing.acquire(blocking=False):
                continue
            try:
                if process is self._process and not self._stopping.is_set():
                    self._revive(process)
            except (ServerFailed, WeightsError) as error:
                self.failure = ServerFailed(str(error))
                self._say(f"giving the model server up: {error}")
                return
            finally:
                self._changing.release()

    def _revive(self, dead: ServerProcess) -> None:
        """Start again what has died, unless it has too often."""
        what = f"the model server died (exit code {dead.exit_code}): {dead.cause(self._say)}"
        self._end_process()
        while not self._stopping.is_set():
            deaths = self._count_death()
            if deaths > self._care.restarts:
                raise ServerFailed(f"{what} ({deaths} times within {_DEATHS_COUNTED_S / 60:g} min)")
            self._say(f"{what}; starting it again ({deaths} of {self._care.restarts})")
            if self._stopping.wait(self._care.pause_s * 2.0 ** (deaths - 1)):
                return
            self._require_unchanged()
            try:
                serving = self._launch(self.options)
            except ServerFailed as error:
                what = str(error)
                continue
            self._adapters.load_again()
            self._say(f"the model server serves {serving.name} again")
            return

    def _count_death(self) -> int:
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > _DEATHS_COUNTED_S:
            self._deaths.popleft()
        return len(self._deaths)

    def _require_unchanged(self) -> None:
        """Refuse to go on where a later start would serve other weights under the same name."""
        folder = self.options.folder
        if folder is not None and fingerprint(read_weights(folder)) != self._fingerprint:
            raise WeightsError(
                f"{folder}, which is served, was written over since; save new weights in a folder of their own, "
                "or stop the server and serve it anew"
            )

    # Publishing

    def _publish_checkpoint(self, checkpoint: Weights) -> str:
        old = self.options
        new = replace(old, model=str(checkpoint.folder))
        if new == old:
            self._verified(old)
            return old.name
        self._say(f"{old.name} answers what is in flight, then starts again with {checkpoint.folder.name}")
        self._end_process(drain_s=self._care.drain_s)
        try:
            self._launch(new)
        except ServerFailed as error:
            self._say(
                f"it does not start with {checkpoint.folder.name}; starting it with the old weights again"
            )
            try:
                self._launch(old)
                self._adapters.load_again()
            except ServerFailed as second:
                self.failure = ServerFailed(
                    f"{checkpoint.folder.name} is not served ({error}), "
                    f"and the old weights do not start again: {second}"
                )
                raise self.failure from second
            discard(checkpoint.folder)
            raise ServerFailed(
                f"{checkpoint.folder.name} is not served; the old weights serve again: {error}"
            ) from error
        self._fingerprint = fingerprint(checkpoint)
        self._adapters.clear()  # they were for the old weights
        self._sweep(keep={checkpoint.folder, old.folder})
        return new.name

    def _sweep(self, keep: set[Path | None]) -> None:
        """Remove published copies that nothing can go back to."""
        for place in self.copies():
            if place not in keep:
                discard(place)

    def copies(self) -> Iterator[Path]:
        """Published copies that are on the shelf."""
        with contextlib.suppress(OSError):
            yield from sorted(path for path in (self.home / SHELF).iterdir() if path.is_dir())

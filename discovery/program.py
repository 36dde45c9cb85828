"""The scorer's handle on a candidate: what it can ask of it, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from discovery.data import Data, loads_document
from discovery.errors import DataError, ProgramFailed
from discovery.records import FailureKind

DATA_LANGUAGE = "json"
"""The language of solutions that are data."""
TEXT_LANGUAGES = frozenset({"text", "markdown"})
"""The languages of solutions that are texts for a reader, such as prompts: nothing runs unless there is a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOutput:
    """What a program that was run as a process left behind.

    Args:
        stdout: Standard output, decoded as UTF-8 with replacement.
        stdout_bytes: The same as it came, for programs that write binary.
        stderr: Standard error, capped.
        exit_code: Exit status, 0 or more.
        wall_s: Wall-clock seconds.
        cpu_s: CPU seconds, children included.
    """

    stdout: str
    stderr: str
    exit_code: int
    wall_s: float
    cpu_s: float | None
    stdout_bytes: bytes = b""


class ProgramChannel(Protocol):
    """How a :class:`Program` reaches its sandbox; not for plugin authors."""

    def call(
        self, function: str, args: tuple[Data, ...], kwargs: Mapping[str, Data], timeout_s: float | None
    ) -> Data:
        """Call a function of the program; raises ProgramFailed."""
        ...

    def run(self, args: tuple[str, ...], stdin: bytes, timeout_s: float | None) -> ProgramOutput:
        """Run the program as a process; raises ProgramFailed."""
        ...


class Program:
    """The scorer's handle on a candidate. It hands out data only.

    Args:
        source: The candidate's text.
        channel: The way to its sandbox.
        repeat: Which of the problem's repeats this scoring is, from 0.
        warm_start: See :attr:`warm_start`.
        files: Its files, where it has several: path to text.
    """

    def __init__(
        self,
        source: str,
        channel: ProgramChannel,
        repeat: int = 0,
        warm_start: Data = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self._source = source
        self._files = dict(files or {})
        self._channel = channel
        self._repeat = repeat
        self._warm_start = warm_start
        self._data: Data = None
        self._is_parsed = False
        self._was_read = False

    @property
    def source(self) -> str:
        """The candidate's text; of several files their bundle.

        A result that hangs on it is taken over by candidates of the same text only, not by those that differ from it in
        comments and white space.
        """
        self._was_read = True
        return self._source

    @property
    def files(self) -> Mapping[str, str]:
        """The candidate's files, path to text, the entry first; empty where candidates of the problem are one text."""
        self._was_read = True
        return dict(self._files)

    @property
    def was_read(self) -> bool:
        """Whether anything asked for its text so far."""
        return self._was_read

    @property
    def repeat(self) -> int:
        """Which of the problem's repeats this scoring is, from 0; the baseline's of the same turn has the same.

        Inputs made from it are fresh in each repeat, and the same for all candidates.
        """
        return self._repeat

    @property
    def warm_start(self) -> Data:
        """The best construction of the search so far, where the problem declares ``warm_start``; hand it on as it is.

        It is the artifact of the best candidate of the chain as of when this one was planned, as plain data; the
        baseline of the same turn has the same. None for the initial candidate, and where that best has no artifact.
        """
        return self._warm_start

    @property
    def data(self) -> Data:
        """The candidate's text as JSON, read once: for problems with a ``schema``, whose solutions are data.

        Nothing runs. A server may have held the model to the schema and may not have: check what matters.

        Raises:
            ProgramFailed: It is not one strict JSON document.
        """
        self._was_read = True
        if not self._is_parsed:
            try:
                self._data = loads_document(self._source)
            except DataError as error:
                raise ProgramFailed(FailureKind.BAD_DATA, f"the solution is not JSON: {error}") from error
            self._is_parsed = True
        return self._data

    def call(self, function: str, *args: Data, timeout_s: float | None = None, **kwargs: Data) -> Data:
        """Run a function of the candidate inside the sandbox; each call is a fresh process.

        Args:
            function: Name of a top-level function.
            *args: Plain data.
            timeout_s: Wall-clock seconds; None and anything above it mean the problem's limit.
            **kwargs: Plain data.

        Returns:
            Plain finite data: numbers, strings, lists, dictionaries, numpy arrays. Arrays hold ``bool``, ``int64`` or
            ``float64``, whatever the program returned: narrow ones would overflow and round as it likes. Types and
            shapes are the program's choice all the same: check them before numpy or ``float()`` reads the data.

        Raises:
            ProgramFailed: The program crashed, exited, hit a limit, lacks the function, or returned something
                that is not plain finite data. Uncaught, it fails the evaluation, which is right for most.
        """
        return self._channel.call(function, args, kwargs, timeout_s)

    def run(
        self,
        args: tuple[str, ...] | list[str] = (),
        *,
        stdin: str | bytes = b"",
        timeout_s: float | None = None,
    ) -> ProgramOutput:
        """Run the candidate as a process inside the sandbox, with the problem's ``command``.

        Args:
            args: Arguments after the command.
            stdin: What it reads on standard input.
            timeout_s: Wall-clock seconds; None and anything above it mean the problem's limit.

        Returns:
            Output and exit status. A status other than 0 is the scorer's to judge.

        Raises:
            ProgramFailed: The program was killed, hit a limit, or wrote more than ``result_bytes``.
        """
        data = stdin.encode() if isinstance(stdin, str) else stdin
        return self._channel.run(tuple(args), data, timeout_s)

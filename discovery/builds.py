"""What candidates are built into, once per source.

A build runs in a slot's sandbox like any request; its product is bytes from an untrusted hand. They are kept in
memory only and go back into a sandbox only: nothing here writes them to a file or executes them.

A source that several evaluations want built at once is built by the first of them; the others wait for it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from discovery.bundle import layout
from discovery.records import Failure, FailureKind, text_hash
from discovery.sandbox.base import CommandRun, SandboxResult
from discovery.sandbox.outcome import clean
from discovery.toolchain import Toolchain

MOST_BYTES = 256 << 20
"""Built files kept in memory; the ones that were wanted last."""
_DETAIL_CHARS = 4000
_MESSAGE_CHARS = 300
# Of a run of such characters only the first can be where it begins: else what a program has its compiler say takes
# time in proportion to its square.
_FOLDER = r"(?<![\w.+/-])/(?:[\w.+/-]*/)?"
_USUAL_NAME = r"program\.\w+"
# Names that a compiler draws: equal faults of equal programs have to read equally.
_DRAWN = re.compile(_FOLDER + r"(?:cc\w{6}(?=\.\w)|rustc\w{6}/)")
_ERROR = re.compile(r"\berror\b(?!s? generated)|undefined reference|cannot find", re.I)
# Lines of the compiler's own, not of a program that it quotes.
_MEMORY = re.compile(
    r"^(?:LLVM ERROR: |[\w./+-]+: )*(?:(?:fatal )?error: )?"
    r"(?:virtual memory exhausted|out of memory|memory allocation of \d+ bytes|terminate called .*std::bad_alloc)",
    re.M,
)
_FULL = re.compile(r"(?:No space left on device|File too large|File size limit exceeded signal.*)$", re.M)
_KILLED = re.compile(r"(?:Killed|CPU time limit exceeded) signal terminated program")

Run = Callable[[CommandRun], Awaitable[SandboxResult]]
"""Runs a request in a sandbox; raises SandboxError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What came of a build: exactly one of the first two is set.

    Args:
        binary: The built file.
        failure: Why there is none.
        output: What the compiler said, with the program's file under its plain name.
        wall_s: Wall-clock seconds.
        cpu_s: CPU seconds of the compiler, where known.
    """

    binary: bytes | None = None
    failure: Failure | None = None
    output: str = ""
    wall_s: float
    cpu_s: float | None


class Builds:
    """Builds the programs of one problem, each source once.

    Args:
        toolchain: With a build command.
        suffix: Ending of the program's file.
        files: Paths of a program's files, the entry first, where it has several.
        most_bytes: Built files kept.
    """

    def __init__(
        self,
        toolchain: Toolchain,
        suffix: str,
        *,
        files: tuple[str, ...] = (),
        most_bytes: int = MOST_BYTES,
    ) -> None:
        if toolchain.build is None:
            raise ValueError("there is nothing to build: the toolchain has no build command")
        self._argv = toolchain.build
        self._limits = toolchain.build_limits
        self._suffix = suffix
        self._files = files
        names = "|".join([_USUAL_NAME, *(re.escape(file) + r"\b" for file in files)])
        self._place = re.compile(f"{_FOLDER}(?={names})")
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._running: dict[str, asyncio.Future[Built]] = {}

    def anew(self) -> Builds:
        """Builds of the same kind that know nothing of what was built so far."""
        toolchain = Toolchain(build=self._argv, build_limits=self._limits)
        return Builds(toolchain, self._suffix, files=self._files, most_bytes=self._most_bytes)

    async def of(self, source: str, run: Run) -> Built:
        """Build a source, or take what was built of it.

        Args:
            source: The candidate.
            run: Where to build it.

        Returns:
            What came of it; with no seconds when nothing had to be done.

        Raises:
            SandboxError: The sandbox failed; whoever else waits for this source builds it.
            BundleError: It has not the files that it should have.
        """
        key = text_hash(source)
        while True:
            binary = self._kept.get(key)
            if binary is not None:
                self._kept.move_to_end(key)
                return Built(binary=binary, wall_s=0.0, cpu_s=0.0)
            running = self._running.get(key)
            if running is None:
                return await self._build(key, source, run)
            await asyncio.wait([running])
            if not running.cancelled():
                return dataclasses.replace(running.result(), wall_s=0.0, cpu_s=0.0)

    async def _build(self, key: str, source: str, run: Run) -> Built:
        future: asyncio.Future[Built] = asyncio.get_running_loop().create_future()
        self._running[key] = future
        try:
            built = self._judged(await run(self._request(source)))
            if built.binary is not None:
                self._keep(key, built.binary)
            future.set_result(built)
            return built
        finally:
            del self._running[key]
            future.cancel()

    def _request(self, source: str) -> CommandRun:
        laid = layout(source, self._files)
        return CommandRun(
            source=laid.source,
            argv=self._argv,
            suffix=self._suffix,
            stdin=b"",
            limits=self._limits,
            collects=True,
            file=laid.file,
            files=laid.files,
        )

    def _keep(self, key: str, binary: bytes) -> None:
        if len(binary) > self._most_bytes:
            return
        self._kept[key] = binary
        self._bytes += len(binary)
        while self._bytes > self._most_bytes:
            self._bytes -= len(self._kept.popitem(last=False)[1])

    def _judged(self, result: SandboxResult) -> Built:
        said = result.stderr if result.stderr.strip() else (result.data or b"").decode(errors="replace")
        output = clean(self._plainly(said)).strip()
        failure = self._failure(result, output)
        return Built(
            binary=result.binary if failure is None else None,
            failure=failure,
            output=output,
            wall_s=result.wall_s,
            cpu_s=result.cpu_s,
        )

    def _failure(self, result: SandboxResult, output: str) -> Failure | None:
        detail = output[:_DETAIL_CHARS] or None
        given = result.failure
        if given is not None:
            kept = (FailureKind.TIMEOUT, FailureKind.MEMORY, FailureKind.OUTPUT)
            kind = given.kind if given.kind in kept else FailureKind.BUILD
            return Failure(kind=kind, message=f"{given.message}, while it was built", detail=detail)
        if result.exit_code == 0 and result.binary:
            return None
        for pattern, kind in ((_MEMORY, FailureKind.MEMORY), (_FULL, FailureKind.OUTPUT)):
            if pattern.search(output):
                return Failure(kind=kind, message=self._limit_message(kind), detail=detail)
        if _KILLED.search(output):
            spent = result.cpu_s is not None and result.cpu_s >= self._limits.cpu_limit_s - 0.1
            kind = FailureKind.TIMEOUT if spent else FailureKind.MEMORY
            return Failure(kind=kind, message=self._limit_message(kind), detail=detail)
        if result.exit_code == 0:
            message = f"does not compile: {self._argv[0]} left no file behind"
        else:
            message = (
                f"does not compile: {_first_error(output) or f'status {result.exit_code}, without a word'}"
            )
        return Failure(kind=FailureKind.BUILD, message=message, detail=detail)

    def _plainly(self, said: str) -> str:
        """What a compiler said, with files under names that are the same in every sandbox."""
        plain = self._place.sub("", said)
        return _DRAWN.sub(lambda match: "" if match[0].endswith("/") else "program", plain)

    def _limit_message(self, kind: FailureKind) -> str:
        if kind is FailureKind.TIMEOUT:
            return f"ran past the CPU limit of {self._limits.cpu_limit_s} s, while it was built"
        if kind is FailureKind.OUTPUT:
            return (
                f"wrote more than the limit of {self._limits.file_bytes:,} bytes to files, while it was built"
            )
        megabytes = self._limits.memory_bytes / (1 << 20)
        return f"ran past the memory limit of {megabytes:,.0f} MiB, while it was built"


def _first_error(output: str) -> str:
    """The line that says what is wrong, with the place that the next one names if it names none itself."""
    lines = output.splitlines()
    for index, line in enumerate(lines):
        if _ERROR.search(line):
            place = lines[index + 1].strip() if index + 1 < len(lines) else ""
            text = line.strip()
            if place.startswith("-->"):
                text = f"{place.removeprefix('-->').strip()}: {text}"
            return text[:_MESSAGE_CHARS]
    return lines[0].strip()[:_MESSAGE_CHARS] if lines else ""

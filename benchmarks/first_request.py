"""How long a user's GPU waits for `discovery run`: from the start of its process to the first chat request."""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Figure, Report
from discovery.testing.server import FakeConfig, FakeServer, Reply, perturbed

RUNS = 5
ARGUMENTS = ("run", "constants-10", "--chains", "1", "--steps", "1", "--candidates", "1", "--json")


def run() -> Report:
    times_s = asyncio.run(_all())
    return Report(
        title=f"First request of `discovery run`, default scheduler and sandbox ({RUNS} runs)",
        figures=[
            Figure(
                name="process start to first chat request, median",
                value=statistics.median(times_s),
                unit="s",
                at_most=2,
            ),
            Figure(name="the fastest", value=min(times_s), unit="s"),
        ],
        raw={"times_s": times_s, "load": os.getloadavg()[0]},
    )


async def _all() -> list[float]:
    return [await _once() for _ in range(RUNS)]


async def _once() -> float:
    came: list[float] = []

    def answer(messages: list[dict[str, object]], seed: int) -> Reply:
        came.append(time.monotonic())
        return perturbed(messages, seed)

    with tempfile.TemporaryDirectory(prefix="discovery-bench-") as folder:
        async with FakeServer(FakeConfig(), answer=answer) as server:
            started = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).parent / "discovery"),
                *ARGUMENTS,
                "--base-url",
                server.url,
                cwd=folder,
                env={**os.environ, "DISCOVERY_HOME": folder},
                stdout=asyncio.subprocess.DEVNULL,
            )
            if await process.wait() != 0:
                raise SystemExit(f"`discovery run` ended with {process.returncode}")
    return came[0] - started

"""Whether the generator is kept busy, and what the client costs.

A stub server in a process of its own, lognormal latency with sigma 0.5, in the steady state after a warm-up. Its own
clock and its own slots say how busy it was. The scorer is cheap and a sandboxed evaluation takes some milliseconds of
CPU, so the latency grows with the slots: 2 cores have to suffice for the evaluations of 256 slots.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import Figure, Report
from discovery.bench import tree_cpu_s
from discovery.bottleneck import bottleneck
from discovery.config import GeneratorConfig, RunConfig, SearchConfig, SlotsConfig
from discovery.generation.fields import TOKENS_PER_EVENT
from discovery.launch import started
from discovery.sandbox.choice import choose_backend
from discovery.storage import open_storage

LATENCIES_S = {16: 2.0, 64: 4.0, 256: 12.0}
"""Median latency by the server's slots."""
SIGMA = 0.5
CANDIDATES = 4
EVALUATION_SLOTS = 8
WARM_UPS, WINDOWS = 3.0, 6.0
"""In medians of the latency."""
ANSWER_TOKENS = 500
ROUNDS = 3

PROBLEM = """
from discovery import problem

INITIAL = '''# EVOLVE-BLOCK-START
VALUE = 0.5
# EVOLVE-BLOCK-END


def solve():
    return VALUE
'''

@problem(name="cheap", statement="Return a number.", initial=INITIAL, deterministic=False)
def score(program):
    return -abs(program.call("solve"))
"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run's steady state; CPU in milliseconds per completion, of the process and of it with all below it."""

    slots: int
    in_flight: int
    overlap: int
    busy: float
    window_s: float
    completions: int
    process_ms: float
    tree_ms: float
    waits_for: str


def run() -> Report:
    os.environ.setdefault("OPENAI_API_KEY", "none")
    runs = [
        asyncio.run(_measure(slots, latency_s, is_scarce=is_scarce))
        for slots, latency_s in LATENCIES_S.items()
        for is_scarce in (False, True)
    ]
    clients = {keep: _client_ms(keep) for keep in ("logprobs", "text")}
    figures = [
        Figure(
            name=f"{r.slots} slots, C x K = {r.in_flight}{f', overlap {r.overlap}' if r.overlap else ''}: busy",
            value=100 * r.busy,
            unit="%",
            at_least=90 if r.in_flight == r.slots else 98,
        )
        for r in runs
    ]
    most = max(LATENCIES_S)
    figures += [
        Figure(
            name=f"client CPU per completion at {most} slots",
            value=min(clients["logprobs"]),
            unit="ms",
            at_most=2,
        ),
        Figure(name="the same, only texts kept", value=min(clients["text"]), unit="ms"),
    ]
    figures += [
        figure
        for r in runs
        if r.slots == most and r.in_flight > r.slots
        for figure in (
            Figure(name="whole process per completion", value=r.process_ms, unit="ms"),
            Figure(name="the same with sandboxes and scorers", value=r.tree_ms, unit="ms"),
        )
    ]
    return Report(
        title=f"Generator kept busy (lognormal latency, sigma {SIGMA:g}, K={CANDIDATES}, steady state)",
        figures=figures,
        raw={
            "runs": [asdict(r) for r in runs],
            "client_ms": clients,
            "answer_tokens": ANSWER_TOKENS,
            "stream_interval": TOKENS_PER_EVENT,
            "latencies_s": {str(slots): latency_s for slots, latency_s in LATENCIES_S.items()},
        },
    )


@contextmanager
def serving(slots: int, latency_s: float, *more: str, sigma: float = SIGMA) -> Iterator[str]:
    """A stub server in a process of its own; gives its URL."""
    command = [sys.executable, "-m", "discovery.testing.server", "--slots", str(slots)]
    command += ["--latency", str(latency_s), "--sigma", str(sigma), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def _stats(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=30) as answer:
        return json.load(answer)


async def _measure(slots: int, latency_s: float, *, is_scarce: bool) -> Measured:
    """A run's steady state.

    With scarce chains (C x K = slots) the generation slots are given, which lets steps overlap; else (twice as many)
    the run finds out by itself how much the server can do.
    """
    chains = (1 if is_scarce else 2) * slots // CANDIDATES
    with tempfile.TemporaryDirectory(prefix="discovery-bench-") as folder, serving(slots, latency_s) as url:
        plugin = Path(folder) / "cheap.py"
        plugin.write_text(PROBLEM)
        config = RunConfig(
            problem=str(plugin),
            search=SearchConfig(chains=chains, steps=100_000, candidates=CANDIDATES),
            generator=GeneratorConfig(kind="openai", base_url=(url,)),
            slots=SlotsConfig(generation=slots if is_scarce else None, evaluation=EVALUATION_SLOTS),
        )
        storage = open_storage(str(Path(folder) / "bench.db"))
        backend = choose_backend(config.sandbox, "mutation").backend
        async with started(config, storage, backend) as run:
            task = asyncio.create_task(run.execute())
            await asyncio.sleep(max(10.0, WARM_UPS * latency_s))
            first = await _reading(url)
            await asyncio.sleep(max(20.0, WINDOWS * latency_s))
            last = await _reading(url)
            finding = bottleneck(run.progress.window)
            if task.done():
                task.result()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        storage.close()
    done = {name: last[name] - first[name] for name in first}
    return Measured(
        slots=slots,
        in_flight=chains * CANDIDATES,
        overlap=config.overlap,
        busy=done["busy_s"] / (slots * done["now_s"]),
        window_s=done["now_s"],
        completions=int(done["choices"]),
        process_ms=1000 * done["process_s"] / done["choices"],
        tree_ms=1000 * done["tree_s"] / done["choices"],
        waits_for=str(finding) if finding else "",
    )


async def _reading(url: str) -> dict[str, float]:
    stats = await asyncio.to_thread(_stats, url)
    return {**stats, "process_s": time.process_time(), "tree_s": tree_cpu_s()}


def _client_ms(keep: str) -> list[float]:
    """CPU of a process that does nothing but ask, in milliseconds per completion, round after round."""
    slots = max(LATENCIES_S)
    answers = ["--tokens", str(ANSWER_TOKENS), "--stream-interval", str(TOKENS_PER_EVENT)]
    with serving(slots, 2.0, *answers) as url:
        command = [sys.executable, "-m", "benchmarks.client", url, keep]
        command += [str(n) for n in (slots // CANDIDATES, CANDIDATES, ANSWER_TOKENS, ROUNDS)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)

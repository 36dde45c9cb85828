"""Whether the generator is kept busy: a stub server of 16 slots, lognormal latency, evaluations of 0.2 s."""

import asyncio
import os
import tempfile
from pathlib import Path

from benchmarks.report import Figure, Report
from discovery.config import GeneratorConfig, RunConfig, SearchConfig, SlotsConfig
from discovery.launch import choose_backend, started
from discovery.storage import open_storage
from discovery.testing.server import FakeConfig, FakeServer

SLOTS = 16
CHAINS, CANDIDATES = 8, 4
LATENCY_S, SIGMA = 2.0, 0.5
WARM_UP_S, MEASURED_S = 10.0, 60.0

PROBLEM = """
from discovery import problem

INITIAL = '''import time

# EVOLVE-BLOCK-START
VALUE = 0.5
# EVOLVE-BLOCK-END


def solve():
    time.sleep(0.2)
    return VALUE
'''

@problem(name="slow", statement="Return a number; it takes 0.2 s.", initial=INITIAL, deterministic=False)
def score(program):
    return -abs(program.call("solve"))
"""


def run() -> Report:
    utilisation, evaluations = asyncio.run(_measure())
    return Report(
        title=f"Generator kept busy ({SLOTS} slots, lognormal {LATENCY_S:g} s, C={CHAINS} K={CANDIDATES})",
        figures=[
            Figure(name="busy slot time, steady state", value=100 * utilisation, unit="%", at_least=98),
            Figure(name="evaluations in the window", value=evaluations, unit=""),
        ],
        raw={"window_s": MEASURED_S, "sigma": SIGMA},
    )


async def _measure() -> tuple[float, int]:
    os.environ.setdefault("OPENAI_API_KEY", "none")
    with tempfile.TemporaryDirectory(prefix="discovery-bench-") as folder:
        plugin = Path(folder) / "slow.py"
        plugin.write_text(PROBLEM)
        async with FakeServer(FakeConfig(slots=SLOTS, latency_s=LATENCY_S, sigma=SIGMA)) as server:
            config = RunConfig(
                problem=str(plugin),
                search=SearchConfig(chains=CHAINS, steps=1000, candidates=CANDIDATES),
                generator=GeneratorConfig(kind="openai", base_url=(server.url,)),
                slots=SlotsConfig(evaluation=16),
            )
            storage = open_storage(str(Path(folder) / "bench.db"))
            backend = choose_backend(config.sandbox, "mutation").backend
            async with started(config, storage, backend) as run:
                task = asyncio.create_task(run.execute())
                await asyncio.sleep(WARM_UP_S)
                before, evaluated = server.stats()["busy_s"], run.progress.evaluations
                start = asyncio.get_running_loop().time()
                await asyncio.sleep(MEASURED_S)
                after, span = server.stats()["busy_s"], asyncio.get_running_loop().time() - start
                evaluated = run.progress.evaluations - evaluated
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            storage.close()
    return (after - before) / (SLOTS * span), evaluated

"""What it takes to export a large run as Parquet of our own, and to import it: seconds, memory, bytes.

The run is made up, in the sizes of a real one: each step's prompt of about 8 kB (its system message always the same), K
completions of about 500 tokens with token ids, log-probabilities and the ids of their prompt, programs of about 2 kB.
Making it takes some minutes and is not counted; with ``--storage`` the made one is kept, and used when it is there.
Export and import run in processes of their own, so that their peak memory is theirs alone.
"""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.kept import Speech
from benchmarks.report import Figure, Report
from discovery.config import RunConfig, to_dict
from discovery.records import (
    INITIAL,
    Candidate,
    CandidateKey,
    Completion,
    Direction,
    Durations,
    Evaluation,
    EvaluationState,
    Message,
    ModelIdentity,
    Prompt,
    Record,
    RunStatus,
    Score,
    Step,
    StepState,
    TokenUsage,
)
from discovery.storage import open_storage
from discovery.storage.base import RunRecord, Storage, Write

CANDIDATES = 50_000
CHAINS = 10
SIBLINGS = 16
TOKENS = 500
PROMPT_TOKENS = 2000
RUN = "made-up"
START = datetime(2026, 3, 1, tzinfo=UTC)

_PROCESS = """
import json, resource, sys, time
from discovery.storage import open_storage
from discovery.trajectories.archive import write_archive
from discovery.trajectories.arrival import arrive
what, url, folder = sys.argv[1:]
storage = open_storage(url)
begun, cpu = time.perf_counter(), time.process_time()
write_archive(folder, storage, ["made-up"]) if what == "export" else arrive(storage, folder)
wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": peak}))
"""


def run(evaluations: int = CANDIDATES, storage: str | None = None) -> Report:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = storage or str(folder / "made.db")
        made_s = _make(url, evaluations)
        out = folder / "archive"
        exported = _measured("export", url, out)
        imported = _measured("import", str(folder / "arrived.db"), out)
        sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
        size = sum(sizes.values())
    figures = [
        Figure(name="export: wall", value=exported["wall_s"], unit="s", at_most=60),
        Figure(name="export: CPU", value=exported["cpu_s"], unit="s"),
        Figure(name="export: peak memory", value=exported["peak_mb"], unit="MB", at_most=500),
        Figure(name="archive", value=size / evaluations, unit="bytes per candidate"),
        Figure(name="import: wall", value=imported["wall_s"], unit="s"),
        Figure(name="import: CPU", value=imported["cpu_s"], unit="s"),
        Figure(name="import: peak memory", value=imported["peak_mb"], unit="MB"),
    ]
    return Report(
        title=f"A run of {evaluations:,} candidates as Parquet, and back (SQLite)",
        figures=figures,
        raw={"files": sizes, "made_s": made_s},
    )


def _measured(what: str, url: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-c", _PROCESS, what, url, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _make(url: str, candidates: int) -> float:
    """Make the run unless it is there; how long that took, in seconds."""
    begun = time.perf_counter()
    with closing(open_storage(url)) as storage:
        if RUN not in [record.id for record in storage.list_runs()]:
            _fill(storage, candidates)
    return time.perf_counter() - begun


def _fill(storage: Storage, candidates: int) -> None:
    storage.create_run(
        RunRecord(
            id=RUN,
            problem="none",
            problem_path="/nowhere/problem.py",
            problem_version="0" * 64,
            direction=Direction.MAXIMIZE,
            config=to_dict(RunConfig(problem="none")),
            status=RunStatus.FINISHED,
            created_at=START,
        )
    )
    leases = storage.acquire(RUN, range(CHAINS), "benchmark", 24 * 3600.0)
    speech = Speech()
    system = speech.text(200)
    for number in range(candidates // SIBLINGS):
        lease = leases[number % CHAINS]
        records = _step(lease.chain, number // CHAINS + 1, speech, system)
        storage.append([Write(lease=lease, records=tuple(records))])
    storage.release(leases)


def _step(chain: int, step: int, speech: Speech, system: str) -> list[Record]:
    at = START + timedelta(seconds=step)
    committed = CandidateKey(chain, step, 0)
    messages = (Message(role="system", content=system), Message(role="user", content=speech.text(1400)))
    prompt_ids = speech.ids(PROMPT_TOKENS)
    records: list[Record] = [
        Step(
            chain=chain,
            step=step,
            state=StepState.COMMITTED,
            parents=(INITIAL,),
            selector="rpucg",
            selection={"c": 1.0, "values": [n / 7 for n in range(20)]},
            committed=committed,
            reason="best of all valid",
            planned_at=at,
            committed_at=at,
        ),
        Prompt(chain=chain, step=step, messages=messages, parents=(INITIAL,)),
    ]
    for index in range(SIBLINGS):
        key = CandidateKey(chain, step, index)
        program = speech.text(400)
        completion = Completion(
            key=key,
            text=f"Here it is.\n```python\n{program}\n```",
            reasoning=speech.text(50),
            finish_reason="stop",
            model=ModelIdentity(generator="openai", model="m", server="vllm 0.32.0"),
            sampling={"temperature": 1.0, "top_p": 1.0, "max_tokens": 8192},
            seed=(step << 16) + index,
            tokens=TokenUsage(prompt=PROMPT_TOKENS, completion=TOKENS),
            token_ids=speech.ids(TOKENS),
            logprobs=speech.logprobs(TOKENS),
            prompt_token_ids=prompt_ids,
            latency_s=2.5,
            created_at=at,
        )
        score = Score(value=index / 3, metrics={"error": index / 7}, artifact=[n / 13 for n in range(30)])
        evaluation = Evaluation(
            key=key,
            state=EvaluationState.SCORED,
            score=score,
            durations=Durations(wall_s=0.1, sandbox_s=0.08),
            sandbox="bubblewrap-1",
            scorer_version="0" * 64,
            started_at=at,
            finished_at=at,
        )
        records += [completion, Candidate(key=key, source=program, parents=(INITIAL,), created_at=at)]
        records.append(evaluation)
        if index == 0:
            records.append(replace(evaluation, attempt=1))
    return records

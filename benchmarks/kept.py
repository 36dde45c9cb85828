"""What it takes to keep a completion: its texts alone, with token ids, with log-probabilities, with its prompt's ids.

The tokens are made up, but spread as a model's are: few are frequent, and most of what it says is all but certain.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.report import Figure, Report
from discovery.records import CandidateKey, Completion, Direction, ModelIdentity, RunStatus
from discovery.storage.base import RunRecord, Write
from discovery.storage.rdb import RdbStorage

EVALUATIONS = 320
CANDIDATES = 8
TOKENS = 1000
PROMPT_TOKENS = 8000
VOCABULARY = 201_088


class Speech:
    """Draws tokens, log-probabilities and texts."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._by_rank = self._rng.permutation(VOCABULARY)
        self._words = [
            self._rng.integers(97, 123, size=4, dtype=np.uint8).tobytes().decode() for _ in range(5000)
        ]

    def ids(self, count: int) -> tuple[int, ...]:
        ranks = self._rng.zipf(1.3, size=4 * count)
        return tuple(self._by_rank[ranks[ranks < VOCABULARY][:count]].tolist())

    def logprobs(self, count: int) -> tuple[float | None, ...]:
        return tuple((-self._rng.gamma(0.3, 1.5, size=count)).astype(np.float32).tolist())

    def text(self, count: int) -> str:
        return " ".join(self._words[i % 5000] for i in self._rng.zipf(1.3, size=count))


def run(evaluations: int = EVALUATIONS) -> Report:
    speech = Speech()

    def bare(key: CandidateKey, _prompt: tuple[int, ...]) -> Completion:
        model = ModelIdentity(generator="openai", model="m")
        return Completion(key=key, text=speech.text(TOKENS), model=model, created_at=datetime.now(UTC))

    def tokens(key: CandidateKey, prompt: tuple[int, ...]) -> Completion:
        return replace(bare(key, prompt), token_ids=speech.ids(TOKENS))

    def logprobs(key: CandidateKey, prompt: tuple[int, ...]) -> Completion:
        return replace(tokens(key, prompt), logprobs=speech.logprobs(TOKENS))

    def prompts(key: CandidateKey, prompt: tuple[int, ...]) -> Completion:
        return replace(logprobs(key, prompt), prompt_token_ids=prompt)

    figures = []
    variants = {
        "text": bare,
        "and token ids": tokens,
        "and log-probabilities": logprobs,
        f"and {PROMPT_TOKENS:,} ids of its prompt": prompts,
    }
    for name, make in variants.items():
        size, cpu_s = _measured(evaluations // CANDIDATES, make, speech)
        figures.append(Figure(name=f"{name}: on disk", value=size, unit="bytes per completion"))
        figures.append(Figure(name=f"{name}: CPU", value=1e3 * cpu_s, unit="ms per completion"))
    return Report(
        title=f"What is kept of a completion of {TOKENS:,} tokens, {CANDIDATES} to a step (SQLite, one write each)",
        figures=figures,
    )


def _measured(
    steps: int, make: Callable[[CandidateKey, tuple[int, ...]], Completion], speech: Speech
) -> tuple[float, float]:
    """Bytes on disk and CPU seconds for each completion, making them not counted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kept.db"
        cpu_s = 0.0
        with closing(RdbStorage(str(path))) as storage:
            storage.create_run(_record())
            (lease,) = storage.acquire("kept", [0], "benchmark", 3600.0)
            for completion in _completions(steps, make, speech):
                begun = time.process_time()
                storage.append([Write(lease=lease, records=(completion,))])
                cpu_s += time.process_time() - begun
        count = steps * CANDIDATES
        return path.stat().st_size / count, cpu_s / count


def _completions(
    steps: int, make: Callable[[CandidateKey, tuple[int, ...]], Completion], speech: Speech
) -> Iterator[Completion]:
    for step in range(1, steps + 1):
        prompt = speech.ids(PROMPT_TOKENS)
        for index in range(CANDIDATES):
            yield make(CandidateKey(0, step, index), prompt)


def _record() -> RunRecord:
    return RunRecord(
        id="kept",
        problem="none",
        problem_path="/nowhere",
        problem_version="0",
        direction=Direction.MAXIMIZE,
        config={},
        status=RunStatus.CREATED,
        created_at=datetime.now(UTC),
    )

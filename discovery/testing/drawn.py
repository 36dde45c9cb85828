"""Records as hypothesis draws them: what a store or an archive must hold is whatever they may be.

Needs hypothesis. Texts hold every character, surrogates too, and numbers whatever is finite; what is more than one
medium takes is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis.strategies import SearchStrategy

from discovery import records as r
from discovery.exact import Exact
from discovery.testing.storage_records import WEIRD

T = TypeVar("T")

texts = st.text(st.characters(exclude_categories=()), max_size=40) | st.just(WEIRD)
long_texts = texts | texts.map(lambda text: text * 20)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
times = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
hashes = st.sampled_from(["0" * 64, "c0ffee" + "1f" * 29])
keys = st.just(r.INITIAL) | st.builds(
    r.CandidateKey, st.integers(0, 9), st.integers(1, 99), st.integers(0, 9)
)
parents = st.lists(keys, max_size=3).map(tuple)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=7,
)
mappings = st.dictionaries(texts, json, max_size=3)
counts = st.none() | st.integers(0, 2**40)


def optional(strategy: SearchStrategy[T]) -> SearchStrategy[T | None]:
    """What a strategy draws, or None."""
    return st.none() | strategy


messages = st.lists(st.builds(r.Message, role=texts, content=long_texts), max_size=3).map(tuple)
models = st.builds(
    r.ModelIdentity,
    generator=texts,
    model=optional(texts),
    adapter=optional(texts),
    revision=optional(texts),
)
usages = st.builds(r.TokenUsage, prompt=counts, completion=counts, reasoning=counts, cached=counts)


def steps(chain: int, step: int, *, selectors: SearchStrategy[str] = names) -> SearchStrategy[r.Step]:
    """The plan of one step, in any state.

    Args:
        chain: Its place.
        step: Its place.
        selectors: Names of what chose its parents.
    """
    return st.builds(
        r.Step,
        chain=st.just(chain),
        step=st.just(step),
        state=st.sampled_from(r.StepState),
        parents=parents,
        selector=selectors,
        selection=mappings,
        committed=optional(keys),
        reason=optional(texts),
        best_before=optional(finite),
        best_after=optional(finite),
        planned_at=times,
        committed_at=optional(times),
    )


def prompts(chain: int, step: int) -> SearchStrategy[r.Prompt]:
    """The prompt of one step."""
    return st.builds(r.Prompt, chain=st.just(chain), step=st.just(step), messages=messages, parents=parents)


def completions(
    key: r.CandidateKey, *, id_bits: int = 31, logprobs: SearchStrategy[float] = finite
) -> SearchStrategy[r.Completion]:
    """A completion.

    Args:
        key: Its place.
        id_bits: Token ids are below 2 to that power.
        logprobs: What the log-probabilities of tokens may be.
    """
    ids = optional(st.lists(st.integers(0, 2**id_bits - 1), max_size=20).map(tuple))
    place = st.integers(0, 2**31 - 1)
    return st.builds(
        r.Completion,
        key=st.just(key),
        text=optional(long_texts),
        reasoning=optional(long_texts),
        finish_reason=optional(texts),
        model=models,
        sampling=mappings,
        seed=optional(st.integers()),
        tokens=optional(usages),
        token_ids=ids,
        logprobs=optional(st.lists(optional(logprobs), max_size=20).map(tuple)),
        prompt_token_ids=ids,
        forced=optional(st.tuples(place, place)),
        latency_s=optional(finite),
        created_at=times,
    )


def candidates(key: r.CandidateKey) -> SearchStrategy[r.Candidate]:
    """A candidate of any text."""
    return st.builds(
        r.Candidate,
        key=st.just(key),
        source=long_texts,
        parents=parents,
        created_at=times,
        warm_start=optional(keys),
        form=optional(hashes),
    )


def consultations(chain: int, step: int, purpose: r.AdvicePurpose) -> SearchStrategy[r.Consultation]:
    """A consultation.

    Args:
        chain: Its place.
        step: Its place.
        purpose: Its place.
    """
    return st.builds(
        r.Consultation,
        chain=st.just(chain),
        step=st.just(step),
        purpose=st.just(purpose),
        subject=optional(keys),
        messages=messages,
        text=optional(long_texts),
        reasoning=optional(long_texts),
        finish_reason=optional(texts),
        model=optional(models),
        sampling=mappings,
        seed=optional(st.integers()),
        tokens=optional(usages),
        latency_s=optional(finite),
        failure=optional(texts),
        created_at=times,
    )


scores = st.builds(
    r.Score,
    value=finite,
    metrics=mappings,
    private=mappings,
    feedback=optional(long_texts),
    artifact=json,
    samples=st.lists(finite, max_size=5).map(tuple),
    interval=optional(st.tuples(finite, finite)),
    exact=optional(st.fractions(max_denominator=10**9).map(lambda value: Exact.of(value).decimal())),
)
failures = st.builds(
    r.Failure, kind=st.sampled_from(r.FailureKind), message=texts, detail=optional(long_texts)
)
_results: SearchStrategy[dict[str, Any]] = (
    scores.map(lambda score: {"state": r.EvaluationState.SCORED, "score": score})
    | failures.map(lambda failure: {"state": r.EvaluationState.FAILED, "failure": failure})
    | st.just({"state": r.EvaluationState.RUNNING})
)


@st.composite
def evaluations(
    draw: st.DrawFn,
    key: r.CandidateKey,
    purpose: r.Purpose = r.Purpose.SEARCH,
    attempt: int = 0,
    sandboxes: Sequence[str] = (),
) -> r.Evaluation:
    """An evaluation in any state.

    Args:
        draw: Given by hypothesis.
        key: Its candidate.
        purpose: What it is for.
        attempt: Its number.
        sandboxes: Ids of records of sandboxes that it may name.
    """
    durations = st.builds(
        r.Durations, wall_s=finite, sandbox_s=optional(finite), sandbox_cpu_s=optional(finite)
    )
    return r.Evaluation(
        key=key,
        purpose=purpose,
        attempt=attempt,
        **draw(_results),
        duplicate_of=draw(optional(keys)),
        durations=draw(optional(durations)),
        output=draw(optional(long_texts)),
        suspicion=draw(optional(texts)),
        sandbox=draw(st.sampled_from([None, *sandboxes])),
        scorer_version=draw(optional(texts)),
        solution=draw(optional(hashes)),
        source_read=draw(st.booleans()),
        started_at=draw(times),
        finished_at=draw(optional(times)),
    )


def announcements(key: SearchStrategy[r.CandidateKey] = keys) -> SearchStrategy[r.Announcement]:
    """That a candidate was announced as the best."""
    return st.builds(
        r.Announcement, key=key, score=finite, evaluations=st.integers(0, 2**30), announced_at=times
    )


measurements = st.lists(
    st.builds(r.Measurement, at=times, values=st.dictionaries(texts, finite, max_size=5)),
    unique_by=lambda measurement: measurement.at,
    max_size=3,
)
sandboxes = st.builds(
    r.SandboxRecord,
    id=names,
    backend=names,
    properties=st.dictionaries(texts, st.booleans(), max_size=3),
    details=st.dictionaries(texts, texts, max_size=3),
)

"""Storage per evaluation, with all prompts kept."""

import random
from dataclasses import replace
from datetime import timedelta
from struct import pack, unpack

from discovery.records import CandidateKey, Durations, Message, ModelIdentity, Prompt, Score
from discovery.storage.rdb import RdbStorage
from discovery.testing.storage import (
    START,
    append,
    make_candidate,
    make_committed,
    make_completion,
    make_scored,
    make_step,
    start,
)

STATEMENT = (
    """Pack 26 circles into the unit square so that the sum of their radii is as large as can be.
Return a list of (x, y, r). Circles may touch but not overlap, and none may leave the square.
"""
    * 4
)


def _program(rng):
    lines = ["import math", "def pack():", "    circles = []"]
    for _ in range(26):
        lines.append(f"    circles.append(({rng.random()!r}, {rng.random()!r}, {rng.random() / 9!r}))")
    return "\n".join([*lines, "    return circles", ""])


def test_an_evaluation_takes_less_than_four_kilobytes(tmp_path):
    rng = random.Random(3)
    path = tmp_path / "a.db"
    storage = RdbStorage(str(path))
    lease = start(storage, chains=1)[0]
    steps, each = 150, 4
    parent = _program(rng)
    prompts = 0
    for number in range(1, steps + 1):
        keys = [CandidateKey(0, number, index) for index in range(each)]
        sources = [_program(rng) for _ in keys]
        content = (
            f"{STATEMENT}\nScore {rng.random()!r}:\n{parent}\nScore {rng.random()!r}:\n{sources[0][:900]}"
        )
        prompts += len(content)
        step = make_step(0, number)
        messages = (Message(role="system", content=STATEMENT), Message(role="user", content=content))
        records = [step, Prompt(chain=0, step=number, messages=messages, parents=tuple(keys))]
        for key, source in zip(keys, sources, strict=True):
            completion = replace(
                make_completion(key, source),
                model=ModelIdentity(generator="mutation"),
                sampling={"operator": "literals", "scale": 0.01},
                seed=rng.getrandbits(63),
                latency_s=rng.random(),
                created_at=START + timedelta(seconds=rng.random()),
            )
            evaluation = replace(
                make_scored(key, rng.random(), after_s=rng.random()),
                score=Score(value=rng.random(), metrics={"radii": rng.random(), "overlap": rng.random()}),
                durations=Durations(wall_s=rng.random(), sandbox_s=rng.random(), sandbox_cpu_s=rng.random()),
                sandbox="bubblewrap-0123456789abcdef",
                scorer_version="c" * 64,
            )
            records += [completion, make_candidate(key, source), evaluation]
        append(storage, lease, *records)
        append(storage, lease, make_committed(step, keys[0]))
        parent = sources[1]
    storage.close()
    assert prompts / steps > 3000
    assert path.stat().st_size / (steps * each) < 4000


def _kept(path, step, completions):
    storage = RdbStorage(str(path))
    lease = start(storage, chains=1)[0]
    for number in range(1, step + 1):
        append(storage, lease, *completions(number))
    storage.close()
    return path.stat().st_size


def test_what_token_ids_and_logprobs_take(tmp_path):
    """At most 9.5 kB for 1,000 tokens of a completion; its prompt's ids are kept once for all siblings of a step."""
    rng = random.Random(5)
    each, steps = 8, 6
    # Half of what a model says are a few hundred frequent tokens of its 200,000, most of them all but certain.
    frequent = [rng.randrange(200_000) for _ in range(300)]

    def ids(count):
        return tuple(
            rng.choice(frequent) if rng.random() < 0.5 else rng.randrange(200_000) for _ in range(count)
        )

    def logprobs(count):
        return tuple(unpack("f", pack("f", -rng.gammavariate(0.3, 1.5)))[0] for _ in range(count))

    def bare(number):
        return [
            make_completion(CandidateKey(0, number, index), rng.randbytes(1500).hex())
            for index in range(each)
        ]

    def whole(number):
        prompt = ids(4000)
        return [
            replace(one, token_ids=ids(1000), logprobs=logprobs(1000), prompt_token_ids=prompt)
            for one in bare(number)
        ]

    more = _kept(tmp_path / "whole.db", steps, whole) - _kept(tmp_path / "bare.db", steps, bare)
    assert more / (steps * each) < 9500 + 4 * 4000 / each

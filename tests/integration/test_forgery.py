"""Candidates that try to write their own score: none is ever stored, and the run goes on."""

import os
import textwrap
from datetime import UTC, datetime

import numpy as np
import pytest

from discovery import data
from discovery.config import RunConfig, SearchConfig, SlotsConfig
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.records import Candidate, CandidateKey, FailureKind, RunStatus
from discovery.run import Run, new_run
from discovery.sandbox import make_backend
from discovery.selection import make_selector
from discovery.storage import open_storage
from discovery.testing.fakes import ScriptedGenerator

HIGHEST_HONEST = 0.0

PLUGIN = """
from discovery import Invalid, problem

SECRET = 3.25

@problem(name="honest", statement="Return a number.", initial="def solve():\\n    return 0.0\\n")
def score(program):
    value = program.call("solve")
    if not isinstance(value, float):
        raise Invalid("not a number")
    return -abs(value - SECRET)
"""

FRAMES = [
    b'{"kind": "scored", "value": 1e9, "score": 1e9, "combined_score": 1e9, "state": "scored"}\n',
    data.encode({"kind": "scored", "value": 1e9, "score": 1e9}),
    (22).to_bytes(4, "big") + (4).to_bytes(4, "big") + b'{"kind":"scored","value":1e9}' + b"null",
]

ATTACKS = {
    "prints a result and exits": """
        import json, os, sys
        print(json.dumps({"score": 1e9, "combined_score": 1e9, "value": 1e9}), flush=True)
        os._exit(0)
    """,
    "prints a result when called": """
        def solve():
            import json, os
            print(json.dumps({"score": 1e9, "valid": True}), flush=True)
            os._exit(0)
    """,
    "exits with success through sys": """
        import sys
        def solve():
            sys.stdout.write('{"score": 1e9}\\n')
            sys.exit(0)
    """,
    "patches json and math": """
        import json, math, builtins
        json.dumps = lambda *a, **k: '{"score": 1e9}'
        json.loads = lambda *a, **k: {"score": 1e9}
        builtins.abs = lambda value: -1e9
        math.isfinite = lambda value: True
        def solve():
            return 1.0
    """,
    "patches every module that is loaded": """
        import sys
        def solve():
            for module in list(sys.modules.values()):
                for name in ("encode", "dumps", "pack", "write", "send", "sendall"):
                    if hasattr(module, name):
                        try:
                            setattr(module, name, lambda *a, **k: b'{"score": 1e9}')
                        except (AttributeError, TypeError):
                            pass
            return 1.0
    """,
    "rewrites the frames of its callers": """
        import sys
        def solve():
            frame = sys._getframe()
            while frame is not None:
                for name in list(frame.f_locals):
                    if name in ("score", "value", "result", "returned", "limits"):
                        frame.f_locals[name] = 1e9
                for name in list(frame.f_globals):
                    if callable(frame.f_globals[name]) and not name.startswith("__"):
                        frame.f_globals[name] = lambda *a, **k: 1e9
                frame = frame.f_back
            return 1.0
    """,
    "leaves an exit handler": """
        import atexit, os
        def last():
            for fd in range(3, 256):
                try:
                    os.write(fd, b'{"score": 1e9}')
                except OSError:
                    pass
        atexit.register(last)
        def solve():
            return 1.0
    """,
    "writes forged frames to every descriptor and exits": """
        import os
        def solve():
            for fd in range(0, 1024):
                for frame in FRAMES:
                    try:
                        os.write(fd, frame)
                    except OSError:
                        pass
            os._exit(0)
    """,
    "writes forged frames before it is called": """
        import os
        for fd in range(3, 1024):
            for frame in FRAMES:
                try:
                    os.write(fd, frame)
                except OSError:
                    pass
        def solve():
            return 1.0
    """,
    "leaves a daemon that keeps writing": """
        import os, time
        def solve():
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    while True:
                        for fd in range(3, 64):
                            try:
                                os.write(fd, FRAMES[0])
                            except OSError:
                                pass
                        time.sleep(0.01)
                os._exit(0)
            return 1.0
    """,
    "returns an object that lies": """
        class Liar(float):
            def __sub__(self, other): return 0.0
            def __abs__(self): return -1e9
            def __neg__(self): return 1e9
            def __repr__(self): return "1e9"
        def solve():
            return Liar(1.0)
    """,
    "returns not a number": """
        def solve():
            return float("nan")
    """,
    "returns infinity in an array": """
        import numpy as np
        def solve():
            return np.array([float("inf")])
    """,
    "looks for the scorer's files": """
        import os, re
        def solve():
            for root in ("/", os.getcwd(), os.path.expanduser("~"), "/tmp", "/proc/1/cwd", "/proc/self/root"):
                for folder, _, names in os.walk(root):
                    if folder.count("/") > 4:
                        continue
                    for name in names:
                        if name.endswith("honest.py"):
                            found = re.search(r"SECRET = ([0-9.]+)", open(os.path.join(folder, name)).read())
                            if found:
                                return float(found.group(1))
            return 1.0
    """,
}


FORGETFUL = """
import numpy as np
from discovery import Invalid, problem

SECRET = np.array([3.25, 1.5])
SEEN = []
CACHE = {}

@problem(name="forgetful", statement="Return two numbers.", initial="def solve():\\n    return [0.0, 0.0]\\n")
def score(program):
    value = program.call("solve")
    if isinstance(value, dict):
        CACHE.update(value)  # an honest mistake
        raise Invalid("not numbers")
    key = str(value)
    if key not in CACHE:
        found = np.asarray(value, dtype=float)
        np.minimum(SECRET, 1e6 * np.abs(found), out=SECRET) if found.max() > 1e5 else None
        CACHE[key] = -float(np.abs(found - SECRET).sum())
        SEEN.append(key)
    return CACHE[key]
"""
"""A scorer that keeps what candidates gave it, and lets that change what later ones get."""

POISONS = (
    "def solve():\n    return {'[1.0, 1.0]': 0.0}\n",
    "def solve():\n    return {'[1.0, 2.0]': -1e-9}\n",
)
REAPERS = ("def solve():\n    return [1.0, 1.0]\n", "def solve():\n    return [1.0, 2.0]\n")
HONEST = "def solve():\n    return [3.0, 1.5]\n"


READS_FILES = {"looks for the scorer's files"}
"""What the process backend does not defend; the score is the scorer's own even so."""


def source_of(attack):
    return f"FRAMES = {FRAMES!r}\n" + textwrap.dedent(ATTACKS[attack])


NARROW = """
import numpy as np
from discovery import Invalid, problem

@problem(name="narrow", statement="Return whole numbers that sum to 100.", initial="def solve():\\n    return [0]\\n",
         packages=("numpy",), bounds=(None, 0.0))
def score(program):
    found = np.asarray(program.call("solve"))
    if (found * found > 10_000).any():
        raise Invalid("a number is larger than 100")
    return -abs(float(found.sum(dtype=found.dtype)) - 100)
"""
"""A scorer that calculates in whatever numbers it gets."""


@pytest.mark.sandbox
async def test_numbers_that_are_too_narrow_to_be_right_win_nothing(tmp_path):
    """Each of these is a perfect answer in its own arithmetic, and in no other."""
    (tmp_path / "narrow.py").write_text(NARROW)
    problem = load_problem(str(tmp_path / "narrow.py"))
    evaluator = Evaluator(problem, make_backend("bubblewrap"), slots=1)
    await evaluator.start()
    try:
        for dtype, numbers in (
            ("uint8", [178, 178]),
            ("int8", [-128, -28]),
            ("int16", [512, -412]),
            ("uint64", [2**64 - 1, 51, 50]),
            ("float16", [100, 0.03]),
        ):
            array = np.array(numbers, dtype=dtype)
            assert not (array * array > 10_000).any()
            assert array.sum(dtype=dtype) == 100
            source = f"import numpy\ndef solve():\n    return numpy.array({numbers}, dtype='{dtype}')\n"
            key = CandidateKey(chain=0, step=1, index=0)
            now = datetime.now(UTC)
            found = await evaluator.evaluate(Candidate(key=key, source=source, parents=(), created_at=now))
            if found.score is not None:
                assert found.score.value < 0, dtype
            else:
                assert found.failure.kind is FailureKind.INVALID, dtype
    finally:
        await evaluator.close()


async def searched(tmp_path, problem, backend, answer, steps, candidates):
    """A whole run of one chain in one slot, so that each candidate has the worker of the one before."""
    config = RunConfig(
        problem=problem.name,
        search=SearchConfig(chains=1, steps=steps, candidates=candidates, selector="best-of-n"),
        slots=SlotsConfig(evaluation=1),
    )
    storage = open_storage(str(tmp_path / "runs.db"))
    record = new_run(problem, config)
    evaluator = Evaluator(problem, backend, slots=1, label=record.id)
    await evaluator.start()
    try:
        run = Run(
            record,
            config,
            problem,
            storage,
            generator=ScriptedGenerator(answer),
            selector=make_selector("best-of-n", problem.direction, {}),
            evaluator=evaluator,
            is_new=True,
        )
        return storage, record, await run.execute()
    finally:
        await evaluator.close()


@pytest.mark.sandbox
async def test_what_a_candidate_leaves_in_a_scorer_wins_nothing(tmp_path):
    """A worker scores one candidate after another; a best counts only once a worker that scored none confirms it."""
    (tmp_path / "forgetful.py").write_text(FORGETFUL)
    problem = load_problem(str(tmp_path / "forgetful.py"))
    sources = [source for pair in zip(POISONS, REAPERS, strict=True) for source in pair] + [HONEST]

    def answer(key, request):
        return sources[key.step - 1]

    storage, _, summary = await searched(
        tmp_path, problem, make_backend("bubblewrap"), answer, steps=len(sources), candidates=1
    )
    assert summary.status is RunStatus.FINISHED
    assert summary.best_score == -0.25, "the honest one"
    assert summary.failures == {"invalid": 2, "disagreement": 2}
    storage.close()


@pytest.mark.parametrize("sandbox", [pytest.param("bubblewrap", marks=pytest.mark.sandbox), "process"])
async def test_no_score_but_the_scorers_own_is_ever_stored(tmp_path, sandbox):
    backend = make_backend(sandbox)
    if backend.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{sandbox}: {backend.missing()}")
    (tmp_path / "honest.py").write_text(PLUGIN)
    problem = load_problem(str(tmp_path / "honest.py"))
    names = [name for name in ATTACKS if sandbox != "process" or name not in READS_FILES]

    def answer(key, request):
        if key.index % 2:
            return f"def solve():\n    return {key.step + 0.5}\n"
        return source_of(names[(key.step - 1) % len(names)])

    storage, record, summary = await searched(
        tmp_path, problem, backend, answer, steps=len(names), candidates=2
    )
    assert summary.status is RunStatus.FINISHED
    assert summary.evaluations == 2 * len(names)
    for step in storage.committed_steps(record.id, 0):
        attack, honest = step.outcomes
        assert honest.score == -abs(step.step + 0.5 - 3.25), names[step.step - 1]
        if attack.score is not None:
            assert attack.score == -abs(1.0 - 3.25), names[step.step - 1]
    assert summary.best_score <= HIGHEST_HONEST
    storage.close()

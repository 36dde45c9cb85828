"""Every fault of a problem is found, all at once, each with its fix; a good problem has none."""

import dataclasses
import re
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from discovery import data
from discovery.check import check_problem, each_problem
from discovery.errors import Invalid, MissingComponent, ProblemError, ProgramFailed, ScoringError
from discovery.findings import Finding, Level
from discovery.plugins import load_problem
from discovery.problem import Problem
from discovery.program import Program
from discovery.records import (
    INITIAL,
    Durations,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    Score,
)

GOOD = '''
from discovery import Invalid, KnownBest, Limits, Score, problem

@problem(
    name="half",
    statement="Write a function solve() that returns one number as close as you can to one half.",
    initial="""def solve():
    return 0.1
""",
    direction="minimize",
    bounds=(0.0, 1.0),
    known_best=KnownBest(value=0.0, source="trivial"),
)
def score(program):
    value = program.call("solve")
    if not 0 <= value <= 1:
        raise Invalid(f"{value!r} is not in [0, 1]")
    return Score(value=abs(value - 0.5))
'''


class InProcess:
    """A channel that executes the program here; enough for programs that a test wrote."""

    def __init__(self, source: str) -> None:
        self.source = source

    def call(self, function, args, kwargs, timeout_s):
        names: dict = {}
        try:
            exec(self.source, names)
            if function not in names:
                raise ProgramFailed(FailureKind.MISSING_FUNCTION, f"no function {function!r}")
            return names[function](*args, **kwargs)
        except ProgramFailed:
            raise
        except (ValueError, ArithmeticError, RuntimeError, SyntaxError) as error:
            raise ProgramFailed(FailureKind.CRASHED, str(error), "Traceback\nlast line") from error


class Scoring:
    """Evaluates as the real evaluator does, without its processes."""

    def __init__(self, sandbox_s: float = 0.01) -> None:
        self.sandbox_s = sandbox_s
        self.sources: list[str] = []

    async def __call__(self, problem: Problem, source: str, warm_start: bytes | None = None) -> Evaluation:
        self.sources.append(source)
        given = None if warm_start is None else data.decode(warm_start)
        score: Score | None = None
        try:
            score = problem.checked(problem.scorer(Program(source, InProcess(source), 0, given)))
            failure = None
            if not problem.in_bounds(score.value):
                score, failure = None, Failure(kind=FailureKind.OUT_OF_BOUNDS, message="out")
        except Invalid as error:
            failure = Failure(kind=FailureKind.INVALID, message=error.reason)
        except ProgramFailed as error:
            kind = FailureKind(error.kind)
            failure = Failure(kind=kind, message=error.message, detail=error.detail)
        except (ValueError, TypeError, ProblemError) as error:
            failure = Failure(kind=FailureKind.SCORER, message=str(error))
        return Evaluation(
            key=INITIAL,
            state=EvaluationState.FAILED if score is None else EvaluationState.SCORED,
            score=score,
            failure=failure,
            durations=Durations(wall_s=self.sandbox_s, sandbox_s=self.sandbox_s),
            started_at=datetime.now(UTC),
            finished_at=datetime.now(UTC),
        )


@pytest.fixture
def check(tmp_path):
    """Check a plugin with this text, in a folder named as the problem is."""

    async def run(text: str = GOOD, scoring: object = None, **files: str) -> list[Finding]:
        folder = tmp_path / "half"
        folder.mkdir(exist_ok=True)
        (folder / "problem.py").write_text(textwrap.dedent(text))
        for name, content in files.items():
            (folder / name.replace("__", ".")).write_text(content)
        return await check_problem(str(folder), scoring or Scoring())

    return run


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    assert findings[0].message
    assert findings[0].fix
    assert "\n" not in findings[0].message + findings[0].fix
    return findings[0]


def with_setting(setting: str) -> str:
    return GOOD.replace("bounds=(0.0, 1.0),", f"bounds=(0.0, 1.0), {setting},")


async def test_each_of_several_initial_candidates_must_score(check):
    text = GOOD.replace('initial="""', 'initial=["def solve():\\n    return 0.2\\n", """').replace(
        'return 0.1\n""",',
        'return 0.1\n""", "def solve():\\n    return 7\\n", "def other():\\n    return 1\\n"],',
    )
    scoring = Scoring()
    found = await check(text, scoring)
    assert {(f.where, f.level) for f in found} == {
        ("initial-2", Level.ERROR),
        ("initial-3", Level.ERROR),
        ("entry", Level.ERROR),
    }
    messages = " ".join(f.message for f in found)
    assert "the initial candidate initial-2 does not score (invalid): 7 is not in [0, 1]" in messages
    assert "initial-3 defines no 'solve'" in messages
    good = text[: text.index(', "def solve():\\n    return 7')] + "]," + text[text.index("],") + 2 :]
    assert await check(good) == []


async def test_a_good_problem_has_no_findings(check):
    scoring = Scoring()
    assert await check(scoring=scoring) == []
    assert len(scoring.sources) == 8, "twice the initial candidate, a broken program, five twisted answers"


TRUSTING = """
import numpy as np
from discovery import Invalid, problem

@problem(name="half", statement="Return three numbers that are far from each other, each between 0 and 1.",
         initial="def solve():\\n    return [0.1, 0.5, 0.7]\\n", bounds=(0.0, 1.0))
def score(program):
    found = np.asarray(program.call("solve"), dtype=float)
    if (found < 0).any() or (found > 1).any():
        raise Invalid("not between 0 and 1")
    return CHECKED
"""


@pytest.mark.parametrize(
    ("scored", "level", "words"),
    [
        ("float(np.ptp(found[1:]))", Level.WARNING, "first number"),
        (
            "float(1 - (np.abs(found[:, None] - found) < 0.5).mean()) if len(found) else 0.0",
            Level.ERROR,
            "better",
        ),
        ("float(np.ptp(found)) if len(found) else 1.0", Level.ERROR, "that is empty"),
    ],
)
async def test_a_scorer_that_believes_what_it_is_given(check, scored, level, words):
    """Numpy reads the text "nan" and None as not-a-number, which passes every comparison."""
    findings = await check(TRUSTING.replace("CHECKED", scored))
    told = [f for f in findings if f.level is level and words in f.message]
    assert told, findings
    assert all(f.where == "scorer" and "Invalid" in f.fix for f in findings)


@pytest.mark.parametrize("name", ["constants-10", "zigzag-8", "zigzag-24"])
async def test_a_bundled_problem_has_no_findings(name):
    assert await check_problem(name, Scoring()) == []


async def test_a_compiled_language_whose_initial_program_is_python(check):
    """It would score, called as Python, while every model writes C++."""
    found = only([f for f in await check(with_setting('language="cpp"')) if f.where == "initial"])
    assert found.level is Level.ERROR
    assert "'cpp'" in found.message
    assert "defines 'solve'" in found.message
    assert "program.run()" in found.fix
    triton = await check(with_setting('language="triton"'))
    assert not [f for f in triton if f.where == "initial"], "which is Python, and not built"


async def test_a_statement_of_one_word(check):
    text = GOOD.replace(
        "Write a function solve() that returns one number as close as you can to one half.", "x"
    )
    assert "has 1 word;" in only(await check(text)).message


async def test_a_template_is_looked_at(check):
    own = "<!-- user -->\n${parents}\n\n${requests}\n"
    unknown, missing = await check(prompt__md=own)
    assert (unknown.where, unknown.level, missing.where) == ("template", Level.ERROR, "template")
    assert unknown.message == "prompt.md: line 4: there is no slot ${requests}"
    assert unknown.fix.startswith("did you mean ${request}? known: answer, ")
    assert "not told which program to improve" in missing.message
    assert await check(prompt__md=own.replace("requests", "request")) == []


async def test_no_such_problem_is_an_error_not_a_finding():
    with pytest.raises(ProblemError, match="nowhere"):
        await check_problem("./nowhere", Scoring())


async def test_all_faults_of_a_declaration_and_of_its_parts_at_once(check):
    text = """
    from discovery import KnownBest, Limits, problem

    @problem(name="half", direction="upwards", bounds=(1, 0), scorer_timeout_s=-1,
             limits=Limits(wall_s=1e9, memory_bytes=1000), language="klingon",
             packages=["no_such_package"], initial="def other():\\n    return 1\\n")
    def score(program):
        return 1.0
    """
    findings = await check(text)
    where = [finding.where for finding in findings]
    assert where.count("declaration") == 4  # statement, direction, bounds, scorer_timeout_s
    assert where.count("limits") == 3  # too long, longer than the scorer's, too little memory
    assert {"language", "packages", "bounds"} <= set(where)
    assert all(finding.fix and finding.message for finding in findings)
    levels = [finding.level for finding in findings]
    assert levels == sorted(levels), "errors come first"


async def test_a_plugin_that_cannot_be_executed_still_has_its_folder_checked(check):
    findings = await check("import discovery\nraise ValueError('no')\n", statement__md=" \n")
    assert [f.where for f in findings] == ["plugin", "statement", "initial"]
    assert "problem.py:2: ValueError: no" in findings[0].message


@pytest.mark.parametrize(
    ("setting", "where", "level", "words"),
    [
        ("limits=Limits(wall_s=0.001)", "limits", "error", "0.001 s"),
        ("limits=Limits(wall_s=4000), scorer_timeout_s=5000", "limits", "warning", "hours"),
        ("limits=Limits(wall_s=1e6), scorer_timeout_s=2e6", "limits", "error", "hours"),
        ("limits=Limits(wall_s=100)", "limits", "error", "scorer_timeout_s is 60 s"),
        ("limits=Limits(memory_bytes=512)", "limits", "error", "512"),
        ("limits=Limits(memory_bytes=1 << 60)", "limits", "warning", "this machine"),
        ("limits=Limits(result_bytes=1 << 34)", "limits", "warning", "result_bytes"),
        ("language='klingon'", "language", "warning", "klingon"),
        ("entry='other'", "entry", "warning", "'other', though it scores"),
        ("picture=print", "picture", "warning", "no artifact"),
        ("packages=['no_such_package']", "packages", "error", "no_such_package"),
        ("isolation=['untrusted', 'no_noise']", "isolation", "error", "'no_noise'"),
    ],
)
async def test_settings(check, setting, where, level, words):
    finding = only(await check(with_setting(setting)))
    assert (finding.where, finding.level) == (where, level)
    assert words in finding.message


FEATURE = "features=[Feature('size', 0, 10)], objectives=Objective('cost', 'minimize')"


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        ("metrics={'size': 3, 'cost': 0.5}", []),
        (
            "metrics={'size': 3, 'name': 'x'}",
            [("objectives", "error", "no metric 'cost' that is a finite number; it has: size")],
        ),
        (
            "metrics={'size': 'big'}, private={'cost': 1}",
            [
                ("features", "error", "no metric 'size' that is a finite number; it has: none"),
                (
                    "objectives",
                    "error",
                    "no metric 'cost' that is a finite number (it is private); it has: none",
                ),
            ],
        ),
        ("metrics={'size': 11, 'cost': 1}", [("features", "warning", "size is 11, outside 0 to 10")]),
    ],
)
async def test_what_selectors_are_to_be_told_must_be_there(check, metrics, found):
    text = with_setting(FEATURE).replace("import Invalid", "import Feature, Objective, Invalid")
    findings = await check(text.replace("abs(value - 0.5))", f"abs(value - 0.5), {metrics})"))
    assert [(each.where, each.level) for each in findings] == [each[:2] for each in found]
    assert all(words in each.message for each, (*_, words) in zip(findings, found, strict=True))


async def test_missing_package_is_not_tried(check):
    scoring = Scoring()
    await check(with_setting("packages=['no_such_package']"), scoring)
    assert scoring.sources == []


async def test_command_without_program_or_on_no_path(check):
    findings = await check(with_setting("command=['no-such-command', 'x']"))
    assert [f.where for f in findings] == ["command", "command"]


@pytest.mark.parametrize(
    ("settings", "where", "words"),
    [
        ("build=['cp', '{program}']", "build", 'write "{binary}"'),
        ("build=['cp', '{binary}']", "build", 'write "{program}"'),
        ("build=['no-such-compiler', '{program}', '{binary}']", "build", "not on this machine's PATH"),
        ("command=['{binary}']", "command", "nothing builds it"),
        ("build=['cp', '{program}', '{binary}'], command=['{program}']", "command", 'write "{binary}"'),
        (
            "build=['cp', '{program}', '{binary}'], build_limits=Limits(wall_s=90)",
            "build_limits",
            "set scorer_timeout_s to 110",
        ),
        ("build_limits=Limits(wall_s=90)", "build_limits", "no build to limit"),
    ],
)
async def test_a_build_has_to_make_a_binary_of_the_program_in_time(check, settings, where, words):
    findings = [f for f in await check(with_setting(settings)) if f.where == where]
    assert len(findings) == 1
    assert words in f"{findings[0].message} {findings[0].fix}"


async def test_a_compiler_that_is_not_here_is_a_finding_and_nothing_is_tried(check, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    scoring = Scoring()
    text = with_setting("language='cpp'").replace("def solve():\n    return 0.1", "int main() {}")
    (finding,) = [f for f in await check(text, scoring) if f.level is Level.ERROR]
    assert (finding.where, finding.fix) == ("image", "sudo apt-get install g++")
    assert "takes g++, gcc, as, ld, which are not installed" in finding.message
    assert scoring.sources == []


@pytest.mark.parametrize(
    ("old", "new", "where", "level", "words"),
    [
        ("bounds=(0.0, 1.0),", "", "bounds", "warning", "too good to be true"),
        ("value=0.0", "value=-0.5", "known_best", "error", "outside the bounds"),
        ("minimize", "maximize", "direction", "error", "better than the known best"),
        ("one number as close as you can to one half.", "0.5", "statement", "warning", "words"),
        ('"half"', '"quarter"', "name", "warning", "'quarter'"),
        ("return 0.1", "return 7.0", "initial", "error", "invalid"),
        ("return 0.1", "return 1 / 0", "initial", "error", "crashed"),
        ("value=abs(", "value=9 + abs(", "scorer", "error", "out_of_bounds"),
        ("value=abs(", "value=float('nan') * abs(", "scorer", "error", "out_of_bounds"),
        ("value=abs(", "value=[] + abs(", "scorer", "error", "scorer"),
        ('program.call("solve")', "0.1", "scorer", "warning", "broken on purpose"),
    ],
)
async def test_declaration_and_scorer(check, old, new, where, level, words):
    assert old in GOOD
    finding = only(await check(GOOD.replace(old, new)))
    assert (finding.where, finding.level) == (where, level)
    assert words in finding.message


async def test_no_entry_and_no_score(check):
    findings = await check(GOOD.replace("def solve():", "def other():"))
    assert [(f.where, f.level) for f in findings] == [("entry", "error"), ("initial", "error")]


async def test_initial_that_is_not_python_names_the_line(check):
    findings = await check(GOOD.replace("return 0.1", "return ("))
    assert findings[0].where == "initial"
    assert "line 2" in findings[0].message


async def test_broken_and_empty_blocks(check):
    broken = "def solve():\n    # EVOLVE-BLOCK-START\n    return 0.1\n"
    findings = await check(GOOD.replace("def solve():\n    return 0.1\n", broken))
    assert any("EVOLVE-BLOCK" in f.message and f.level is Level.ERROR for f in findings)
    empty = "# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\ndef solve():\n    return 0.1\n"
    finding = only(await check(GOOD.replace("def solve():\n    return 0.1\n", empty)))
    assert "line 1 is empty" in finding.message


RANDOM = GOOD.replace("Score(value=abs(value - 0.5))", "Score(value=next(VALUES))").replace(
    "@problem(", "VALUES = iter([0.1, 0.2, 0.3])\n\n@problem("
)


async def test_a_scorer_that_disagrees_with_itself(check):
    finding = only(await check(RANDOM))
    assert "not deterministic: the same program got 0.1, then 0.2" in finding.message


WARM = (
    GOOD.replace('initial="""def solve():\n    return 0.1\n""",', "initial=INITIAL,")
    .replace("bounds=(0.0, 1.0),", "bounds=(0.0, 1.0), warm_start=True,")
    .replace('program.call("solve")', 'program.call("solve", program.warm_start)')
)
TAKES_ALL = "def solve(given):\n    return 0.25 if given is None else given / 2\n"


@pytest.mark.parametrize(
    ("initial", "artifact", "words"),
    [
        (TAKES_ALL, "value", None),
        (TAKES_ALL, "'x' * (4 << 20)", "at most|may take 4,194,304"),
        (TAKES_ALL, "None", "no artifact, so there is nothing to hand on"),
        (TAKES_ALL, "[value]", "does not score when it is given its own artifact: scorer: unsupported"),
        (
            "def solve(given):\n    return given * 8 if given else 0.25\n",
            "value",
            "own artifact: invalid: 2.0 is not",
        ),
    ],
)
async def test_the_initial_candidate_is_given_what_it_handed_out(check, initial, artifact, words):
    text = WARM.replace("INITIAL", repr(initial)).replace(
        "abs(value - 0.5)", f"abs(value - 0.5), artifact={artifact}"
    )
    findings = await check(text)
    if words is None:
        assert findings == []
    else:
        assert re.search(words, only(findings).message)
        assert only(findings).where == "warm_start"


async def test_noise_that_is_declared_is_no_fault(check):
    scoring = Scoring()
    text = RANDOM.replace("bounds=", "deterministic=False, bounds=")
    assert await check(text, scoring) == []
    assert len(scoring.sources) == 7, "the initial candidate once, a broken program, five twisted answers"


async def test_an_initial_candidate_near_its_limit(check):
    finding = only(await check(scoring=Scoring(sandbox_s=9.0)))
    assert "9 s of wall_s = 10 s" in finding.message


async def test_a_scorer_whose_process_dies_is_a_finding_and_a_missing_sandbox_is_not(check):
    def raising(error: Exception):
        async def score(problem: Problem, source: str) -> Evaluation:
            raise error

        return score

    finding = only(await check(scoring=raising(ScoringError("it died"))))
    assert (finding.where, "it died" in finding.message) == ("scorer", True)
    with pytest.raises(MissingComponent):
        await check(scoring=raising(MissingComponent("no sandbox")))


async def test_checking_leaves_nothing_behind(check, tmp_path):
    await check()
    assert {p.name for p in tmp_path.rglob("*")} == {"half", "problem.py"}


class Repeating(Scoring):
    """Scores that lie in these intervals, in turn."""

    def __init__(self, *intervals: tuple[float, float], sandbox_s: float = 0.01) -> None:
        super().__init__(sandbox_s)
        self.intervals = list(intervals)

    async def __call__(self, problem: Problem, source: str) -> Evaluation:
        evaluation = await super().__call__(problem, source)
        if evaluation.score is None:
            return evaluation
        low, high = self.intervals.pop(0)
        score = Score(value=(low + high) / 2, samples=(low, high), interval=(low, high))
        return replace(evaluation, score=score)


REPEATED = with_setting("deterministic=False, repeats=Repeats(count=5)").replace(
    "KnownBest, ", "KnownBest, Repeats, "
)


async def test_repeats_that_show_less_noise_than_there_is(check):
    finding = only(await check(REPEATED, Repeating((0.1, 0.2), (0.3, 0.4))))
    assert (finding.level, finding.where) == (Level.ERROR, "repeats")
    assert "[0.1, 0.2]" in finding.message
    assert "baseline=True" in finding.fix
    assert await check(REPEATED, Repeating((0.1, 0.3), (0.2, 0.4))) == []


async def test_the_time_of_repeats_is_that_of_each(check):
    assert await check(REPEATED, Repeating((0.1, 0.3), (0.2, 0.4), sandbox_s=12.0)) == []


async def test_more_cores_than_there_are(check):
    scoring = Scoring()
    finding = only(await check(REPEATED.replace("count=5", "cores=1024"), scoring))
    assert (finding.level, finding.where) == (Level.ERROR, "repeats")
    assert "1025 in all" in finding.message
    assert scoring.sources == []


async def test_a_plausible_jump_guards_as_bounds_do(check):
    unbounded = GOOD.replace("bounds=(0.0, 1.0),", "")
    assert "max_jump" in only(await check(unbounded)).fix
    assert (
        await check(unbounded.replace('direction="minimize",', 'direction="minimize", max_jump=0.1,')) == []
    )


def test_a_family_is_each_of_its_shipped_variants():
    folder = Path(load_problem("zigzag-8").path).parent
    assert each_problem(str(folder)) == [
        f"{folder}/problem.py:zigzag-{count}" for count in (8, 12, 16, 20, 24)
    ]
    assert each_problem(f"{folder}:zigzag-8") == [f"{folder}:zigzag-8"]
    assert each_problem("zigzag-8") == ["zigzag-8"]
    assert each_problem(str(folder.parent / "constants-10")) == [str(folder.parent / "constants-10")]


async def test_a_verifier_that_does_not_load_is_named_and_nothing_is_scored(check):
    scoring = Scoring()
    finding = only(await check(scoring=scoring, verify__py="def verify(:\n"))
    assert (finding.where, "SyntaxError" in finding.message, scoring.sources) == ("verify", True, [])


@pytest.mark.parametrize(
    ("failure", "where", "message", "fix"),
    [
        (
            Failure(kind=FailureKind.INVALID, message="the quick scorer says 1.0, and the exact score is 2"),
            "scorer",
            "the exact score is 2",
            "mend the scorer or verify.py",
        ),
        (
            Failure(
                kind=FailureKind.INVALID, message="the exact scorer refuses what the quick one scored 1.0: x"
            ),
            "scorer",
            "1.0: x",
            "mend the scorer or verify.py",
        ),
        (Failure(kind=FailureKind.INVALID, message="too few"), "initial", "too few", "begin with a valid"),
        (
            Failure(kind=FailureKind.SCORER, message="it failed: no", detail="Traceback\nProblemError: no"),
            "scorer",
            "it failed: no",
            "mend the scorer, or raise",
        ),
        (
            Failure(kind=FailureKind.CRASHED, message="it ended", detail="Traceback\nKeyError: 'a'"),
            "initial",
            "it ended [KeyError: 'a']",
            "mend the initial program",
        ),
    ],
)
async def test_why_the_initial_candidate_does_not_score(check, failure, where, message, fix):
    async def score(problem: Problem, source: str) -> Evaluation:
        scored = await Scoring()(problem, source)
        return dataclasses.replace(scored, state=EvaluationState.FAILED, score=None, failure=failure)

    finding = only(await check(scoring=score))
    assert finding.where == where
    assert finding.message.endswith(message)
    assert finding.fix.startswith(fix)

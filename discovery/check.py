"""What is wrong with a problem: everything at once, each with its fix, without any model.

A check has four parts. The declaration is loaded; its faults are findings and what could be built of it is
still checked. The parts are looked at: statement, initial candidate, limits, bounds, packages. If nothing so
far makes it pointless, the scorer is tried: twice on the initial candidate, in fresh processes, and once on a
program that is broken on purpose; then what the problem brings along to check its scorers by (:mod:`discovery.trial`).

Evaluation is given as a function, so that this module knows no sandbox.
"""

from __future__ import annotations

from collections.abc import Iterator

from discovery import trial
from discovery.agreement import compare, shown
from discovery.errors import DataError, ProblemError, ScoringError
from discovery.findings import Finding, Level, doubtful, from_message, last_line, one_line, wrong
from discovery.inspection import MIN_WALL_S, can_be_tried, inspected, inspected_files
from discovery.outcomes import numbers
from discovery.plugins import load_file, load_location, locate, reference
from discovery.problem import DeclarationError, Problem
from discovery.records import Evaluation, Failure, FailureKind, Score
from discovery.referee import load_verifier
from discovery.starts import named
from discovery.toolchain import toolchain
from discovery.trial import ScoreSource as ScoreSource
from discovery.twists import twisted
from discovery.warm import encoded

MAX_TWISTED_S = 5.0
"""An evaluation that takes longer is not repeated for each answer that a scorer must refuse."""
BROKEN = "raise RuntimeError('broken on purpose by discovery check')\n"


def each_problem(ref: str) -> list[str]:
    """What a reference asks to be checked: itself, or each problem of a file that declares several.

    Args:
        ref: As for ``plugins.load_problem``. A family's folder stands for its shipped variants.

    Raises:
        ProblemError: There is nothing of that name.
    """
    location = locate(ref)
    if location.file is None or location.name is not None:
        return [ref]
    try:
        problems, _ = load_file(location.file)
    except ProblemError:  # which is what a check is about
        return [ref]
    return [reference(problem) for problem in problems] if len(problems) > 1 else [ref]


async def check_problem(ref: str, score: ScoreSource) -> list[Finding]:
    """Find all that is wrong with a problem.

    Args:
        ref: As for ``plugins.load_problem``.
        score: How to evaluate a source text in a sandbox, by a scorer's process that has scored nothing before.

    Returns:
        Findings, errors first; empty when all is well.

    Raises:
        ProblemError: There is no such problem to check.
        SandboxError: The sandbox failed, which says nothing about the problem.
        MissingComponent: No sandbox is there.
    """
    location = locate(ref)
    findings: list[Finding] = []
    problem: Problem | None = None
    try:
        problem = load_location(location)
    except DeclarationError as error:
        findings += [from_message("declaration", fault) for fault in error.faults]
        findings += inspected(error.partial)
    except ProblemError as error:
        findings.append(from_message("plugin", str(error)))
        if location.file is not None:
            findings += inspected_files(location.file)
    if problem is not None:
        findings += inspected(problem)
        findings += await _tried(problem, score)
        if _scores_well(findings):
            findings = [_eased(finding) for finding in findings]
    return sorted(findings, key=lambda finding: finding.level is not Level.ERROR)


async def _tried(problem: Problem, score: ScoreSource) -> list[Finding]:
    if not can_be_tried(problem):
        return []
    try:
        load_verifier(problem)
    except ProblemError as error:
        return [from_message("verify", one_line(str(error)))]
    try:
        first = await score(problem, problem.initial)
        twice = problem.settings.deterministic or problem.settings.repeats is not None
        again = await score(problem, problem.initial) if twice else first
        findings = [*_check_first(problem, first), *_check_repeated(problem, first, again)]
        findings += _check_metrics(problem, first)
        for number, source in enumerate(problem.others, 1):
            findings += _check_scored(problem, await score(problem, source), named(number))
        if first.score is not None:
            findings += await _check_warm_start(problem, first.score, score)
            broken = await score(problem, problem.with_entry(_broken(problem)))
            findings += _check_broken(problem, first.score, broken)
            if broken.score is None:
                findings += await _check_twisted(problem, first, score)
            findings += await trial.tried(problem, score, programs=_is_quick(first))
    except (ScoringError, ProblemError) as error:
        return [
            wrong(
                "scorer",
                f"its process failed: {one_line(str(error))}",
                "a scorer runs in a process of its own: it must load there, and not exit or crash it",
            )
        ]
    return findings


async def _check_warm_start(problem: Problem, first: Score, score: ScoreSource) -> list[Finding]:
    """Give the initial candidate what it handed out, as the first step does."""
    if not problem.settings.warm_start:
        return []
    if first.artifact is None:
        return [
            doubtful(
                "warm_start",
                "the score of the initial candidate has no artifact, so there is nothing to hand on",
                "return Score(value=..., artifact=the construction as it counts)",
            )
        ]
    try:
        given = encoded(first.artifact)
    except DataError as error:
        return [wrong("warm_start", f"the artifact: {error}", "hand on less: what a program goes on from")]
    again = await score(problem, problem.initial, given)
    if again.failure is None:
        return []
    return [
        wrong(
            "warm_start",
            "the initial candidate does not score when it is given its own artifact: "
            f"{again.failure.kind}: {one_line(again.failure.message)}",
            "let program and scorer take both: None at first, and an artifact in the form that was handed out",
        )
    ]


async def _check_twisted(problem: Problem, first: Evaluation, score: ScoreSource) -> list[Finding]:
    """Hand the scorer answers that it must refuse."""
    assert first.score is not None
    if not _is_quick(first):
        return []
    findings = []
    for each in twisted(problem):
        said = await score(problem, each.source)
        if said.score is not None:
            better = problem.direction.better(said.score.value, first.score.value)
            finding = wrong if better else doubtful
            findings.append(
                finding(
                    "scorer",
                    f"an answer {each.words} scores {said.score.value!r}"
                    + (", better than the initial candidate's" if better else ""),
                    "raise Invalid for what is not a finite number of the right type, before numpy or float() reads "
                    "it: both take it for not-a-number, which passes every comparison",
                )
            )
    return findings


def _is_quick(first: Evaluation) -> bool:
    """Whether the scorer is so quick that it may be asked about many programs."""
    return first.durations is None or first.durations.wall_s <= MAX_TWISTED_S


def _broken(problem: Problem) -> str:
    language = problem.settings.language.lower()
    return BROKEN if language == "python" else "broken on purpose by discovery check\n"


_FIXES = {
    FailureKind.BUILD: "mend what the compiler names in the initial program, or the build command",
    FailureKind.MISSING_FUNCTION: "define the function that the scorer calls in the initial program",
    FailureKind.TIMEOUT: "make the initial program faster, or raise limits and scorer_timeout_s",
    FailureKind.MEMORY: "raise Limits(memory_bytes=...), or make the initial program smaller",
    FailureKind.OUTPUT: "return less, or raise Limits(result_bytes=...)",
    FailureKind.BAD_DATA: "return numbers, strings, lists, dictionaries or numpy arrays, all finite",
    FailureKind.INVALID: "begin with a valid solution, however poor: a search needs one to improve on",
    FailureKind.OUT_OF_BOUNDS: "return a finite score, and widen bounds=(...) if they are wrong",
    FailureKind.STAGE: "begin with a solution that passes all stages, or ask for less in the stage",
    FailureKind.SCORER: "mend the scorer, or raise scorer_timeout_s if it ran out of time",
}


_AT_ODDS = ("the quick scorer says", "the exact scorer refuses")
"""How the referee begins where the two scorers of a problem differ."""


def _in_full(failure: Failure) -> str:
    """A failure's message, with the last line of its detail where that says more."""
    message, last = one_line(failure.message), last_line(failure.detail)
    told = last.strip(" []").partition(": ")[2]
    return message if failure.kind is FailureKind.BUILD or (told and told in message) else message + last


def _check_scored(problem: Problem, first: Evaluation, name: str) -> Iterator[Finding]:
    """An initial candidate has a score."""
    which = "the initial candidate" if name == named(0) else f"the initial candidate {name}"
    if first.failure is not None:
        kind = first.failure.kind
        at_odds = kind is FailureKind.INVALID and first.failure.message.startswith(_AT_ODDS)
        own = at_odds or kind in (FailureKind.SCORER, FailureKind.OUT_OF_BOUNDS)
        fix = _FIXES.get(kind, "mend the initial program until `discovery score` scores it")
        yield wrong(
            "scorer" if own else name,
            f"{which} does not score ({kind}): {_in_full(first.failure)}",
            "mend the scorer or verify.py: they must agree on what is valid, and up to rounding"
            if at_odds
            else fix,
        )
    elif first.score is not None and not problem.in_bounds(first.score.value):
        yield wrong(
            "scorer",
            f"{which}'s score {first.score.value!r} is not finite or outside the bounds",
            _FIXES[FailureKind.OUT_OF_BOUNDS],
        )


def _check_first(problem: Problem, first: Evaluation) -> Iterator[Finding]:
    yield from _check_scored(problem, first, named(0))
    if first.score is None:
        return
    value = first.score.value
    for best in problem.settings.known_best:
        if problem.direction.better(value, best.value):
            yield wrong(
                "direction",
                f"the initial candidate scores {value!r}, better than the known best {best.value!r} "
                f"({best.source}) when we {problem.direction}",
                "turn the direction round, or correct the known best",
            )
    if problem.settings.picture is not None and first.score.artifact is None:
        yield doubtful(
            "picture",
            "a picture is declared, but the score carries no artifact to draw",
            "return Score(value=..., artifact=the solution as plain data)",
        )
    limits = problem.settings.limits
    used_s = first.durations.sandbox_s if first.durations is not None else None
    if used_s is not None and problem.settings.repeats is not None:
        used_s /= problem.settings.repeats.count
    is_built = toolchain(problem.settings).build is not None  # which takes time of its own
    if not is_built and used_s is not None and used_s > 0.8 * limits.wall_s >= 0.8 * MIN_WALL_S:
        yield doubtful(
            "limits",
            f"the initial candidate takes {used_s:.3g} s of wall_s = {limits.wall_s:g} s",
            "raise wall_s, or hand out smaller work: better candidates are often slower",
        )


def _check_metrics(problem: Problem, first: Evaluation) -> Iterator[Finding]:
    """What selectors are told of candidates must be there."""
    if first.score is None:
        return
    settings = problem.settings
    features = {feature.name: feature for feature in settings.features}
    asked = [
        *(("features", name) for name in features),
        *(("objectives", each.metric) for each in settings.objectives),
    ]
    told = numbers(first.score.metrics, [name for _, name in asked])
    for where, name in asked:
        if name not in told:
            there = ", ".join(sorted(numbers(first.score.metrics, tuple(first.score.metrics)))) or "none"
            is_private = " (it is private)" if name in first.score.private else ""
            yield wrong(
                where,
                f"the initial candidate's score has no metric {name!r} that is a finite number{is_private}; it has: "
                f"{there}",
                f"return Score(value=..., metrics={{{name!r}: a number}}), or correct the name",
            )
        elif where == "features" and not features[name].low <= told[name] <= features[name].high:
            feature = features[name]
            yield doubtful(
                where,
                f"the initial candidate's {name} is {told[name]:g}, outside {feature.low:g} to {feature.high:g}: it "
                "shares a bin with all that lies beyond",
                "widen the feature's range so that most candidates lie in it",
            )


def _check_repeated(problem: Problem, first: Evaluation, again: Evaluation) -> Iterator[Finding]:
    a, b = _said(first), _said(again)
    if problem.settings.repeats is not None and first.score is not None and again.score is not None:
        if not compare(problem, first, again).holds:
            yield wrong(
                "repeats",
                f"the same program got {shown(first.score)}, then {shown(again.score)}: the intervals do not "
                "overlap, so the noise is more than what the repeats show of it",
                "make more of what the machine does alike for all repeats: cores=1, baseline=True, a higher count, or "
                "more work in each",
            )
        return
    if a != b:
        yield wrong(
            "scorer",
            f"not deterministic: the same program got {a}, then {b}",
            "seed every random draw in scorer and initial program, or declare deterministic=False",
        )


def _said(evaluation: Evaluation) -> str:
    if evaluation.score is not None:
        return repr(evaluation.score.value)
    return str(evaluation.failure.kind) if evaluation.failure is not None else "nothing"


def _check_broken(problem: Problem, initial: Score, broken: Evaluation) -> Iterator[Finding]:
    if broken.score is None or problem.direction.better(initial.value, broken.score.value):
        return
    yield doubtful(
        "scorer",
        f"a program that is broken on purpose scores {broken.score.value!r}, no worse than the "
        f"initial candidate's {initial.value!r}",
        "let the score depend on what the text says"
        if problem.settings.is_text
        else "let the score depend on what program.call or program.run gives, and ProgramFailed escape",
    )


def _scores_well(findings: list[Finding]) -> bool:
    return not any(
        f.level is Level.ERROR
        and (f.where in ("scorer", "packages", "isolation") or f.where.startswith("initial"))
        for f in findings
    )


def _eased(finding: Finding) -> Finding:
    """The missing entry of an initial candidate that scores: only ``discovery score`` misses it."""
    if finding.where != "entry":
        return finding
    return doubtful(finding.where, f"{finding.message}, though it scores", finding.fix)

"""What a problem brings along to check its scorers by, tried: its references, and wrong solutions to be refused.

Solutions that are data are scored directly, in this process, by the quick scorer and by the exact one; programs go
through the sandbox.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Protocol

from discovery.adversarial import wrong_solutions
from discovery.agreement import is_noisy
from discovery.data import Data
from discovery.declared import Reference, Wrong
from discovery.direct import reference_solutions, score_directly
from discovery.errors import Invalid, ProblemError, ProgramFailed, boundary
from discovery.findings import Finding, doubtful, from_message, one_line, wrong
from discovery.problem import Problem
from discovery.records import Evaluation
from discovery.referee import FILE, Verifier, agrees, load_verifier
from discovery.standalone import standalone


class ScoreSource(Protocol):
    """Evaluates a source text in a sandbox."""

    async def __call__(self, problem: Problem, source: str, warm_start: bytes | None = None, /) -> Evaluation:
        """A finished evaluation.

        Args:
            problem: The problem.
            source: The program.
            warm_start: What it is given, encoded; None for nothing.
        """
        ...


LEAST_WRONG = 10
"""So many wrong solutions a problem is to bring, where it brings any."""


async def tried(problem: Problem, score: ScoreSource, *, programs: bool) -> list[Finding]:
    """What is wrong with the references, the exact scorer, and what the scorers refuse.

    Args:
        problem: Its initial candidate scores.
        score: How to evaluate a program.
        programs: Whether references and wrong solutions that are programs are tried, too.
    """
    try:
        verifier = load_verifier(problem)
    except ProblemError as error:
        return [from_message("verify", one_line(str(error)))]
    findings = list(_check_script(verifier))
    try:
        references = reference_solutions(problem)
    except ProblemError as error:
        return [*findings, from_message("references", one_line(str(error)))]
    try:
        for file, solution, told in references:
            findings += _check_reference(problem, verifier, file, solution, told)
        count = 0
        for each in wrong_solutions(problem):
            count += 1
            if each.program is None:
                findings += _check_wrong(problem, verifier, each)
            elif programs:
                findings += _check_refused(each, await score(problem, problem.with_entry(each.program)))
    except ProblemError as error:
        return [*findings, from_message("adversarial", one_line(str(error)))]
    if 0 < count < LEAST_WRONG:
        findings.append(
            doubtful(
                "adversarial",
                f"there are {count} wrong solutions",
                f"think of {LEAST_WRONG} at least: what is a scorer of this problem fooled by?",
            )
        )
    if programs:
        known = {file for file, _, _ in references}
        for reference in problem.settings.references:
            if reference.file not in known:
                source = problem.path.with_name(reference.file).read_text(encoding="utf-8")
                findings += _check_program(
                    problem, reference, await score(problem, problem.with_entry(source))
                )
    return findings


def _check_script(verifier: Verifier | None) -> Iterator[Finding]:
    if verifier is None:
        return
    try:
        standalone(verifier.file.read_text(encoding="utf-8"), FILE, "certified")
    except (ProblemError, OSError, UnicodeDecodeError) as error:
        yield from_message("verify", one_line(str(error)))


def _check_reference(
    problem: Problem, verifier: Verifier | None, file: str, solution: Data, told: str | None
) -> Iterator[Finding]:
    try:
        with boundary("the scorer", ProblemError):
            score = score_directly(problem, solution)
            again = score_directly(problem, score.artifact) if verifier is not None else score
        exact = verifier.score(score.artifact) if verifier is not None else None
    except (Invalid, ProgramFailed, ProblemError) as error:
        yield wrong(
            "references", f"{file} does not score: {one_line(str(error))}", "mend the file, or the scorers"
        )
        return
    if again.value != score.value:
        yield wrong(
            "scorer",
            f"{file} scores {score.value!r}, and its artifact {again.value!r}",
            "let the artifact be the solution as it counts, in the form that the entry function returns",
        )
    if exact is None:
        return
    if not agrees(score.value, exact):
        yield wrong(
            "scorer",
            f"{file} scores {score.value!r}, and its exact score is {exact.decimal()}",
            f"mend the scorer or {FILE}: they must agree up to rounding",
        )
    if told != exact.decimal():
        finding = doubtful if told is None else wrong
        yield finding(
            "references",
            f"{file} has the exact score {exact.decimal()}, and {told or 'none'} is declared",
            f'declare Reference(..., exact="{exact.decimal()}")',
        )


def _check_wrong(problem: Problem, verifier: Verifier | None, each: Wrong) -> Iterator[Finding]:
    scorers: list[tuple[str, Callable[[], object], str]] = [
        ("the scorer", lambda: score_directly(problem, each.solution).value, each.says)
    ]
    if verifier is not None:
        scorers.append((FILE, lambda: verifier.score(each.solution).decimal(), ""))
    for who, judge, says in scorers:
        try:
            with boundary(who, ProblemError):
                value = judge()
        except (Invalid, ProgramFailed) as error:
            reason = error.reason if isinstance(error, Invalid) else error.message
            yield from _check_reason(each, who, reason, says)
        except ProblemError as error:
            yield wrong(
                "adversarial",
                f"{each.name}: {who} fails instead of refusing: {one_line(str(error))}",
                "raise Invalid(reason) for whatever is not a valid solution",
            )
        else:
            yield wrong(
                "adversarial",
                f"{each.name}: {who} takes it, for {value!s}",
                "raise Invalid(reason) for it before anything is computed of it",
            )


def _check_refused(each: Wrong, evaluation: Evaluation) -> Iterator[Finding]:
    """A wrong program must have failed, with the reason."""
    if evaluation.failure is not None:
        yield from _check_reason(each, "the scorer", evaluation.failure.message, each.says)
    elif evaluation.score is not None:
        yield wrong(
            "adversarial",
            f"{each.name}: the scorer takes it, for {evaluation.score.value!r}",
            "check every output that counts, and raise Invalid(reason)",
        )


def _check_reason(each: Wrong, who: str, reason: str, says: str) -> Iterator[Finding]:
    if says not in reason:
        yield doubtful(
            "adversarial",
            f"{each.name}: {who} says {one_line(reason)!r}, and not {says!r}",
            "say in the reason what is wrong, or correct what is expected of it",
        )


def _check_program(problem: Problem, reference: Reference, evaluation: Evaluation) -> Iterator[Finding]:
    if evaluation.score is None:
        said = one_line(evaluation.failure.message) if evaluation.failure is not None else "nothing"
        yield wrong(
            "references", f"{reference.file} does not score: {said}", "mend the program, or the scorer"
        )
        return
    told, value = reference.value, evaluation.score.value
    if (
        told is not None
        and not is_noisy(problem)
        and not math.isclose(told, value, rel_tol=1e-9, abs_tol=1e-12)
    ):
        yield wrong(
            "references",
            f"{reference.file} scores {value!r}, and {told!r} is declared",
            "correct the declaration; leave value=... out where the score depends on the machine",
        )

"""Having a run's initial candidates scored before its chains start, those that are stored already left as they are."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from discovery import beginnings
from discovery.beginnings import Start
from discovery.config import SearchConfig
from discovery.errors import ProblemError, cause
from discovery.evaluator import Evaluator
from discovery.form import form_of
from discovery.problem import Problem
from discovery.records import Candidate, initial_key
from discovery.starts import named
from discovery.storage.base import Storage


async def opened(
    problem: Problem,
    search: SearchConfig,
    evaluator: Evaluator,
    storage: Storage,
    run: str | None,
    *,
    reference: str,
) -> list[Start]:
    """What the chains of a run start from: as it is stored, else scored now, all at once.

    Args:
        problem: Says what there is to start from.
        search: How many chains there are: what none of them starts from is not scored; and what is one program.
        evaluator: Started.
        storage: Where the run lives.
        run: Its id; None for one that is not stored.
        reference: How the user names the problem.

    Raises:
        ProblemError: One of them has no score.
        SandboxError: As for :meth:`~discovery.evaluator.Evaluator.evaluate`, like UsageError.
    """

    async def scored(number: int) -> Start:
        key = initial_key(number)
        candidate = storage.candidate(run, key) if run is not None else None
        if candidate is None:
            source = problem.initials[number]
            form = None if search.duplicates == "source" else form_of(problem, source)
            now = datetime.now(UTC)
            candidate = Candidate(key=key, source=source, parents=(), created_at=now, form=form)
        return candidate, await evaluator.evaluate(candidate)

    starts = [] if run is None else beginnings.scored(storage, run)
    known = {candidate.key for candidate, _ in starts}
    wanted = range(min(search.chains, len(problem.initials)))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(scored(n)) for n in wanted if initial_key(n) not in known]
    except BaseExceptionGroup as errors:
        raise cause(errors) from errors
    starts = sorted([*starts, *(task.result() for task in tasks)], key=lambda start: start[0].key)
    for candidate, evaluation in starts:
        failure = evaluation.failure
        if failure is not None:
            number = candidate.key.index
            which = f"the initial candidate{f' {named(number)}' if number else ''}"
            raise ProblemError(
                f"{which} of {problem.name!r} does not score ({failure.kind}): {failure.message}; "
                f"`discovery check {reference}` tells more"
            )
    return starts

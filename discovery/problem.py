r"""What a user declares: a problem, by one decorated scorer function.

The smallest plugin is one file::

    from discovery import problem

    @problem(name="half", statement="Return a number close to 0.5.", initial="def solve():\n    return 0.0\n")
    def score(program):
        return -abs(program.call("solve") - 0.5)

The usual one is a folder with ``problem.py``, ``statement.md`` and ``initial.<ext>`` beside it, and a ``prompt.md``
where prompts shall have words of their own (:mod:`discovery.generation.templates`). Where candidates are of several
files, a folder ``initial`` holds them (:mod:`discovery.bundle`).

A scorer runs in a process of its own that never imports candidate code. It gets a :class:`Program`, whose ``call``
and ``run`` execute the candidate inside a sandbox and hand back *data*; the scorer decides validity and recomputes
the objective from that data alone.
"""

from __future__ import annotations

import glob
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from discovery import starts
from discovery.blocks import Frame
from discovery.bundle import BundleFrame, Layout, bundled, layout, unbundled
from discovery.declared import Feature, KnownBest, Limits, Objective, Reference, Repeats, Stage
from discovery.errors import ProblemError
from discovery.expected import EXPECTED, ONE_OR_MORE
from discovery.initial import baseline_source, initial_files
from discovery.program import DATA_LANGUAGE, TEXT_LANGUAGES, Program
from discovery.records import Direction, Json, Score
from discovery.versions import version_of

Scorer = Callable[[Program], "Score | float"]
Picture = Callable[[Json, Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A declared problem.

    Args:
        name: Lower-case letters, digits and dashes.
        statement: Markdown that the model sees.
        initial: Source text of the initial candidate; of several files their bundle.
        scorer: The decorated function.
        direction: Whether higher scores are better.
        settings: Everything else that was declared.
        path: The plugin's file.
        version: Hash of statement, initial candidate, template, baseline and scorer files: of a folder all ``*.py``
            and ``data-*`` but what says nothing of a score.
        template: The folder's ``prompt.md``, a template of prompts; None where there is none.
        baseline: Source of the program that repeats are scored in turn with, where it is not the initial candidate.
        files: Paths of a candidate's files, the entry first; empty where candidates are one text.
        others: Source texts of further initial candidates (:mod:`discovery.starts`).
    """

    name: str
    statement: str
    initial: str
    scorer: Scorer
    direction: Direction
    settings: ProblemSettings
    path: Path
    version: str
    template: str | None = None
    baseline: str | None = None
    files: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def initials(self) -> tuple[str, ...]:
        """Source texts of all initial candidates; chain c starts from the one of number c modulo how many there are."""
        return (self.initial, *self.others)

    @property
    def compared_with(self) -> str:
        """Source of the program that repeats are scored in turn with, where they are."""
        return self.initial if self.baseline is None else self.baseline

    @property
    def frame(self) -> Frame | BundleFrame:
        """The EVOLVE-BLOCK frame of the initial candidate."""
        return BundleFrame.of(self.initial) if self.files else Frame.of(self.initial)

    @property
    def entry_text(self) -> str:
        """The text of the initial candidate's entry file, or all of it where that is one text."""
        return self.layout(self.initial).source

    def layout(self, source: str) -> Layout:
        """How a candidate lies in a sandbox; raises BundleError where it is none of this problem."""
        return layout(source, self.files)

    def with_entry(self, text: str) -> str:
        """The initial candidate with another text in its entry file: that text, where there is but one."""
        return bundled({**unbundled(self.initial), self.files[0]: text}) if self.files else text

    def checked(self, result: Score | float) -> Score:
        """What the scorer returned, as a Score.

        Raises:
            ProblemError: It is neither a number nor a Score, or the Score's feedback is not text.
        """
        if isinstance(result, Score):
            value: Any = result.value
        else:
            value = result
        if hasattr(value, "item") and not isinstance(value, (int, float)):
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ProblemError(
                f"the scorer of {self.name!r} returned {value!r} ({type(value).__name__}); "
                "return a float or a Score"
            )
        value = float(value)
        if isinstance(result, Score):
            if result.feedback is not None and not isinstance(result.feedback, str):
                raise ProblemError(
                    f"the scorer of {self.name!r} gave {type(result.feedback).__name__} as feedback; give text"
                )
            return Score(
                value=value,
                metrics=result.metrics,
                private=result.private,
                feedback=result.feedback,
                artifact=result.artifact,
            )
        return Score(value=value)

    def in_bounds(self, value: float) -> bool:
        """Whether a score is finite and within the declared bounds, ends included."""
        low, high = self.settings.bounds
        return math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSettings:
    """The optional part of a declaration; see :func:`problem` for each field."""

    entry: str = "solve"
    bounds: tuple[float | None, float | None] = (None, None)
    limits: Limits = field(default_factory=Limits)
    language: str = "python"
    command: tuple[str, ...] | None = None
    build: tuple[str, ...] | None = None
    build_limits: Limits | None = None
    image: str | None = None
    packages: tuple[str, ...] = ()
    isolation: tuple[str, ...] = ()
    max_jump: float | None = None
    repeats: Repeats | None = None
    deterministic: bool = True
    scorer_timeout_s: float = 60.0
    exact_timeout_s: float = 120.0
    known_best: tuple[KnownBest, ...] = ()
    references: tuple[Reference, ...] = ()
    parameters: Mapping[str, Json] = field(default_factory=dict)
    cost_s: float | None = None
    out_of_reach: str | None = None
    domain: str | None = None
    picture: Picture | None = None
    features: tuple[Feature, ...] = ()
    objectives: tuple[Objective, ...] = ()
    stages: tuple[Stage, ...] = ()
    schema: Mapping[str, Json] | None = None
    warm_start: bool = False
    entry_file: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether solutions are texts that nothing runs: the scorer reads ``program.source``."""
        is_run = self.command is not None or self.build is not None
        return self.language.lower() in TEXT_LANGUAGES and not is_run


def problem(
    *,
    name: str,
    statement: str | None = None,
    initial: str | Sequence[str] | None = None,
    direction: str | Direction = Direction.MAXIMIZE,
    variant: str | None = None,
    **settings: Any,
) -> Callable[[Scorer], Problem]:
    """Declare a problem by decorating its scorer.

    Args:
        name: Lower-case letters, digits and dashes.
        statement: Markdown for the model. None reads ``statement.md`` beside the file.
        initial: Source text of the initial candidate, or a list of several, which chains start from in turn. None
            reads the one file ``initial.*`` beside the file, and further ones in a folder ``initials``; or all files of
            the folder ``initial``: then candidates are of several files.
        direction: ``maximize`` or ``minimize``.
        variant: Which one of a family it is (see :func:`discovery.family.family`): texts that are not given are read
            from ``statement-VARIANT.md`` and ``initial-VARIANT.*``, or from ``statement.md`` and ``initial.*`` with
            the variant in place of each ``{variant}``.
        **settings: Fields of ``ProblemSettings``:
            ``entry`` (name of the function whose return value is the solution; ``discovery score`` takes such
            values from JSON files), ``bounds`` (lowest and highest possible score, None for no bound),
            ``limits`` (a :class:`Limits`), ``language`` (how the model is told to answer; ``c``, ``cpp`` and ``rust``
            also mean their usual ``build`` and ``image``, unless ``command`` runs the program as it is; with ``text``
            or ``markdown`` and no ``command`` solutions are texts, such as prompts: nothing runs, and the scorer reads
            ``program.source``),
            ``command`` (how
            ``Program.run`` starts the program, ``"{program}"`` standing for its file and ``"{binary}"`` for what was
            built of it), ``build`` (a command that makes ``"{binary}"`` of ``"{program}"``, run once per source in
            the sandbox), ``build_limits`` (a :class:`Limits` for it), ``image`` (what else the sandbox holds: a recipe
            under ``sandboxes/``, such as ``cpp``, or a Docker image), ``packages`` (importable inside the sandbox),
            ``isolation`` (properties that a sandbox must have been verified to hold, or a level of them),
            ``max_jump`` (the largest plausible improvement over the run's best at once, in the score's units; a
            larger one is scored again from nothing before it counts), ``repeats`` (a :class:`Repeats`, for noisy or
            timed scores), ``deterministic`` (equal sources get equal scores), ``scorer_timeout_s`` (for the
            whole scoring of one candidate, candidate's time included; of repeats for each), ``exact_timeout_s`` (for
            the exact score that follows a second scoring), ``known_best``,
            ``references`` (a list of :class:`Reference`: solutions beside the file), ``parameters`` (what the exact
            scorer in ``verify.py`` gets by name, beside the solution; numbers and texts), ``cost_s`` (seconds that an
            evaluation of the initial candidate takes on a usual core, as measured), ``out_of_reach`` (why the embedded
            generator cannot be expected to improve on the initial candidate in 200 evaluations), ``domain``,
            ``picture`` (a function ``(artifact, axes)`` that draws a solution on matplotlib axes),
            ``features`` (a list of :class:`Feature`: public metrics by which candidates differ in kind; the selector
            ``islands`` keeps the best of each kind), ``objectives`` (a list of :class:`Objective`: public metrics that
            count beside the score; the selector ``pareto`` continues from what no other candidate beats in all),
            ``stages`` (a list of :class:`Stage`: cheap first scores that a candidate must reach, in this order),
            ``entry_file`` (which of several files is executed; the one named ``main`` unless said),
            ``warm_start`` (whether the scorer hands the best construction of the search so far to its program:
            ``program.call("solve", program.warm_start)``; it is the artifact of the chain's best candidate) and
            ``schema`` (a JSON Schema: solutions are data, JSON documents that fit it, and nothing runs; the language
            is ``json``, the initial candidate a document, and the scorer reads ``program.data``).

    Returns:
        A decorator that turns the scorer into a :class:`Problem`.

    Raises:
        DeclarationError: Fields are missing, unknown or out of range; each fault is named with its fix.
    """

    def declare(scorer: Scorer) -> Problem:
        path = Path(inspect.getsourcefile(inspect.unwrap(scorer)) or ".").resolve()
        faults: list[str] = []
        text = _text(statement, path, "statement{}.md", "statement", variant, faults)
        first, others = starts.split(initial, faults)
        declared_settings = _settings(settings, faults)
        files = initial_files(path, variant, declared_settings, faults, is_given=initial is not None)
        if files is None:
            source = _text(first, path, "initial{}.*", "initial", variant, faults)
        else:
            source = bundled(files) if files else ""
        others = starts.beside(path, variant, files is None, faults) if first is None else others
        template = _template(path, variant, faults)
        baseline = baseline_source(declared_settings.repeats, path, tuple(files or ()), faults)
        declared = Problem(
            name=str(name),
            statement=text,
            initial=source,
            scorer=scorer,
            direction=_direction(direction, faults),
            settings=declared_settings,
            path=path,
            version=version_of(text, source, template, baseline, path, others),
            template=template,
            baseline=baseline,
            files=tuple(files or ()),
            others=others,
        )
        if not _NAME.fullmatch(declared.name):
            faults.insert(0, f"the name is {name!r}; use lower-case letters, digits and dashes")
        try:
            declared.frame  # noqa: B018  raises when the markers are wrong
        except ProblemError as error:
            faults.append(f"the initial candidate's markers: {error}")
        else:
            starts.check(source, others, faults)
        if faults:
            raise DeclarationError(faults, declared)
        return declared

    return declare


class DeclarationError(ProblemError):
    """A declaration has faults; all of them are found at once.

    Args:
        faults: One line each: what is wrong and what to write instead.
        partial: The problem as far as it can be built, with defaults for what is faulty; for checking the
            rest of it, never for scoring.
    """

    def __init__(self, faults: Sequence[str], partial: Problem) -> None:
        more = f" (and {len(faults) - 1} more: `discovery check` lists all)" if faults[1:] else ""
        super().__init__(f"problem {partial.name!r}: {faults[0]}{more}")
        self.faults = tuple(faults)
        self.partial = partial


_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def _direction(direction: str | Direction, faults: list[str]) -> Direction:
    if direction in tuple(Direction):
        return Direction(direction)
    faults.append(f"direction is {direction!r}; use 'maximize' or 'minimize'")
    return Direction.MAXIMIZE


def _settings(given: Mapping[str, Any], faults: list[str]) -> ProblemSettings:
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in EXPECTED:
            faults.append(f"unknown setting {key!r}; known: {', '.join(sorted(EXPECTED))}")
            continue
        holds, expected = EXPECTED[key]
        if not holds(value):
            faults.append(f"{key} is {value!r}; it must be {expected}")
        elif isinstance(value, ONE_OR_MORE) or (key == "isolation" and isinstance(value, str)):
            values[key] = (value,)
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    if values.get("schema") is not None:
        if values.setdefault("language", DATA_LANGUAGE).lower() != DATA_LANGUAGE:
            faults.append(
                f"language is {values['language']!r}, and with a schema solutions are JSON; leave one of them out"
            )
        for key in ("command", "build"):
            if values.get(key) is not None:
                faults.append(f"there is a {key}, and with a schema nothing runs; leave one of them out")
    made = ProblemSettings(**values)
    if made.warm_start and (made.schema is not None or made.is_text):
        faults.append("there is a warm_start, and nothing runs that could be given one; leave it out")
    return made


def _text(
    given: object, path: Path, pattern: str, argument: str, variant: str | None, faults: list[str]
) -> str:
    if given is not None and not isinstance(given, str):
        usual = pattern.format("")
        faults.append(
            f"the {argument} is of type {type(given).__name__}; give one text, or leave it out for a file {usual}"
        )
        return ""
    text = given if given is not None else _read(path, pattern, argument, variant, faults)
    if text is not None and not text.strip():
        what = "say what is asked" if argument == "statement" else "write a program that scores"
        faults.append(f"the {argument} is empty; {what}")
    return text or ""


def _template(path: Path, variant: str | None, faults: list[str]) -> str | None:
    """The template of prompts in a problem's folder, if there is one; what is in it, others judge."""
    names = ("prompt{}.md", f"-{glob.escape(variant)}" if variant is not None else "")
    is_there = path.name == "problem.py" and any(
        _files(path, names[0].format(part)) for part in (names[1], "")
    )
    return _read(path, "prompt{}.md", "template", variant, faults) if is_there else None


def _read(path: Path, pattern: str, argument: str, variant: str | None, faults: list[str]) -> str | None:
    if variant is not None:
        found = _files(path, pattern.format(f"-{glob.escape(variant)}"))
        found = found or _files(path, pattern.format(""))
    else:
        found = _files(path, pattern.format(""))
    if len(found) == 1:
        try:
            text = found[0].read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"{found[0]} cannot be read: {error}; write it as UTF-8 text")
        else:
            return text if variant is None else text.replace("{variant}", variant)
    elif found:
        names = ", ".join(p.name for p in found)
        faults.append(f"several files match {pattern.format('')}: {names}; keep one")
    else:
        faults.append(
            f"no {argument}: there is no {pattern.format('')} beside {path}; write one, or pass {argument}=..."
        )
    return None


def _files(path: Path, pattern: str) -> list[Path]:
    return sorted(p for p in path.parent.glob(pattern) if p.is_file())

"""What is the same in all prompts of a run: what solutions are, the rules they keep, and how to answer."""

from __future__ import annotations

import json
from collections.abc import Mapping

from discovery.blocks import END, START
from discovery.bundle import BundleFrame
from discovery.declared import Limits
from discovery.generation.fences import fenced, tag, tag_of
from discovery.problem import Problem
from discovery.records import Direction, Json
from discovery.toolchain import in_words, toolchain

EDIT_FORMAT = """\
<<<<<<< SEARCH
lines of that program, exactly as they stand there
=======
the lines that take their place
>>>>>>> REPLACE"""


def kind(problem: Problem) -> str:
    """What solutions are, in the plural."""
    if problem.settings.is_text:
        return "texts"
    return "programs" if problem.settings.schema is None else "solutions"


def better(problem: Problem) -> str:
    """Which scores are better: higher or lower ones."""
    return "higher" if problem.direction is Direction.MAXIMIZE else "lower"


def rules(problem: Problem) -> str:
    """The rules, each a line of a list."""
    if problem.settings.is_text:
        return "\n".join([*_text_rules(problem, better(problem)), *_frozen_files(problem)])
    if problem.settings.schema is not None:
        return "\n".join(_data_rules(better(problem), problem.settings.schema))
    return "\n".join([*_program_rules(problem, better(problem)), *_frozen_files(problem)])


def answer_format(problem: Problem, *, edits: bool = False) -> str:
    """How to answer.

    Args:
        problem: Whose solutions they are.
        edits: Whether edits of the main parent are asked for, instead of the whole.
    """
    if problem.settings.schema is not None:
        return (
            "Answer with one JSON document, whole, and nothing else: no words around it, no comments, "
            "no placeholders."
        )
    think = "Think first, briefly: what limits the score, and what change would lift it. Then "
    fence = tag(problem.settings.language)
    what = "text" if problem.settings.is_text else "program"
    if problem.files:
        return f"{think}{_files_format(problem, what, edits)}"
    if edits:
        return (
            f"{think}change the {what} that is to be improved by one or several blocks of this form, last of all:\n\n"
            f"{EDIT_FORMAT}\n\n"
            f"What stands after SEARCH must be whole lines of that {what}, as many as make the place the only one, "
            "indented as they are there. Blocks are applied in their order. Leave nothing out inside a block: no "
            "ellipsis, no placeholders. "
            f"Where nearly all of it changes, give the whole {what} in one fenced code block instead, which starts "
            f"with ```{fence}."
        )
    if problem.settings.is_text:
        return (
            f"{think}give the whole text in "
            f"one fenced code block that starts with ```{fence} and comes last; where it holds fences of its own, use "
            "more backticks around it. No fragments, no differences, no placeholders."
        )
    return (
        f"{think}give the whole "
        f"program, complete and runnable, in one fenced code block that starts with ```{fence} and comes "
        "last. No fragments, no differences, no placeholders."
    )


def _files_format(problem: Problem, what: str, edits: bool) -> str:
    """How to answer where candidates are of several files."""
    example = next(iter(problem.files))
    frame = problem.frame
    if isinstance(frame, BundleFrame):
        example = next(iter(frame.frames))
    block = (
        "in one fenced code block whose first line names its path after the language, as in "
        f"```{tag_of(example)} {example}"
    )
    if edits:
        return (
            f"change the files of the {what} that is to be improved by one or several blocks of this form, last of "
            "all, each with the path of its file on the line before it:\n\n"
            f"{example}\n{EDIT_FORMAT.replace('that program', 'that file')}\n\n"
            "What stands after SEARCH must be whole lines of that file, as many as make the place the only one, "
            "indented as they are there. Blocks are applied in their order. Leave nothing out inside a block: no "
            "ellipsis, no placeholders. Files without a block stay as they are; no file can be added or removed. "
            f"Where nearly all changes, give instead of such blocks each file that changes, whole, {block}."
        )
    return (
        f"give each file that changes, whole, {block}, last of all. Files that are not given stay as they are in the "
        f"{what} that is to be improved; no file can be added or removed. No fragments, no differences, no "
        "placeholders. Where a file holds fences of its own, use more backticks around it."
    )


def _names(problem: Problem) -> str:
    return ", ".join(f"`{path}`" for path in problem.files)


def _frozen_files(problem: Problem) -> list[str]:
    """The files that never change, where there are some: the same in all programs, so they are shown once."""
    frame = problem.frame
    if not isinstance(frame, BundleFrame) or not frame.frozen:
        return []
    shown = [f"`{path}`:\n\n{fenced(text, tag_of(path))}" for path, text in frame.frozen.items()]
    return ["", "Files that stay as they are:", "", "\n\n".join(shown)]


def _program_rules(problem: Problem, than: str) -> list[str]:
    settings = problem.settings
    chain = toolchain(settings)
    if chain.build is not None and chain.command is not None:
        build, command = (in_words(words, settings, problem.files) for words in (chain.build, chain.command))
        use = f"It is built by `{build}` and run as a process of its own: `{command}`."
    elif chain.command is not None:
        use = f"It is run as a process of its own: `{' '.join(chain.command)}`."
    else:
        where = f" in `{problem.files[0]}`" if problem.files else ""
        use = f"It must define `{settings.entry}`{where}, which the scorer calls as the problem states."
    rules = [
        f"The program is written in {settings.language}. {use}",
        f"A separate scorer judges what the program hands out, and nothing else; {than} scores are better.",
        _limits(settings.limits),
    ]
    if settings.warm_start:
        who = "It" if chain.command is not None else f"`{settings.entry}`"
        rules.append(
            f"{who} is given the best construction found so far, as plain data and in the way that the problem states; "
            "at first there may be none. It may go on from that rather than begin anew. What it hands out is judged, "
            "and given to later programs if it is the best."
        )
    if settings.packages:
        rules.append(f"Besides the standard library it may use: {', '.join(settings.packages)}.")
    elif settings.language.lower() == "python":
        rules.append("It may use the standard library only.")
    rules.append("It has no network, no other files and no arguments beyond those stated.")
    if problem.files:
        used = f"in one folder; `{problem.files[0]}` is executed, with the others beside it."
        rules.insert(1, f"It is made of the files {_names(problem)}, {used}")
    rules += _regions(problem)
    return [f"- {rule}" for rule in rules]


def _text_rules(problem: Problem, than: str) -> list[str]:
    rules = [
        "A solution is a text, which is read as the problem states; nothing runs.",
        *([f"It is made of the files {_names(problem)}."] if problem.files else []),
        f"A separate scorer judges it; {than} scores are better.",
        *_regions(problem),
    ]
    return [f"- {rule}" for rule in rules]


def _regions(problem: Problem) -> list[str]:
    """What may change, where not all may."""
    regions = problem.frame.blocks
    if not regions:
        return []
    which = "the region" if regions == 1 else f"the {regions} regions"
    return [
        f"Only {which} between the lines with {START} and {END} may change. Everything outside is "
        "put back as it was. Keep every marker line."
    ]


def _data_rules(than: str, schema: Mapping[str, Json]) -> list[str]:
    return [
        f"- A solution is data: one JSON document. A scorer judges it; {than} scores are better.",
        "- All numbers are finite, and no object has a name twice.",
        "- It must fit this JSON Schema:",
        "",
        fenced(json.dumps(schema, ensure_ascii=False), "json"),
    ]


def _limits(limits: Limits) -> str:
    memory = limits.memory_bytes / (1 << 20)
    return (
        f"Each use of it may take {limits.wall_s:g} s, {memory:.0f} MiB of memory and return "
        f"{limits.result_bytes / (1 << 20):g} MiB; a program that takes more has no score."
    )

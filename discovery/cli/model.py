"""``discovery model``: models made here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from discovery.cli.app import app, err, out, print_json, program

model = App(name="model", help="Make models.", help_format="plaintext")
app.command(model)


@model.command
def new_tiny(folder: Path, *, seed: int = 0, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Make a small model that can be trained on a laptop, from nothing: about a minute of one core.

    It proposes valid programs for zigzag-8, -12, -16, -20 and -24, and does not know which are good ones.

    Args:
        folder: A new folder for it.
        seed: Of its weights and lessons.
        json: Print one JSON object on standard output, nothing else.
    """
    from discovery.training.tiny import make_tiny

    made = make_tiny(
        folder.expanduser().absolute(),
        seed=seed,
        tell=lambda line: err.print(f"  {line}", style="dim", markup=False),
    )
    if json:
        print_json(
            {
                "folder": str(made.folder),
                "parameters": made.parameters,
                "vocabulary": made.vocabulary,
                "context_tokens": made.context_tokens,
                "prompt_tokens": dict(made.prompt_tokens),
                "valid": dict(made.valid),
                "kept": {name: round(share, 3) for name, share in made.kept.items()},
                "seconds": round(made.seconds, 1),
            }
        )
        return 0
    out.print(
        f"{folder}: {made.parameters:,} parameters, {made.vocabulary:,} tokens, context {made.context_tokens:,}; "
        f"{made.seconds:.0f} s of processor time",
        markup=False,
    )
    for name, share in made.valid.items():
        out.print(
            f"  {name:9}  {share:4.0%} of its answers are valid; they keep {made.kept[name]:.0%} of a parent; "
            f"prompts of up to {made.prompt_tokens[name]} tokens",
            markup=False,
        )
    out.print(f"serve it: {program()} serve {folder} --engine torch", markup=False)
    return 0

"""The flow of a closed loop, for deployments: ``prefect deploy flows/closed_loop.py:closed_loop``.

``discovery loop`` does the same in its own process. Here a Prefect worker does it, on the machine where it runs. A flow
run that was killed is gone on with by running it again with the same folder.
"""

from typing import Any

from discovery.orchestration.loop import flow, loop_run


@flow(name="closed loop")
async def closed_loop(
    out: str,
    model: str | None = None,
    problems: list[str] | None = None,
    held_out: list[str] | None = None,
    settings: dict[str, Any] | None = None,
    storage: str | None = None,
) -> str:
    """Start a loop, or go on with the one in its folder.

    Args:
        out: Folder of the loop.
        model: Folder of the weights to begin with.
        problems: Names or paths of the problems to learn from.
        held_out: Names or paths of those to judge by.
        settings: {"rounds": {"rounds": 2}, "run": {"search": {...}}, "filter": {...}, "train": {...}}, and "engine".
        storage: Database URL; None is the default of the worker's folder.

    Returns:
        Folder of the weights that the loop ends with.
    """
    return await loop_run(model, problems or [], held_out or [], settings or {}, storage, out)

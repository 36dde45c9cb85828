"""The flow that runs one discovery run, for deployments: ``prefect deploy flows/discover.py:discover``.

``discovery run`` does the same in its own process. Here a Prefect worker does it, on the machine where it runs;
every parameter is plain data, so that a deployment can be started from Prefect's interface.
"""

from typing import Any

from discovery.orchestration.flow import discover_run, flow


@flow(name="discover")
async def discover(
    problem: str = "circle-packing-26",
    settings: dict[str, Any] | None = None,
    storage: str | None = None,
    resume: str | None = None,
) -> str:
    """Start a run, or resume one.

    Args:
        problem: Name or path of the problem.
        settings: As in a configuration file: {"search": {"chains": 4}, "generator": {...}, ...}.
        storage: Database URL; None is the default of the worker's folder.
        resume: Id of a run to go on with; problem and settings are then its own.

    Returns:
        The run's id.
    """
    return await discover_run({**(settings or {}), "problem": problem}, storage, resume)


if __name__ == "__main__":
    import asyncio

    print(asyncio.run(discover()))

"""The flow of one post-training, for deployments: ``prefect deploy flows/post_train.py:post_train``.

Runs are exported and a model is trained on them, as ``discovery export`` and ``discovery train`` do. A flow run that
was killed is gone on with by running it again with the same folder.
"""

from typing import Any

from discovery.orchestration.loop import flow, post_train_run


@flow(name="post-train")
async def post_train(
    runs: list[str],
    model: str,
    out: str,
    settings: dict[str, Any] | None = None,
    storage: str | None = None,
) -> str:
    """Train a model on what runs found.

    Args:
        runs: Ids of the runs.
        model: Folder of the weights to train on.
        out: Folder of the export and of the new weights.
        settings: {"filter": {"top_percent": 10}, "train": {"epochs": 2}, "sandbox": {...}}.
        storage: Database URL; None is the default of the worker's folder.

    Returns:
        Folder of the new weights.
    """
    return await post_train_run(runs, model, settings or {}, storage, out)

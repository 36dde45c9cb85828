"""The record of a run: made before it starts, read back, and checked before it goes on."""

from __future__ import annotations

import dataclasses
import platform
import secrets
import socket
from datetime import UTC, datetime

from discovery.config import RunConfig, from_dict, to_dict
from discovery.errors import ConfigError, ProblemError
from discovery.problem import Problem
from discovery.records import RunStatus
from discovery.storage.base import RunRecord


def new_run(problem: Problem, config: RunConfig) -> RunRecord:
    """The record of a run that is about to start; not stored yet.

    The overlap of its steps is settled here: other slots on resume must not change what they learn from. So are its
    rungs: another budget on resume must not change which chains were pruned.

    Raises:
        ConfigError: A server's URL holds credentials, which would be stored, or there are more rungs than there are
            chains or evaluations for.
    """
    members = (url for member in config.generator.members for url in member.base_url)
    for url in (*config.generator.base_url, *members, *config.adviser.base_url):
        place, _, server = url.partition("://")[2].partition("/")[0].rpartition("@")
        if place:
            raise ConfigError(
                f"the URL of the model server {server} holds credentials, which would be stored with the run; give it "
                "by OPENAI_BASE_URL instead, which is not stored, or a key by OPENAI_API_KEY"
            )
    now = datetime.now(UTC)
    config = dataclasses.replace(
        config,
        search=dataclasses.replace(config.search, overlap=config.overlap),
        adapt=dataclasses.replace(config.adapt, at=config.rungs_at),
    )
    return RunRecord(
        id=f"{problem.name}-{now:%m%d-%H%M%S}-{secrets.token_hex(2)}",
        problem=problem.name,
        problem_path=str(problem.path),
        problem_version=problem.version,
        direction=problem.direction,
        config=to_dict(config),
        status=RunStatus.CREATED,
        created_at=now,
        facts={"python": platform.python_version(), "host": socket.gethostname()},
    )


def config_of(record: RunRecord) -> RunConfig:
    """The configuration that a run was started with.

    One of a version that knew equal sources only goes on so: what its candidates drew is seeded from those.
    """
    search = {"duplicates": "source", **(record.config.get("search") or {})}
    return from_dict(RunConfig, {**record.config, "search": search})


def resumed(record: RunRecord, config: RunConfig, problem: Problem) -> RunRecord:
    """Check that a stored run can go on with this problem and configuration.

    Args:
        record: The stored run.
        config: The configuration to go on with: slots, sandbox and budget may differ from the stored one.
        problem: The problem as it is now.

    Returns:
        The record to go on with, whose configuration is stored as the run's own from then on; all but the
        sandbox, which is this process's.

    Raises:
        ProblemError: The problem has changed since; scores would not compare.
    """
    if problem.version != record.problem_version:
        raise ProblemError(
            f"problem {record.problem!r} has changed since run {record.id} started (version "
            f"{record.problem_version[:12]}, now {problem.version[:12]}); its scores would not compare. "
            "Restore the files, or start a new run"
        )
    stored = dataclasses.replace(config, sandbox=config_of(record).sandbox)
    return dataclasses.replace(record, config=to_dict(stored))

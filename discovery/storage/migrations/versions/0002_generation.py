"""What a real server gives: prompt token ids, forced tokens, time series; and settings of sampling of their own.

The stored configurations get the form that this version reads, so that runs made before can be resumed. The new
columns may be empty: a process of the version before that is still at work goes on inserting without them.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SAMPLING = ("temperature", "top_p", "max_tokens", "extra")


def upgrade() -> None:
    op.add_column("completions", sa.Column("prompt_token_ids", sa.LargeBinary()))
    op.add_column("completions", sa.Column("forced_from", sa.Integer()))
    op.add_column("completions", sa.Column("forced_to", sa.Integer()))
    op.create_table(
        "measurements",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("points", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run", "at"),
        sqlite_with_rowid=False,
    )
    _rewrite_configurations(op.get_bind())


def _rewrite_configurations(connection: sa.Connection) -> None:
    runs = sa.table("runs", sa.column("key", sa.Integer), sa.column("config", sa.LargeBinary))
    for key, stored in connection.execute(sa.select(runs.c.key, runs.c.config)).all():
        config = json.loads(bytes(stored).decode("utf-8", "surrogatepass"))
        if isinstance(config.get("generator"), dict):
            config["generator"] = _generator(config["generator"])
        if config.get("prices") == {"prompt": 0, "completion": 0}:
            config["prices"] = {}  # meant that none was known
        text = json.dumps(config, ensure_ascii=False, separators=(",", ":"))
        at_key = runs.update().where(runs.c.key == key)
        connection.execute(at_key.values(config=text.encode("utf-8", "surrogatepass")))


def _generator(old: dict[str, Any]) -> dict[str, Any]:
    new = {name: value for name, value in old.items() if name not in SAMPLING}
    sampling = {name: old[name] for name in SAMPLING if name in old}
    if sampling:
        new["sampling"] = sampling | dict(new.get("sampling") or {})
    url = new.get("base_url", [])
    if url is None or isinstance(url, str):
        new["base_url"] = [] if url is None else [url]
    return new

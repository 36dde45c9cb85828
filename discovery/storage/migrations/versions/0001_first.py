"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("problem_path", sa.LargeBinary(), nullable=False),
        sa.Column("problem_version", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("config", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("wall_s", sa.Double(), nullable=False),
        sa.Column("message", sa.LargeBinary()),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sa.UniqueConstraint("id"),
    )
    op.create_table(
        "leases",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chain", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "chain"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blobs",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("codec", sa.SmallInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "steps",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chain", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("parents", sa.Text(), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("selection", sa.LargeBinary(), nullable=False),
        sa.Column("committed", sa.Text()),
        sa.Column("reason", sa.LargeBinary()),
        sa.Column("best_before", sa.Double()),
        sa.Column("best_after", sa.Double()),
        sa.Column("planned_at", sa.BigInteger(), nullable=False),
        sa.Column("committed_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("run", "chain", "step"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "prompts",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chain", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("parents", sa.Text(), nullable=False),
        sa.Column("messages", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run", "chain", "step"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "completions",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chain", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("idx", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger()),
        sa.Column("completion_tokens", sa.BigInteger()),
        sa.Column("reasoning_tokens", sa.BigInteger()),
        sa.Column("cached_tokens", sa.BigInteger()),
        sa.Column("has_tokens", sa.Boolean(), nullable=False),
        sa.Column("text", sa.LargeBinary()),
        sa.Column("reasoning", sa.LargeBinary()),
        sa.Column("finish_reason", sa.LargeBinary()),
        sa.Column("model", sa.LargeBinary(), nullable=False),
        sa.Column("sampling", sa.LargeBinary(), nullable=False),
        sa.Column("seed", sa.Text()),
        sa.Column("token_ids", sa.LargeBinary()),
        sa.Column("logprobs", sa.LargeBinary()),
        sa.Column("latency_s", sa.Double()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "chain", "step", "idx"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "candidates",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chain", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("idx", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source_hash", sa.LargeBinary(), nullable=False),
        sa.Column("parents", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "chain", "step", "idx"),
        sqlite_with_rowid=False,
    )
    op.create_index("candidates_by_source", "candidates", ["run", "source_hash", "chain", "step", "idx"])
    op.create_table(
        "evaluations",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chain", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("idx", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("purpose", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("score", sa.Double()),
        sa.Column("failure", sa.Text()),
        sa.Column("duplicate_of", sa.Text()),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("wall_s", sa.Double()),
        sa.Column("sandbox_s", sa.Double()),
        sa.Column("sandbox_cpu_s", sa.Double()),
        sa.Column("message", sa.LargeBinary()),
        sa.Column("context", sa.LargeBinary()),
        sa.Column("result", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("run", "chain", "step", "idx", "purpose", "attempt"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sandboxes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("properties", sa.LargeBinary(), nullable=False),
        sa.Column("details", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "announcements",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chain", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("idx", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("evaluations", sa.Integer(), nullable=False),
        sa.Column("announced_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "chain", "step", "idx"),
        sqlite_with_rowid=False,
    )

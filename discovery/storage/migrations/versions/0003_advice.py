"""What models are asked that is no candidate, and whose artifact a candidate is given.

A process of the version before that is still at work goes on inserting candidates without the new column.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("candidates", sa.Column("warm_start", sa.Text()))
    op.create_table(
        "consultations",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("chain", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("purpose", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.Text()),
        sa.Column("messages", sa.LargeBinary(), nullable=False),
        sa.Column("text", sa.LargeBinary()),
        sa.Column("reasoning", sa.LargeBinary()),
        sa.Column("finish_reason", sa.LargeBinary()),
        sa.Column("model", sa.LargeBinary()),
        sa.Column("sampling", sa.LargeBinary(), nullable=False),
        sa.Column("seed", sa.Text()),
        sa.Column("prompt_tokens", sa.BigInteger()),
        sa.Column("completion_tokens", sa.BigInteger()),
        sa.Column("reasoning_tokens", sa.BigInteger()),
        sa.Column("cached_tokens", sa.BigInteger()),
        sa.Column("has_tokens", sa.Boolean(), nullable=False),
        sa.Column("latency_s", sa.Double()),
        sa.Column("failure", sa.LargeBinary()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "chain", "step", "purpose"),
        sqlite_with_rowid=False,
    )

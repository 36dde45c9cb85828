"""What programs and solutions are known by, beside their exact sources.

A process of the version before that is still at work goes on inserting rows without the new columns.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("candidates", sa.Column("form", sa.LargeBinary()))
    op.create_index("candidates_by_form", "candidates", ["run", "form", "chain", "step", "idx"])
    op.add_column("evaluations", sa.Column("solution", sa.LargeBinary()))
    op.add_column("evaluations", sa.Column("source_read", sa.Boolean()))

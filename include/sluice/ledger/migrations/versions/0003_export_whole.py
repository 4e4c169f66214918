"""Remember what each export run did, and what each verification found."""

import sqlalchemy as sa
from alembic import op

import sluice.ledger.types

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "export_runs",
        sa.Column("destination", sa.String(length=63), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("first_hour", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_hour", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("started_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("hours", sa.BigInteger(), nullable=True),
        sa.Column("events", sa.BigInteger(), nullable=True),
        sa.Column("files", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("problem", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("destination", "run"),
    )
    op.create_index("export_runs_by_hour", "export_runs", ["destination", "last_hour"], unique=False)
    op.create_table(
        "verifications",
        sa.Column("destination", sa.String(length=63), nullable=False),
        sa.Column("finished_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("first_hour", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_hour", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("hours", sa.BigInteger(), nullable=False),
        sa.Column("differing", sa.BigInteger(), nullable=False),
        sa.Column("differing_hours", sa.JSON(), nullable=False),
        sa.Column("lake_events", sa.BigInteger(), nullable=False),
        sa.Column("bucket_events", sa.BigInteger(), nullable=False),
        sa.Column("missing", sa.BigInteger(), nullable=False),
        sa.Column("doubled", sa.BigInteger(), nullable=False),
        sa.Column("unknown", sa.BigInteger(), nullable=False),
        sa.Column("unreadable", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("destination", "finished_at"),
    )


def downgrade() -> None:

    op.drop_table("verifications")
    op.drop_index("export_runs_by_hour", table_name="export_runs")
    op.drop_table("export_runs")

"""Keep the verdicts of quality gates, and what a person decided about what they stopped."""

import sqlalchemy as sa
from alembic import op

import sluice.ledger.types

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "quality_gates",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("pipeline", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("sampled", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("warnings", sa.Integer(), nullable=False),
        sa.Column("results", sa.JSON(), nullable=False),
        sa.Column("report", sa.Text(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("checked_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("held_until", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("decided_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("pipeline", "name", "run", "unit"),
    )
    op.create_index("quality_gates_by_run", "quality_gates", ["run"])
    op.create_index("quality_gates_by_time", "quality_gates", ["checked_at"])
    op.create_index("quality_gates_by_state", "quality_gates", ["pipeline", "name", "state"])
    with op.batch_alter_table("sync_turns") as table:
        table.add_column(sa.Column("gate", sa.String(length=32), nullable=True))
        table.add_column(
            sa.Column("gate_until", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True)
        )


def downgrade() -> None:

    with op.batch_alter_table("sync_turns") as table:
        table.drop_column("gate_until")
        table.drop_column("gate")
    op.drop_index("quality_gates_by_state", table_name="quality_gates")
    op.drop_index("quality_gates_by_time", table_name="quality_gates")
    op.drop_index("quality_gates_by_run", table_name="quality_gates")
    op.drop_table("quality_gates")

"""Remember which converter of a source passed its test, and name rejected rows that are taken again."""

import sqlalchemy as sa
from alembic import op

import sluice.ledger.types

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:

    with op.batch_alter_table("sources", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tested_converter", sa.String(length=64), nullable=True))
        batch_op.add_column(
            sa.Column("tested_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True)
        )
        batch_op.add_column(sa.Column("tested_files", sa.JSON(), nullable=True))
        for name in ("swept_at", "sweep_requested_at"):
            batch_op.add_column(
                sa.Column(name, sluice.ledger.types.UtcDateTime(timezone=True), nullable=True)
            )

    # Room for the names of rejected rows that are imported again.
    with op.batch_alter_table("files", schema=None) as batch_op:
        batch_op.alter_column(
            "bucket", existing_type=sa.String(length=63), type_=sa.String(length=80), existing_nullable=False
        )


def downgrade() -> None:

    with op.batch_alter_table("files", schema=None) as batch_op:
        batch_op.alter_column(
            "bucket", existing_type=sa.String(length=80), type_=sa.String(length=63), existing_nullable=False
        )

    with op.batch_alter_table("sources", schema=None) as batch_op:
        batch_op.drop_column("sweep_requested_at")
        batch_op.drop_column("swept_at")
        batch_op.drop_column("tested_files")
        batch_op.drop_column("tested_at")
        batch_op.drop_column("tested_converter")

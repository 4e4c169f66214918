"""Keep the turns of cohort syncs: what was fixed, how far it got, who works on it."""

import sqlalchemy as sa
from alembic import op

import sluice.ledger.types

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "syncs",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("computed_time", sa.BigInteger(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=True),
        sa.Column("config_hash", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "sync_chains",
        sa.Column("sync", sa.String(length=63), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("cohort", sa.String(length=32), nullable=False),
        sa.Column("run", sa.Text(), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("claimed_until", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("note", sa.String(length=16), nullable=True),
        sa.Column("note_run", sa.Text(), nullable=True),
        sa.Column("note_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("note_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sync", "destination", "cohort"),
    )
    op.create_table(
        "sync_turns",
        sa.Column("sync", sa.String(length=63), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("cohort", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("sent", sa.Boolean(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("cadence", sa.String(length=16), nullable=False),
        sa.Column("as_of", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("computed_time", sa.BigInteger(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("source", sa.BigInteger(), nullable=True),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("commit_key", sa.Text(), nullable=True),
        sa.Column("config_hash", sa.String(length=64), nullable=False),
        sa.Column("baseline", sa.BigInteger(), nullable=True),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("files_delivered", sa.BigInteger(), nullable=False),
        sa.Column("messages_delivered", sa.BigInteger(), nullable=False),
        sa.Column("fixed_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("held_until", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("sending_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("bytes_gone_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("members_gone_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("sync", "destination", "cohort", "number"),
    )
    op.create_index("sync_turns_by_run", "sync_turns", ["sync", "run"], unique=False)
    op.create_index("sync_turns_by_time", "sync_turns", ["sync", "as_of"], unique=False)


def downgrade() -> None:

    op.drop_index("sync_turns_by_time", table_name="sync_turns")
    op.drop_index("sync_turns_by_run", table_name="sync_turns")
    op.drop_table("sync_turns")
    op.drop_table("sync_chains")
    op.drop_table("syncs")

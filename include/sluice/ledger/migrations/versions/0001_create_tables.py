"""Create the ledger's tables."""

import sqlalchemy as sa
from alembic import op

import sluice.ledger.types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "destinations",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("config_hash", sa.String(length=64), nullable=False),
        sa.Column("first_seen_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("start", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "exported_files",
        sa.Column("destination", sa.String(length=63), nullable=False),
        sa.Column("project", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data_set", sa.String(length=16), nullable=False),
        sa.Column("hour", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("raw_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("first_upload_time", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("last_upload_time", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("destination", "project", "data_set", "hour", "key"),
    )
    op.create_table(
        "exported_hours",
        sa.Column("destination", sa.String(length=63), nullable=False),
        sa.Column("project", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data_set", sa.String(length=16), nullable=False),
        sa.Column("hour", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("run", sa.Text(), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("claimed_until", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("content_rows", sa.BigInteger(), nullable=True),
        sa.Column("content_digest", sa.String(length=32), nullable=True),
        sa.Column("lake_version", sa.BigInteger(), nullable=True),
        sa.Column("filter_hash", sa.String(length=64), nullable=True),
        sa.Column("config_hash", sa.String(length=64), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("files", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("manifest_hash", sa.String(length=64), nullable=True),
        sa.Column("marker_etag", sa.Text(), nullable=True),
        sa.Column("published_run", sa.Text(), nullable=True),
        sa.Column("published_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("staged", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("destination", "project", "data_set", "hour"),
    )
    with op.batch_alter_table("exported_hours", schema=None) as batch_op:
        batch_op.create_index("exported_hours_by_state", ["destination", "state", "hour"], unique=False)

    op.create_table(
        "files",
        sa.Column("source", sa.String(length=63), nullable=False),
        sa.Column("bucket", sa.String(length=63), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("last_modified", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("converter_hash", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("discovered_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("staged", sa.JSON(), nullable=True),
        sa.Column("rows_read", sa.BigInteger(), nullable=True),
        sa.Column("loaded", sa.BigInteger(), nullable=True),
        sa.Column("duplicate", sa.BigInteger(), nullable=True),
        sa.Column("ignored", sa.BigInteger(), nullable=True),
        sa.Column("rejected", sa.BigInteger(), nullable=True),
        sa.Column("load_number", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("source", "bucket", "key"),
    )
    with op.batch_alter_table("files", schema=None) as batch_op:
        batch_op.create_index("files_by_state", ["source", "state", "last_modified"], unique=False)

    op.create_table(
        "hours",
        sa.Column("project", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hour", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("project", "hour"),
    )
    op.create_table(
        "lake_versions",
        sa.Column("lake", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lake"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("acquired_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "loads",
        sa.Column("project", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=63), nullable=True),
        sa.Column("instant", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("closed_until", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("rows_read", sa.BigInteger(), nullable=False),
        sa.Column("loaded", sa.BigInteger(), nullable=False),
        sa.Column("duplicate", sa.BigInteger(), nullable=False),
        sa.Column("ignored", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "number"),
    )
    op.create_table(
        "projects",
        sa.Column("project", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("instant", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("closed_until", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("project"),
    )
    op.create_table(
        "sources",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("config_hash", sa.String(length=64), nullable=False),
        sa.Column("first_seen_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("first_import_at", sluice.ledger.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:

    op.drop_table("sources")
    op.drop_table("projects")
    op.drop_table("loads")
    op.drop_table("leases")
    op.drop_table("lake_versions")
    op.drop_table("hours")
    with op.batch_alter_table("files", schema=None) as batch_op:
        batch_op.drop_index("files_by_state")

    op.drop_table("files")
    with op.batch_alter_table("exported_hours", schema=None) as batch_op:
        batch_op.drop_index("exported_hours_by_state")

    op.drop_table("exported_hours")
    op.drop_table("exported_files")
    op.drop_table("destinations")
    op.drop_table("counters")

"""The ledger's tables. A change here needs a migration in migrations/versions."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from sluice.ledger.types import UtcDateTime

metadata = MetaData()

# --- Projections of the lake's log (ADR 1): written only by sluice.lake.projection ---

# The lake that this ledger belongs to, and the version of its events table up to which the log is applied.
lake_versions = Table(
    "lake_versions",
    metadata,
    Column("lake", String(64), primary_key=True),
    Column("version", BigInteger, nullable=False),
)

# Where each project's log stands: last number, last instant, end of the closed hours.
projects = Table(
    "projects",
    metadata,
    Column("project", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("instant", UtcDateTime),
    Column("closed_until", UtcDateTime),
)

# Every commit of a project's log.
loads = Table(
    "loads",
    metadata,
    Column("project", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", String(36), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("source", String(63)),
    Column("instant", UtcDateTime),
    Column("closed_until", UtcDateTime),
    Column("rows_read", BigInteger, nullable=False, default=0),
    Column("loaded", BigInteger, nullable=False, default=0),
    Column("duplicate", BigInteger, nullable=False, default=0),
    Column("ignored", BigInteger, nullable=False, default=0),
    Column("rejected", BigInteger, nullable=False, default=0),
)

# The content of each hour of server_upload_time: how many rows, and the sum over their identities.
hours = Table(
    "hours",
    metadata,
    Column("project", BigInteger, primary_key=True, autoincrement=False),
    Column("hour", UtcDateTime, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("digest", String(32), nullable=False),
)

# --- Import ---

# Every object that an import source ever saw; exactly once per (source, bucket, key) (decisions I-9).
files = Table(
    "files",
    metadata,
    Column("source", String(63), primary_key=True),
    # For rejected rows that are imported again: `<bucket>#<number>` (sluice.ledger.again).
    Column("bucket", String(80), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("last_modified", UtcDateTime, nullable=False),
    Column("converter_hash", String(64), nullable=False),
    # discovered, processing, done, failed or given_up
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("discovered_at", UtcDateTime, nullable=False),
    Column("claimed_by", Text),
    Column("claimed_until", UtcDateTime),
    # Where the converted rows lie between the convert task and the load.
    Column("staged", JSON),
    Column("rows_read", BigInteger),
    Column("loaded", BigInteger),
    Column("duplicate", BigInteger),
    Column("ignored", BigInteger),
    Column("rejected", BigInteger),
    # The commit that has the file's rows.
    Column("load_number", BigInteger),
    Column("finished_at", UtcDateTime),
    Column("seconds", Float),
    # What else there is to say: ignored field names, dominating reasons.
    Column("report", JSON),
)
Index("files_by_state", files.c.source, files.c.state, files.c.last_modified)

# --- Export ---

# One row per hour that a destination claimed, staged or published.
exported_hours = Table(
    "exported_hours",
    metadata,
    Column("destination", String(63), primary_key=True),
    Column("project", BigInteger, primary_key=True, autoincrement=False),
    Column("data_set", String(16), primary_key=True),
    Column("hour", UtcDateTime, primary_key=True),
    # claimed, staged, published or unpublished
    Column("state", String(16), nullable=False),
    # The writer: its run, its fencing token (each claim raises it) and the end of its lease.
    Column("run", Text),
    Column("token", BigInteger, nullable=False),
    Column("claimed_until", UtcDateTime),
    # What the hour held when it was read.
    Column("content_rows", BigInteger),
    Column("content_digest", String(32)),
    Column("lake_version", BigInteger),
    Column("filter_hash", String(64)),
    Column("config_hash", String(64)),
    # What was published.
    Column("rows", BigInteger),
    Column("bytes", BigInteger),
    Column("files", Integer),
    Column("seconds", Float),
    Column("manifest_hash", String(64)),
    Column("marker_etag", Text),
    Column("published_run", Text),
    Column("published_at", UtcDateTime),
    # Uncompleted uploads between the export task and the publish task.
    Column("staged", JSON),
)
Index("exported_hours_by_state", exported_hours.c.destination, exported_hours.c.state, exported_hours.c.hour)

# The objects of each published hour.
exported_files = Table(
    "exported_files",
    metadata,
    Column("destination", String(63), primary_key=True),
    Column("project", BigInteger, primary_key=True, autoincrement=False),
    Column("data_set", String(16), primary_key=True),
    Column("hour", UtcDateTime, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    # Compressed and uncompressed.
    Column("bytes", BigInteger, nullable=False),
    Column("raw_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("etag", Text, nullable=False),
    Column("first_upload_time", UtcDateTime),
    Column("last_upload_time", UtcDateTime),
)

# Every run that exported hours of a destination, the failed ones too: what status shows of them.
export_runs = Table(
    "export_runs",
    metadata,
    Column("destination", String(63), primary_key=True),
    Column("run", Text, primary_key=True),
    # scheduled, manual or backfill
    Column("kind", String(16), nullable=False),
    # running, success or failed
    Column("state", String(16), nullable=False),
    # The hours that it was asked for, both inclusive; what it caught up with besides is in `hours`.
    Column("first_hour", UtcDateTime, nullable=False),
    Column("last_hour", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("completed_at", UtcDateTime),
    # What it published.
    Column("hours", BigInteger),
    Column("events", BigInteger),
    Column("files", BigInteger),
    Column("bytes", BigInteger),
    # Why its last try failed: the message, and whether the receiving side has to change something (access).
    Column("reason", Text),
    Column("problem", String(16)),
)
Index("export_runs_by_hour", export_runs.c.destination, export_runs.c.last_hour)

# Every verification of a destination: what the bucket held beside the lake, in numbers.
verifications = Table(
    "verifications",
    metadata,
    Column("destination", String(63), primary_key=True),
    Column("finished_at", UtcDateTime, primary_key=True),
    # The hours that were compared, both inclusive.
    Column("first_hour", UtcDateTime, nullable=False),
    Column("last_hour", UtcDateTime, nullable=False),
    Column("hours", BigInteger, nullable=False),
    # How many of them are not as the lake has them, and the first of those by project.
    Column("differing", BigInteger, nullable=False),
    Column("differing_hours", JSON, nullable=False),
    Column("lake_events", BigInteger, nullable=False),
    Column("bucket_events", BigInteger, nullable=False),
    Column("missing", BigInteger, nullable=False),
    Column("doubled", BigInteger, nullable=False),
    Column("unknown", BigInteger, nullable=False),
    Column("unreadable", BigInteger, nullable=False),
)

# --- Cohort syncs (ADR 14) ---

# Every sync that ever ran: the last computed_time that it gave away, and the configuration of its last turn.
syncs = Table(
    "syncs",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("computed_time", BigInteger, nullable=False),
    Column("config", JSON),
    Column("config_hash", String(64)),
)

# What baselines hang on (decisions K-17): a sync to the destination of one name, of one cohort. Whoever
# changes a turn locks this row first and shows the newest token.
sync_chains = Table(
    "sync_chains",
    metadata,
    Column("sync", String(63), primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("cohort", String(32), primary_key=True),
    # The run that works on it, its fencing token (each claim raises it) and the end of its claim.
    Column("run", Text),
    Column("token", BigInteger, nullable=False),
    Column("claimed_until", UtcDateTime),
    # The last thing that went another way than asked: failed or skipped, which run, when, and why.
    Column("note", String(16)),
    Column("note_run", Text),
    Column("note_at", UtcDateTime),
    Column("note_reason", Text),
)

# One row per turn of a chain: what was fixed, and how far it got.
sync_turns = Table(
    "sync_turns",
    metadata,
    Column("sync", String(63), primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("cohort", String(32), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    # regular, existing or resend (decisions K-18)
    Column("kind", String(16), nullable=False),
    # fixed, held, stopped, sending, delivered, superseded or declined
    Column("state", String(16), nullable=False),
    # Whether it ever was sending: then any of its bytes may have been read.
    Column("sent", Boolean, nullable=False),
    Column("run", Text, nullable=False),
    Column("cadence", String(16), nullable=False),
    Column("as_of", UtcDateTime, nullable=False),
    Column("computed_time", BigInteger, nullable=False),
    # Where its files lie below the lake; those of a resend belong to the turn `source`.
    Column("folder", Text, nullable=False),
    Column("source", BigInteger),
    # Where its bytes go, and the object key that commits them.
    Column("target", Text, nullable=False),
    Column("commit_key", Text),
    Column("config_hash", String(64), nullable=False),
    # The delivered turn from which it differs.
    Column("baseline", BigInteger),
    Column("counts", JSON, nullable=False),
    Column("files", JSON, nullable=False),
    Column("files_delivered", BigInteger, nullable=False),
    Column("messages_delivered", BigInteger, nullable=False),
    Column("fixed_at", UtcDateTime, nullable=False),
    Column("held_until", UtcDateTime),
    Column("sending_at", UtcDateTime),
    # When it was delivered, superseded or declined.
    Column("finished_at", UtcDateTime),
    # Why it is held, superseded or declined; by whom it was decided.
    Column("reason", Text),
    Column("decided_by", Text),
    # When the clean-up took its sent bytes and its row log, and its list of members.
    Column("bytes_gone_at", UtcDateTime),
    Column("members_gone_at", UtcDateTime),
    # The quality gate that let it pass or has stopped it, and until when it stays stopped.
    Column("gate", String(32)),
    Column("gate_until", UtcDateTime),
)
Index("sync_turns_by_run", sync_turns.c.sync, sync_turns.c.run)
Index("sync_turns_by_time", sync_turns.c.sync, sync_turns.c.as_of)

# --- Quality gates ---

# The verdict of each gate; what the states mean is in quality.py.
quality_gates = Table(
    "quality_gates",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("pipeline", String(16), nullable=False),
    Column("name", String(63), nullable=False),
    Column("run", Text, nullable=False),
    # What of the run: an hour of a project, the load, a turn.
    Column("unit", Text, nullable=False),
    # Names exactly what was checked.
    Column("content", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("sampled", BigInteger, nullable=False),
    # How many expectations stopped it, and how many only warned.
    Column("failed", Integer, nullable=False),
    Column("warnings", Integer, nullable=False),
    Column("results", JSON, nullable=False),
    # The path of the report below the lake's root.
    Column("report", Text),
    Column("seconds", Float, nullable=False),
    Column("checked_at", UtcDateTime, nullable=False),
    Column("held_until", UtcDateTime),
    # Who released, overrode or discarded it, when and why.
    Column("decided_at", UtcDateTime),
    Column("decided_by", Text),
    Column("reason", Text),
    UniqueConstraint("pipeline", "name", "run", "unit"),
)
Index("quality_gates_by_run", quality_gates.c.run)
Index("quality_gates_by_time", quality_gates.c.checked_at)
Index("quality_gates_by_state", quality_gates.c.pipeline, quality_gates.c.name, quality_gates.c.state)

# --- What configuration was in force ---

destinations = Table(
    "destinations",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("config", JSON, nullable=False),
    Column("config_hash", String(64), nullable=False),
    Column("first_seen_at", UtcDateTime, nullable=False),
    # The hour from which the destination exports by schedule (decisions E-22).
    Column("start", UtcDateTime, nullable=False),
)

sources = Table(
    "sources",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("config", JSON, nullable=False),
    Column("config_hash", String(64), nullable=False),
    Column("first_seen_at", UtcDateTime, nullable=False),
    # When its first file was loaded; from then on its location may not change (decisions I-22).
    Column("first_import_at", UtcDateTime),
    # When the last full listing that was recorded to its end began, and when somebody last asked for one.
    Column("swept_at", UtcDateTime),
    Column("sweep_requested_at", UtcDateTime),
    # The converter that last passed `sluice import enable`, when, and the keys of the files it passed on.
    Column("tested_converter", String(64)),
    Column("tested_at", UtcDateTime),
    Column("tested_files", JSON),
)

# --- Coordination ---

leases = Table(
    "leases",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("acquired_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("next", BigInteger, nullable=False),
)

"""Invariant 2 under random sequences of loads, exports, backfills, crashes and hands on the bucket.

After every step, whatever happened: the files of an hour that the ledger calls published hold exactly the
events that the hour had at the fingerprint that it recorded, each once, under the filter; and a plan leaves
alone only hours whose files are exactly what the lake holds now.
"""

from __future__ import annotations

import gzip
import json
import shutil
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from backfilling import backfill, hour, plan
from exporting import Destination, Killed
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from lake_staging import stage

from sluice.exports.errors import ForeignHour
from sluice.exports.keys import parse_key
from sluice.exports.plan import HourState
from sluice.exports.ranges import HourRange
from sluice.exports.staging import contents_of
from sluice.lake import LoadRequest, load
from sluice.lake.maintenance import compact_events
from sluice.ledger import exported
from sluice.ledger.exported import HourHeld

# Around midnight, so that compaction finds a closed day.
FIRST = datetime(2013, 1, 2, 22, tzinfo=UTC)
HOURS = [hour(FIRST, n) for n in range(4)]
PROJECT = 187520
KEPT_BACK = "kept-back"
FILTER = {"where": [{"column": "$insert_id", "contains": KEPT_BACK, "not": True}]}

an_hour = st.sampled_from(HOURS)
a_range = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(
    lambda ends: HourRange(HOURS[min(ends)], HOURS[max(ends)])
)
# At which writing request a run is killed; None lets it live.
a_kill = st.one_of(st.none(), st.integers(0, 14))


class Exports(RuleBasedStateMachine):
    def __init__(self, client: Any, bucket: str, folder: Any) -> None:
        super().__init__()
        self.folder = folder / uuid.uuid4().hex
        self.destination = Destination.make(
            client, bucket, self.folder, prefix=f"{uuid.uuid4().hex[:12]}/out", filter=FILTER, start=FIRST,
            catch_up_hours=2, partition_bytes=3_000, reexport_changed=False,
        )  # fmt: skip
        self.destination.loads = 1
        self.runs = 0
        # What each hour held at each of its fingerprints, and which hours' objects somebody has touched.
        self.contents: dict[tuple[datetime, str], Counter[str]] = {}
        self.touched: set[datetime] = set()
        self.files: list[Any] = []
        self.bodies: dict[tuple[str, str], Counter[str]] = {}

    def teardown(self) -> None:
        """Wherever a sequence stopped, one last backfill puts everything right."""
        try:
            self.destination.expire_claims()
            whole = HourRange(HOURS[0], HOURS[-1])
            self._run(lambda run, bucket: backfill(self.destination, run, whole, bucket=bucket), None)
            self.published_hours_hold_what_the_ledger_recorded()
            states = {item.state for item in plan(self.destination, whole).hours}
            assert states <= {HourState.UNCHANGED, HourState.OUTSIDE}
        finally:
            shutil.rmtree(self.folder)

    @initialize(counts=st.tuples(*[st.integers(0, 3)] * 4))
    def first_load(self, counts: tuple[int, ...]) -> None:
        for moment, count in zip(HOURS, counts, strict=True):
            self._load(moment, count)

    @rule(moment=an_hour, count=st.integers(1, 4))
    def load_into_an_hour(self, moment: datetime, count: int) -> None:
        self._load(moment, count)

    @precondition(lambda self: self.files)
    @rule(which=st.integers(0, 99))
    def load_a_file_again(self, which: int) -> None:
        """The file was discovered twice; the log names it already."""
        file = self.files[which % len(self.files)]
        load(
            self.destination.lake,
            self.destination.ledger,
            LoadRequest(PROJECT, "test", [file], upload_time="event_time"),
        )
        self._remember()

    @rule()
    def compact(self) -> None:
        compact_events(self.destination.lake, self.destination.ledger, 1 << 27)
        self._remember()

    @rule(moment=an_hour, kill=a_kill)
    def export_by_schedule(self, moment: datetime, kill: int | None) -> None:
        self._run(lambda run, bucket: self.destination.run(run, "scheduled", moment, bucket), kill)

    @rule(moment=an_hour, kill=a_kill)
    def backfill_natively(self, moment: datetime, kill: int | None) -> None:
        self._run(lambda run, bucket: self.destination.run(run, "backfill", moment, bucket), kill)

    @rule(
        hours=a_range,
        kill=a_kill,
        force=st.booleans(),
        order=st.sampled_from(["oldest first", "newest first"]),
        parallelism=st.sampled_from([1, 3]),
    )
    def backfill_a_range(self, hours: HourRange, kill: int | None, **how: Any) -> None:
        self._run(lambda run, bucket: backfill(self.destination, run, hours, bucket=bucket, **how), kill)

    @precondition(lambda self: self._objects())
    @rule(which=st.integers(0, 99))
    def delete_an_object(self, which: int) -> None:
        objects = self._objects()
        key = objects[which % len(objects)]
        self.destination.client.delete_object(Bucket=self.destination.bucket, Key=key)
        self._touch(key)

    @precondition(lambda self: self._objects())
    @rule(which=st.integers(0, 99))
    def overwrite_an_object(self, which: int) -> None:
        objects = self._objects()
        key = objects[which % len(objects)]
        body = b"" if key.endswith("_complete") else gzip.compress(b"by hand")
        self.destination.client.put_object(Bucket=self.destination.bucket, Key=key, Body=body)
        self._touch(key)

    @rule(moment=an_hour, partition=st.integers(0, 9))
    def put_a_stray_file(self, moment: datetime, partition: int) -> None:
        """In the other layout, as an earlier connection would have left it."""
        name = f"{PROJECT}_{moment:%Y-%m-%d}_{moment:%H}#{partition}.json.gz"
        key = self.destination.config.prefix + name
        self.destination.client.put_object(Bucket=self.destination.bucket, Key=key, Body=b"stray")
        self._touch(key)

    @rule()
    def let_claims_run_out(self) -> None:
        self.destination.expire_claims()

    @invariant()
    def published_hours_hold_what_the_ledger_recorded(self) -> None:
        found = self._uuids()
        first, last = HOURS[0], HOURS[-1]
        records = exported.records(self.destination.ledger, self.destination.config.id, PROJECT, first, last)
        for moment, record in records.items():
            if record.published and moment not in self.touched:
                assert found.get(moment, Counter()) == self.contents[moment, record.content_digest]
        in_lake = self._now()
        for planned in plan(self.destination, HourRange(first, last)).hours:
            if planned.state is HourState.UNCHANGED:
                assert planned.hour not in self.touched
                assert found.get(planned.hour, Counter()) == in_lake[planned.hour]
            elif planned.state is not HourState.OUTSIDE:
                assert planned.writes

    def _load(self, moment: datetime, count: int) -> None:
        destination = self.destination
        destination.loads += 1
        name = f"{destination.loads}-{uuid.uuid4()}"
        ids = [f"{name}-{n}" for n in range(count)] + ([f"{name}-{KEPT_BACK}"] if count else [])
        file = stage(destination.lake, f"{name}.csv", ids, at=lambda n: moment + timedelta(seconds=n))
        self.files.append(file)
        load(
            destination.lake,
            destination.ledger,
            LoadRequest(PROJECT, "test", [file], upload_time="event_time"),
        )
        self._remember()

    def _remember(self) -> None:
        """Keep what each hour holds now by its fingerprint, read from the table itself."""
        records = self._now()
        prints = exported_fingerprints(self.destination)
        for moment in HOURS:
            key = moment, prints.get(moment, "0" * 32)
            assert self.contents.setdefault(key, records[moment]) == records[moment]

    def _now(self) -> dict[datetime, Counter[str]]:
        rows = self.destination.lake.events().to_pyarrow_table(
            columns=["server_upload_time", "uuid", "$insert_id"]
        )
        found: dict[datetime, Counter[str]] = {moment: Counter() for moment in HOURS}
        for row in rows.to_pylist():
            moment = row["server_upload_time"].replace(minute=0, second=0, microsecond=0)
            if moment in found and KEPT_BACK not in row["$insert_id"]:
                found[moment][row["uuid"]] += 1
        return found

    def _run(self, work: Any, kill: int | None) -> None:
        self.runs += 1
        bucket = self.destination.scripted()

        def before(n: int, request: str, key: str) -> None:
            if kill is not None and n >= kill:
                raise Killed

        bucket.before = before
        outcomes = []
        try:
            outcomes = work(f"run-{self.runs}", bucket)
        except Killed:
            pass
        except HourHeld:
            # A dead run's claim; time passes.
            self.destination.expire_claims()
        except ForeignHour:
            # The schedule does not touch an hour whose marker somebody has overwritten.
            pass
        done = {outcome.hour for outcome in outcomes if outcome.action == "published"}
        # A run that ended early may have published hours before.
        self.touched -= done or {moment for moment in self.touched if self._by(moment) == f"run-{self.runs}"}

    def _by(self, moment: datetime) -> str | None:
        record = self.destination.record(moment)
        return record.published_run if record is not None and record.published else None

    def _touch(self, key: str) -> None:
        names = parse_key(self.destination.config.prefix, key)
        assert names is not None
        self.touched.add(names.hour)

    def _objects(self) -> list[str]:
        return self.destination.object_keys()

    def _uuids(self) -> dict[datetime, Counter[str]]:
        """Return the uuids in the bucket's files by the hour in their names; an unreadable file is one."""
        found: dict[datetime, Counter[str]] = {}
        for key, (etag, _) in self.destination.listing().items():
            names = parse_key(self.destination.config.prefix, key)
            if names is None or names.kind == "marker":
                continue
            if (key, etag) not in self.bodies:
                self.bodies[key, etag] = self._read(key)
            found.setdefault(names.hour, Counter()).update(self.bodies[key, etag])
        return found

    def _read(self, key: str) -> Counter[str]:
        try:
            lines = gzip.decompress(self.destination.body(key)).splitlines()
            return Counter(json.loads(line)["uuid"] for line in lines)
        except (OSError, ValueError):
            return Counter([f"unreadable {key}"])


def exported_fingerprints(destination: Destination) -> dict[datetime, str]:
    """Return each hour's digest by the ledger."""
    contents, _ = contents_of(destination.ledger, PROJECT, HOURS[0], HOURS[-1])
    return {moment: content.digest for moment, content in contents.items()}


def test_no_event_is_twice_or_missing_whatever_happens(s3, bucket, tmp_path):
    run_state_machine_as_test(
        lambda: Exports(s3, bucket, tmp_path),
        settings=settings(
            max_examples=4,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )

"""Invariant 7 under random histories: kills, retries, turns given up, sleepers, gates, approvals, the past.

Two kinds of consumers, which know the public format only, look all the while and once more at the end; they
must end with the members, less those that the row log lists as skipped, and whenever a full list appears, it
must be what the changes give.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from cohort_consumer import FilesConsumer, StreamConsumer
from cohort_turns import Member, Syncs, hour, kinesis_sync, s3_sync, staged_rows
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sluice.cohorts import fix as fixing
from sluice.cohorts import turns as turning
from sluice.cohorts.fix import SyncRefused
from sluice.cohorts.gate import content_of, discard_held, expire_held
from sluice.cohorts.turns import approve, decline
from sluice.config.syncs import Sync
from sluice.ledger import quality, syncs
from sluice.ledger.quality import Gate

# A gate that stops whatever loses more than half of its members, and a limit at which a person is asked.
LOSS = {"type": "expect_row_count_to_keep", "kwargs": {"min_ratio": 0.5, "min_rows": 2}}
SUITE = {"quality": {"expectations": [LOSS]}}
FILES = s3_sync(max_exit_share=0.6, cohort=SUITE)
STREAM = kinesis_sync(max_exit_share=0.6, cohort=SUITE)

# Few people and fewer values: they share them (decisions K-15), and some have none (K-11).
a_member = st.tuples(st.integers(1, 5), st.sampled_from(["a", "b", "c", None]))
# A turn makes about forty steps: each call of the ledger, and each request, before and after.
a_step = st.integers(1, 46)


@dataclass(frozen=True)
class Run:
    """One run of the sync's DAG: what it finds, at which steps its tries end, and where it sleeps.

    After its kills it is tried once more, or given up. It is late by some hours, or on time.
    """

    members: frozenset[Member]
    kills: tuple[int, ...]
    is_given_up: bool
    sleeps_at: int | None
    approved: bool | None
    late: int
    released: bool | None = True


a_run = st.builds(
    Run,
    members=st.frozensets(a_member, max_size=6),
    kills=st.one_of(st.just(()), st.lists(a_step, min_size=1, max_size=2).map(tuple)),
    is_given_up=st.booleans(),
    sleeps_at=st.one_of(st.none(), a_step),
    approved=st.sampled_from([True, True, False, None]),
    late=st.sampled_from([0, 0, 0, 0, 1, 2]),
    released=st.sampled_from([True, True, False, None]),
)


class Ended(BaseException):
    """What ends a process: nothing of it runs any more, not even what handles errors."""


@dataclass
class Process:
    """One try of a run, which may be ended at a step, or sleep there while others run."""

    ends_at: int | None
    sleeps_at: int | None
    while_asleep: Callable[[], None]
    steps: int = 0
    is_ended: bool = False

    def step(self) -> None:
        if self.is_ended:
            raise Ended
        self.steps += 1
        if self.steps == self.ends_at:
            self.is_ended = True
            raise Ended
        if self.steps == self.sleeps_at:
            self.while_asleep()


@dataclass
class History:
    """Plays runs of one sync, and lets the consumers of files look after every request."""

    there: Syncs
    sync: Sync
    runs: list[Run]
    consumers: list[FilesConsumer]
    processes: list[Process] = field(default_factory=list)
    position: int = 0

    def step(self) -> None:
        if self.processes:
            self.processes[-1].step()

    def on_bucket_put(self) -> None:
        for consumer in self.consumers:
            consumer.poll()
        self.step()

    def on_stream_put(self, records: int) -> int:
        if records > 0 and self.processes and self.processes[-1].ends_at == self.processes[-1].steps + 2:
            # The process ends right after this request, of which the stream takes a part.
            records //= 2
        self.step()
        return records

    def play(self) -> None:
        while self.position < len(self.runs):
            self.next_run()

    def next_run(self) -> None:
        number, run = self.position, self.runs[self.position]
        self.position += 1
        tries: list[int | None] = [*run.kills]
        if not run.is_given_up or not run.kills:
            tries.append(None)
        for ends_at in tries:
            self.there.members = list(run.members)
            with self.process(ends_at, run.sleeps_at):
                self.attempt(run, f"run {number}", number)
        # Whoever was ended or never answered is past its time when the next one comes.
        self.there.end_claims()
        self.there.end_waiting()

    @contextmanager
    def process(self, ends_at: int | None, sleeps_at: int | None) -> Iterator[None]:
        self.processes.append(Process(ends_at, sleeps_at, self.sleep))
        try:
            yield
        except Ended:
            pass
        finally:
            self.processes.pop()

    def sleep(self) -> None:
        """The process sleeps for so long that its claim ends; meanwhile the next run comes."""
        members = self.there.members
        self.there.end_claims()
        if self.position < len(self.runs):
            self.next_run()
        self.there.members = members

    def attempt(self, run: Run, name: str, number: int) -> None:
        try:
            fixed = self.there.fix(self.sync, hour(number - run.late), name)
        except SyncRefused:
            return
        if fixed.turn is None:
            return
        chosen = fixed.turn.number
        try:
            if not self.is_checked(run, chosen, name):
                return
        except (syncs.SyncBusy, syncs.TurnLost):
            return
        if syncs.turn_of(self.there.ledger, fixed.turn.chain, chosen).state == "held":
            if run.approved is None:
                return
            if not run.approved:
                decline(self.sync, self.there.ledger, number=chosen, reason="No.")
                return
            try:
                approve(self.sync, self.there.ledger, number=chosen)
            except syncs.SyncBusy:
                return
        self.there.deliver(self.sync, chosen, name, checked=False)

    def is_checked(self, run: Run, chosen: int, name: str) -> bool:
        """Pass the gate, a person's word included; say whether the turn may leave."""
        gate = self.there.check(self.sync, chosen, name)
        if gate is None or gate.is_open:
            return True
        if run.released is None or not self.decide(gate, run.released):
            return False
        again = self.there.check(self.sync, chosen, name)
        return again is None or again.is_open

    def decide(self, gate: Gate, released: bool) -> bool:
        """Release or discard what a gate has stopped; say whether it goes on."""
        try:
            if released:
                quality.release(self.there.ledger, gate, "ann", "They are right.")
            else:
                given_up = quality.discard(self.there.ledger, gate, "ann", "They are wrong.")
                discard_held(SimpleNamespace(ledger=self.there.ledger), given_up)
        except quality.GateDecided:
            return False
        return released

    def finish(self, members: frozenset[Member]) -> None:
        """Let two runs come through: the first may only finish what was begun."""
        for number in (1_000, 1_001):
            self.there.members = list(members)
            self.attempt(Run(members, (), False, None, True, 0), f"last {number}", number)


@contextmanager
def stepping(history: History, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make a step of every call that changes anything outside of the process, before and after it."""

    def watched(call):
        def step_call_step(*args, **keys):
            history.step()
            result = call(*args, **keys)
            history.step()
            return result

        return step_call_step

    ledger_calls = ("claim", "standing", "next_computed_time", "fix", "adopt", "release", "note_failed")
    ledger_calls += ("note_skipped", "begin_sending", "record_progress", "finish", "approve", "decline")
    ledger_calls += ("stop", "pass_gate")
    with monkeypatch.context() as patch:
        for name in ledger_calls:
            patch.setattr(syncs, name, watched(getattr(syncs, name)))
        for name in ("record", "release", "discard", "expire"):
            patch.setattr(quality, name, watched(getattr(quality, name)))
        patch.setattr(fixing, "upload", watched(fixing.upload))
        patch.setattr(turning, "drop_lists", watched(turning.drop_lists))
        history.there.bucket.on_put = history.on_bucket_put
        history.there.stream.on_put = history.on_stream_put
        yield
        history.there.bucket.on_put = lambda: None
        history.there.stream.on_put = lambda records: records


def as_rows(members: frozenset[Member]) -> set[tuple[str, str]]:
    return {(str(amplitude_id), user_id or "") for amplitude_id, user_id in members}


def listed_as_skipped(there: Syncs) -> set[tuple[int, str | None]]:
    """Return who stands in any row log as skipped."""
    found = set()
    for turn in syncs.turns(there.ledger, sync=STREAM.id):
        for row in staged_rows(there.lake, f"{turn.folder}/row_log.parquet"):
            if row["operation"] == "skipped":
                found.add((row["amplitude_id"], row["value"]))
    return found


def check_ledger(there: Syncs, sync: Sync) -> None:
    made = [turn for turn in syncs.turns(there.ledger, sync=sync.id) if turn.kind != "resend"]
    times = [turn.computed_time for turn in sorted(made, key=lambda turn: turn.number)]
    assert times == sorted(set(times))
    assert all(turn.sent for turn in made if turn.state == "delivered")
    # Whatever left had passed its gate, and no gate waits for a turn that is over.
    passed = {gate.content for gate in quality.newest(there.ledger, 1_000) if gate.is_open}
    assert all(content_of(turn) in passed for turn in made if turn.sent)
    expire_held(there.ledger, there.lake, sync)
    assert quality.held(there.ledger) == []


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    runs=st.lists(a_run, min_size=2, max_size=6),
    last=st.frozensets(a_member, max_size=6),
    shuffle=st.randoms(use_true_random=False),
)
def test_consumers_end_with_the_members(fresh_syncs, monkeypatch, runs, last, shuffle: random.Random):
    there = fresh_syncs()
    looking = [FilesConsumer(there.bucket, "audiences", patient=patient) for patient in (True, False)]

    files = History(there, FILES, runs, looking)
    with stepping(files, monkeypatch):
        files.play()
    files.finish(last)
    late = [FilesConsumer(there.bucket, "audiences", patient=patient) for patient in (True, False)]
    for consumer in [*looking, *late]:
        consumer.poll()
        (audience,) = consumer.audiences.values()
        assert audience.members == audience.existing == as_rows(last)
        if not any(turn.kind == "existing" for turn in syncs.turns(there.ledger, sync=FILES.id)):
            # A full list of the past stands alone: nothing changes by it (decisions K-18).
            assert audience.differences == []
    check_ledger(there, FILES)

    stream = History(there, STREAM, runs, [])
    with stepping(stream, monkeypatch):
        stream.play()
    stream.finish(last)
    told = there.stream.records * 2
    shuffle.shuffle(told)
    consumer = StreamConsumer(None, "people")
    for record in told:
        consumer.take(record)
    reached = last - listed_as_skipped(there)
    assert consumer.members("vips") == {value for _, value in reached}
    check_ledger(there, STREAM)

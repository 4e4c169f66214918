"""The gate of a backfill's hours, which are staged and published in one task: checked a batch at a time.

A year of small hours has thousands of gates, so what they share is done once: the rows of a batch are read in
one query, and those of its hours whose expectations all hold are one record together. An hour that fails or
warns has a record and a report of its own, as in an hourly run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from sluice.config import ExportConfig
from sluice.exports.checks import Candidate, HourChecks
from sluice.exports.held import content_text, gate_of
from sluice.exports.samples import LineSample
from sluice.exports.staged import Content
from sluice.lake import Lake
from sluice.ledger import Ledger, exported, quality
from sluice.ledger.exported import Claim, HourHeld
from sluice.ledger.quality import Gate, GateId
from sluice.quality.gate import Checked, Override, pass_gate
from sluice.quality.results import Result, stopping, warning

# So many lines of an hour are looked at, however many hours share a batch's sample.
_LEAST = 10


class ChunkGate:
    """Checks the staged hours of one run, batch by batch."""

    def __init__(
        self, config: ExportConfig, lake: Lake, ledger: Ledger, run: str, override: Override | None
    ) -> None:
        self._config = config
        self._lake = lake
        self._ledger = ledger
        self._run = run
        self._override = override
        self._checks = HourChecks(config, lake, ledger)

    def sample(self, content: Content, batch_rows: int) -> LineSample | None:
        """Return what takes an hour's share of the sample of a batch with so many events."""
        settings = self._config.quality
        if not settings.enabled or not settings.sample_rows:
            return None
        rows = content.fingerprint.rows
        share = max(settings.sample_rows * rows // max(batch_rows, 1), min(_LEAST, settings.sample_rows))
        return LineSample(content, rows if self._config.filter is None else None, share)

    def verdicts(self, project: int, hours: Sequence[tuple[Claim, Candidate]]) -> dict[Claim, Gate]:
        """Check staged hours of one version of the lake; return the gates of those that it does not pass.

        These are recorded as staged before they are held, so that their uploads can be found again.
        """
        if not self._config.quality.enabled or not hours:
            return {}
        checked = self._checks.check(project, [one for _, one in hours])
        # An hour that this run has staged before has a gate that must not stay as it was.
        known = quality.units_of_run(self._ledger, self._run)
        passed: list[tuple[Candidate, Checked]] = []
        stopped = {}
        for claim, one in hours:
            found = checked[one.hour]
            gate = gate_of(claim.id, self._run)
            if not stopping(found.results) and not warning(found.results) and gate.unit not in known:
                passed.append((one, found))
                continue
            if stopping(found.results):
                try:
                    exported.stage(self._ledger, claim, one.staged.to_json())
                except HourHeld:
                    # Another writer has it; publishing is refused in the same way.
                    continue
            verdict = self._pass(gate, content_text(one.staged), found)
            if not verdict.is_open:
                stopped[claim] = verdict
        if passed:
            self._pass_together(project, passed)
        return stopped

    def _pass(self, gate: GateId, content: str, found: Checked) -> Gate:
        return pass_gate(
            self._ledger,
            self._lake,
            gate,
            content,
            self._config.quality,
            lambda: found,
            override=self._override,
        )

    def _pass_together(self, project: int, passed: Sequence[tuple[Candidate, Checked]]) -> None:
        """Record hours that passed without a warning as one gate."""
        hours = [one.hour for one, _ in passed]
        first, last = min(hours), max(hours)
        unit = f"{len(hours):,} hours from {first:%Y-%m-%dT%H} to {last:%Y-%m-%dT%H} of project {project}"
        contents = "\n".join(content_text(one.staged) for one, _ in passed)
        all_found = [found for _, found in passed]
        together = Checked(
            [_added(results) for results in zip(*(found.results for found in all_found), strict=True)],
            rows=sum(found.rows for found in all_found),
            sampled=sum(found.sampled for found in all_found),
        )
        gate = GateId("export", self._config.id, self._run, unit)
        self._pass(gate, hashlib.sha256(contents.encode()).hexdigest(), together)


def _added(results: Sequence[Result]) -> Result:
    """Return what one expectation gave for several hours, in all of which it holds."""
    first = results[0]
    unexpected = [result.unexpected for result in results if result.unexpected is not None]
    return replace(
        first,
        checked=sum(result.checked for result in results),
        unexpected=sum(unexpected) if unexpected else None,
        observed=first.observed if len(results) == 1 else None,
    )

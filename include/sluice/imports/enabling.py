"""Enabling a source: its converter must first make an event of a real row of its prefix (amplitude-spec 4.8).

The ledger remembers the converter that passed, by its hash. A source of which none ever did is not imported.
A converter that has changed since counts from its own test on: until then, newly found files still get the
one that passed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from sluice.access.access import Access
from sluice.config import ImportConfig
from sluice.converter import Converter
from sluice.errors import SluiceError
from sluice.imports.converters import recall, remember
from sluice.imports.objects import ListedObject, describe
from sluice.imports.preview import Keys, Sample, file_samples, look_at_keys, matches
from sluice.imports.session import ImportRun
from sluice.imports.taxonomy import taxonomy_of
from sluice.ledger import Ledger
from sluice.ledger.registry import passed_test, record_passed

log = logging.getLogger(__name__)

# A look at the beginning of a few files: it must not take longer than a person waits.
MAX_FILES = 5
MAX_ROWS = 1_000
_SHOWN_FAULTS = 5


class NotEnabled(SluiceError):
    """The source may not import: no row of its files has become an event yet."""


@dataclass
class FileTrial:
    """What became of the first rows of one file; `fault` is why the file as a whole cannot be read."""

    key: str
    events: int = 0
    ignored: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    fault: str | None = None

    @property
    def rows(self) -> int:
        """How many rows were looked at."""
        return self.events + self.ignored + self.rejected

    def lines(self) -> Iterator[str]:
        """Write it as text, the faults below the counts."""
        yield (
            f"{self.key}: of {self.rows:,} rows looked at, {self.events:,} become events,"
            f" {self.ignored:,} are ignored, {self.rejected:,} rejected"
        )
        if self.fault:
            yield f"    the file fails: {self.fault}"
        for reason, count in self.reasons.most_common(_SHOWN_FAULTS):
            yield f"    {count:,} × {reason}"


@dataclass
class Trial:
    """The test of a converter on real files of its source."""

    source: ImportConfig
    converter: Converter
    files: list[FileTrial]

    @property
    def passed(self) -> bool:
        """Whether a row became an event."""
        return any(file.events for file in self.files)

    def lines(self) -> Iterator[str]:
        """Write it as text: what became of each file's rows, and what would not go well."""
        for file in self.files:
            yield from file.lines()
            if file.rows and file.rejected / file.rows > self.source.error_budget:
                yield (
                    f"    Warning: that is more than the error budget of {self.source.error_budget:.1%}."
                    " If the whole file is like that, it fails and none of its rows is loaded."
                )


def enable(access: Access, source_id: str, keys: Sequence[str] = ()) -> Trial:
    """Test a source's converter on its first files, or on those named, and remember that it passed.

    Raises NotEnabled, with what failed, if no row becomes an event; ImportAccessError if the bucket cannot be
    read. Nothing is imported, and the lake need not be there.
    """
    source = access.config.source(source_id)
    store = access.store(source.connection, source.region)
    client = store.client()
    converter = Converter.from_file(access.config.converter_path(source))
    taxonomy = taxonomy_of(access.config, source)
    if keys:
        items = [_chosen(source, describe(client, source.bucket, key), converter) for key in keys]
    else:
        found = look_at_keys(source, store, converter)
        if not found.first_matching:
            raise NotEnabled(_nothing_matches(source, found, converter))
        items = found.first_matching[:MAX_FILES]
    trial = Trial(
        source,
        converter,
        [_try(item.key, file_samples(source, client, converter, taxonomy, item)) for item in items],
    )
    if not trial.passed:
        raise NotEnabled(
            f"The source {source.id} is not enabled, because no row became an event."
            f" {_what_to_mend(source)} (or name other files of the source to test):\n"
            + "\n".join(trial.lines())
        )
    record_passed(
        access.ledger, source.id, source.as_json(), source.hash,
        converter_hash=converter.hash, keys=[file.key for file in trial.files if file.events],
    )  # fmt: skip
    return trial


def require_enabled(run: ImportRun) -> None:
    """Raise NotEnabled, naming the command, if no converter of the source ever passed its test.

    A replay has no converter: its rows are what the lake holds.
    """
    source = run.source
    if not source.replay and passed_test(run.ledger, source.id) is None:
        raise NotEnabled(
            f"The source {source.id} is not enabled: its converter {source.converter} has not been tested on"
            f" real files yet. Run `sluice import enable {source.id}`, which does that."
        )


def state_of_test(ledger: Ledger, source: ImportConfig, converter: Path) -> str:
    """Say whether the source's converter, as it is now, has passed its test: for a status."""
    if source.replay:
        return "none: a replay"
    passed = passed_test(ledger, source.id)
    if passed is None:
        return "never tested"
    try:
        current = Converter.from_file(converter).hash
    except SluiceError:
        return "cannot be read"
    return "tested" if passed.converter_hash == current else "changed since its test"


def converter_in_force(run: ImportRun) -> Converter:
    """Return the converter that newly found files get: the file as it is, unless it awaits its test.

    Raises ConfigError for a file that cannot be compiled, NotEnabled if the converter that passed is gone.
    """
    current = remember(run.lake, run.converter_path)
    passed = passed_test(run.ledger, run.source.id)
    if passed is None or passed.converter_hash == current.hash:
        return current
    command = f"`sluice import enable {run.source.id}`"
    try:
        tested = recall(run.lake, passed.converter_hash)
    except SluiceError as error:
        raise NotEnabled(
            f"The converter {run.source.converter} has changed since it was tested, and the tested one never"
            f" took part in a run: test the new one with {command}."
        ) from error
    log.warning(
        "The converter %s has changed and is not tested: new files still get the one that passed on %s. Test"
        " the new one with %s.",
        run.source.converter, f"{passed.at:%Y-%m-%d}", command,
    )  # fmt: skip
    return tested


def _try(key: str, samples: Iterator[Sample]) -> FileTrial:
    result = FileTrial(key)
    for sample in islice(samples, MAX_ROWS):
        if sample.row is None:
            result.fault = sample.fault
        elif sample.fault is not None:
            result.rejected += 1
            result.reasons[sample.fault] += 1
        elif sample.event is None:
            result.ignored += 1
        else:
            result.events += 1
    return result


def _chosen(source: ImportConfig, item: ListedObject, converter: Converter) -> ListedObject:
    if not item.key.startswith(source.prefix) or not matches(converter, item.key, source):
        raise NotEnabled(
            f"{item.key} is no file of the source {source.id}: it does not lie below {source.prefix!r}, or"
            f" filterPattern of {source.converter} does not match it."
        )
    return item


def _what_to_mend(source: ImportConfig) -> str:
    if source.replay:
        return "A replay takes files in export form: look at them"
    return f"Mend the converter {source.converter}"


def _nothing_matches(source: ImportConfig, found: Keys, converter: Converter) -> str:
    looked = f"none of the {'first ' if found.more else ''}{found.others:,} objects"
    return (
        f"The source {source.id} is not enabled, because {looked} below s3://{source.bucket}/{source.prefix}"
        f" matches {converter.config.filter_pattern or '(every key)'}: look at them with `sluice import"
        f" preview {source.id}`, and upload a file, or mend the source or its converter."
    )

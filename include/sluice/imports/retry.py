"""Giving a failed file another chance, by a person's hand (decisions I-9)."""

from __future__ import annotations

from sluice.errors import SluiceError
from sluice.imports.converters import remember
from sluice.imports.discovery import size_fault
from sluice.imports.objects import describe
from sluice.imports.session import ImportRun
from sluice.ledger import files


class NotRetried(SluiceError):
    """A file that may not be taken up again; the message says why."""


def retry_file(run: ImportRun, key: str) -> None:
    """Make a failed file of the source wait again: as the object is now, for the converter as it is now.

    None of its rows is in the lake, so nothing is doubled, even if it was uploaded anew. Raises NotRetried
    for a file that is unknown, not failed, or outside of the size limits.
    """
    source = run.source
    file = files.find(run.ledger, source.id, source.bucket, key)
    place = f"s3://{source.bucket}/{key}"
    if file is None:
        raise NotRetried(f"{place} was never found for the source {source.id}: give the whole key.")
    if file.state != "failed":
        raise NotRetried(_refusal(place, file.state))
    item = describe(run.store.client(), source.bucket, key)
    fault = size_fault(source, item.size) if source.size_policy == "reject" else None
    if fault:
        raise NotRetried(f"{place}: {fault}")
    found = files.NewFile(item.key, item.etag, item.size, item.last_modified)
    if not files.retry(
        run.ledger, source.id, source.bucket, found, remember(run.lake, run.converter_path).hash
    ):
        raise NotRetried(f"{place} changed its state just now: look at it again.")


def _refusal(place: str, state: str) -> str:
    if state == "done":
        return f"{place} is done: its rows are in the lake, and only failed files are tried again."
    return f"{place} is {state}: the next run takes it up by itself."

"""What a person does about a failed file: give it another chance, or give it up (decisions I-9)."""

from __future__ import annotations

from sluice.config import ImportConfig
from sluice.errors import SluiceError
from sluice.imports.converters import remember
from sluice.imports.discovery import size_fault
from sluice.imports.objects import describe
from sluice.imports.session import ImportRun
from sluice.ledger import Ledger, files
from sluice.ledger.files import SourceFile


class NotRetried(SluiceError):
    """A file that may not be taken up again; the message says why."""


class NotGivenUp(SluiceError):
    """A file that cannot be given up; the message says why."""


def retry_file(run: ImportRun, key: str) -> None:
    """Make a failed file of the source wait again: as the object is now, for the converter as it is now.

    None of its rows is in the lake, so nothing is doubled, even if it was uploaded anew. A file that waits
    already is left as it is. Raises NotRetried for a file that is unknown, under way, done, or outside of the
    size limits.
    """
    source = run.source
    file = files.find(run.ledger, source.id, source.bucket, key)
    place = f"s3://{source.bucket}/{key}"
    if file is None:
        raise NotRetried(_unknown(source, key))
    if file.state == "discovered":
        return
    if file.state not in ("failed", "given_up"):
        raise NotRetried(_refusal(run.ledger, source, file, "tried again"))
    item = describe(run.store.client(), source.bucket, key)
    fault = size_fault(source, item.size) if source.size_policy == "reject" else None
    if fault:
        raise NotRetried(f"{place}: {fault}")
    found = files.NewFile(item.key, item.etag, item.size, item.last_modified)
    if not files.retry(
        run.ledger, source.id, source.bucket, found, remember(run.lake, run.converter_path).hash
    ):
        raise NotRetried(_changed(place))


def give_up_file(ledger: Ledger, source: ImportConfig, key: str, by: str, why: str = "") -> None:
    """Mark a failed file of the source as given up by somebody: nobody has to look at it any more.

    A file that is given up already is left as it is, and `retry_file` takes it back. Raises NotGivenUp for a
    file that is unknown, or not failed.
    """
    file = files.find(ledger, source.id, source.bucket, key)
    place = f"s3://{source.bucket}/{key}"
    if file is None:
        raise NotGivenUp(_unknown(source, key))
    if file.state == "given_up":
        return
    if file.state != "failed":
        raise NotGivenUp(_refusal(ledger, source, file, "given up"))
    note = f"Given up by {by} on {ledger.now():%Y-%m-%d}{f' ({why})' if why else ''}."
    if not files.give_up(ledger, source.id, file, note):
        raise NotGivenUp(_changed(place))


def _unknown(source: ImportConfig, key: str) -> str:
    return f"s3://{source.bucket}/{key} was never found for the source {source.id}: give the whole key."


def _refusal(ledger: Ledger, source: ImportConfig, file: SourceFile, what: str) -> str:
    place = f"s3://{file.bucket}/{file.key}"
    run = (file.staged or {}).get("run")
    if (source.id, run) in files.runs_of_held(ledger):
        return (
            f"{place} waits behind the quality gate of the run {run}: `sluice quality show {run}` says why,"
            f" and how to release or discard it. Only failed files are {what}."
        )
    if file.state == "done":
        return f"{place} is done: its rows are in the lake, and only failed files are {what}."
    return f"{place} is {file.state}: only failed files are {what}, and a run has still to take this one up."


def _changed(place: str) -> str:
    return f"{place} changed its state just now: look at it again."

"""Sends a turn's CSV files to the destination's bucket, `existing` last: it is the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from sluice.cohorts.staged_file import StagedFile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from sluice.config.cohort_destinations import S3CohortDestination

Read = Callable[[StagedFile], Iterable[bytes]]
# Called with a file and how many of its bytes have arrived; it may raise to stop.
Progress = Callable[[StagedFile, int], None]


def deliver_files(
    files: Sequence[StagedFile],
    read: Read,
    client: S3Client,
    destination: S3CohortDestination,
    on_progress: Progress = lambda file, sent: None,
) -> None:
    """Send the files in their order; a retry overwrites what an earlier try sent, with the same bytes.

    `read` streams a staged file from the lake. Raises BucketAccessError, BucketUnavailable, or StagingError
    for staged bytes that are not those that were fixed.
    """
    raise NotImplementedError

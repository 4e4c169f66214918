"""What can go wrong in an import: with one file, or with the access to all of them."""

from __future__ import annotations

from sluice.errors import SluiceError


class FileError(SluiceError):
    """One file cannot be imported, and no retry changes that; other files go on.

    The message is one sentence for the file's `reason` and says what to do.
    """


class ImportAccessError(SluiceError):
    """The bucket cannot be reached as the source is configured; the message names what is missing."""

"""What can go wrong between an hour and its bucket; each message says what to do."""

from __future__ import annotations

from sluice.errors import SluiceError, TransientError


class ForeignHour(SluiceError):
    """The hour is in the bucket already, by a writer that this destination's ledger does not know."""


class WindowError(SluiceError):
    """A range of hours that cannot be meant: not whole hours, reversed, or not over yet."""


class LakeSchemaError(SluiceError):
    """The lake's events do not have the columns that an export needs, or not their types."""


class LakeRowError(SluiceError):
    """A row of the lake is no event as the import makes them: another program wrote it."""


class LakeFileError(SluiceError):
    """A data file of the lake is gone, or cannot be read."""


class ExportDiffers(SluiceError):
    """The bucket does not hold what the lake holds."""


class ContentMismatch(TransientError):
    """The rows that the lake gave for an hour are not those that the ledger records for it."""

"""What can be wrong with a bucket or a stream; light, as DAG files name these errors as they are parsed."""

from __future__ import annotations

from sluice.errors import SluiceError, TransientError


class BucketAccessError(SluiceError):
    """The bucket cannot be used with these credentials: a setting on the receiving side must change."""


class BucketUnavailable(TransientError):
    """The bucket's store did not answer, or not as a store should."""


class Refused(Exception):
    """The store refused a conditional request, or the upload or object is gone: something else changed it."""


class StreamAccessError(SluiceError):
    """The stream cannot be used as it is: its side, or the destination's configuration, must change."""


class StreamUnavailable(TransientError):
    """The stream did not take a request now, and may take the same one later."""

"""One file of a turn: fixed before the first byte leaves, and sent as it is by every try."""

from __future__ import annotations

from sluice.errors import SluiceError


class StagingError(SluiceError):
    """A staged file is gone, or is not what was fixed."""

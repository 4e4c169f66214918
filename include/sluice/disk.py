"""A full disk, in whatever words the system, Arrow or the embedded engine says it."""

from __future__ import annotations

import errno

from sluice.errors import TransientError

# EFBIG is what a limit on a process's files answers.
_CODES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large", "max_temp_directory_size")


class DiskFull(TransientError):
    """This machine has no room for temporary files."""


def disk_is_full(error: BaseException) -> bool:
    """Say whether an error means that a disk has no more room."""
    return getattr(error, "errno", None) in _CODES or any(text in str(error) for text in _TEXTS)

"""Runs a command as another user who may still enter the launcher's folders; for PostgreSQL under root.

    python -I -S unprivileged.py UID GID COMMAND…

PostgreSQL refuses to run as root. As another user alone it could not reach a data directory below
/root or a private temporary folder, and opening those to everybody would be worse. So the command
keeps, of all of root's rights, the one to pass by file permissions (Linux only, and only if root has it).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def become(uid: int, gid: int) -> None:
    """Give up root for `uid` and `gid`, keeping the right to pass by file permissions where possible."""
    linux = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if linux:
        linux.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if linux:
        mask = 1 << CAP_DAC_OVERRIDE
        header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
        # effective, permitted, inheritable of the low 32 capabilities; none of the high ones
        if linux.capset(header, struct.pack("=6I", mask, mask, mask, 0, 0, 0)) == 0:
            linux.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def main(arguments: list[str]) -> None:
    """Become the user and turn into the command."""
    # By path, because this runs without the package; a change of user has undone the guard's setting.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from guard import die_with_parent  # type: ignore[import-not-found]

    parent = os.getppid()
    become(int(arguments[0]), int(arguments[1]))
    die_with_parent()
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(arguments[2], arguments[2:])


if __name__ == "__main__":
    main(sys.argv[1:])

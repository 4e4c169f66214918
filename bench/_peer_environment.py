"""The environments of the peers: what we measure ourselves against is no dependency of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench._measure import REPOSITORY

_ENVIRONMENTS = REPOSITORY / ".sluice" / "bench"


def peer_environment(name: str) -> Path:
    """Make an environment from its lock, bench/peers/<name>.txt, or bring it up to it; return its Python."""
    python = _ENVIRONMENTS / name / "bin" / "python"
    lock = REPOSITORY / "bench" / "peers" / f"{name}.txt"
    uv = Path(sys.executable).with_name("uv")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", _ENVIRONMENTS / name], check=True)
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", lock], check=True)
    return python

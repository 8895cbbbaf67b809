"""Finds recordings of real exchanges, which are too large and not ours to keep in this repository."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

VARIABLE = "CANDLEACTORS_RECORDED"


def root() -> Path:
    """Return the folder of recordings: ``CANDLEACTORS_RECORDED``, else ``shared/data`` beside the project."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"


def recorded(path: str) -> Path:
    """Return the recording `path`, relative to `root`; skips the calling test where it is absent."""
    found = root() / path
    if not found.exists():
        pytest.skip(f"no recording {path} under {root()}; set {VARIABLE} to the folder of recordings")
    return found


def recordings(pattern: str) -> list[Path]:
    """Return every recording that matches the glob `pattern`, sorted; skips the calling test where there is none."""
    found = sorted(root().glob(pattern))
    if not found:
        pytest.skip(f"no recording {pattern} under {root()}; set {VARIABLE} to the folder of recordings")
    return found


def lines(path: Path) -> list[str]:
    """Return the lines of a recording, unpacked where its name ends in ``.gz``."""
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8").splitlines()

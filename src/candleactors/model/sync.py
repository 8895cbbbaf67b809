"""Syncs: comparisons of whole stretches of streams with their venues, asked for by somebody."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class SyncState(StrEnum):
    """How far a sync has come."""

    RUNNING = "running"
    DONE = "done"
    """Every stream was compared."""
    FAILED = "failed"
    """It has ended, and at least one stream could not be compared to the end."""


@frozen
class SyncStatus:
    """A sync at one moment."""

    id: str
    state: SyncState
    streams: int
    """How many are compared."""
    done: int
    """Streams compared to the end."""
    failed: int
    """Streams given up."""
    candles: int
    """Rows of the venue that were compared."""
    repaired: int
    """Candles that were missing or stood there otherwise, and are right now."""
    errors: tuple[str, ...]
    """Why streams were given up; the first 20."""
    started_ms: int
    ended_ms: int | None
    """``None`` while it runs. Both by our wall clock."""

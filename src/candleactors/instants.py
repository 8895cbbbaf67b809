"""Points in time as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

LATEST_MS: Final = 60_000_000_000_000
"""In the year 3871: every timeframe has its intervals until here and beyond, within the calendar's 9999 years."""
_MOST_DIGITS: Final = 18
_DATE_DIGITS: Final = 8
"""A number of so many digits is a date without dashes: 20260131."""


def instant_ms(text: str) -> int:
    """Return the epoch milliseconds that `text` means: a number of them, or ISO 8601, UTC unless it says otherwise.

    Raises `ValueError`, whose message says how to write one.
    """
    try:
        if text.isascii() and text.isdecimal() and len(text) != _DATE_DIGITS and len(text) <= _MOST_DIGITS:
            return int(text)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        shown = text if len(text) <= 40 and text.isprintable() else f"{text[:40]!a}…"
        problem = f'"{shown}" is not a time; write 2026-01-31, 2026-01-31T08:00 or milliseconds since 1970'
        raise ValueError(problem) from None

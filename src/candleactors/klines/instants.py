"""Points in time as files write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EARLIEST_MS: Final = 946_684_800_000
"""2000-01-01: what is written as a smaller number is in seconds."""
LATEST_MS: Final = 4_102_444_800_000
"""2100-01-01: what is written as a larger number is in microseconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def epoch_ms(count: int) -> int:
    """Return the milliseconds since 1970 that `count` means: seconds, milliseconds or microseconds, by magnitude.

    Fractions of a millisecond are cut off. Raises `ValueError` outside the years 2000 to 2099.
    """
    if EARLIEST_MS <= count < LATEST_MS:
        return count
    if EARLIEST_MS <= count * 1000 < LATEST_MS:
        return count * 1000
    if EARLIEST_MS <= count // 1000 < LATEST_MS:
        return count // 1000
    raise ValueError(f"{count} is no time from 2000 to 2099 in s, ms or µs")


def is_microseconds(count: int) -> bool:
    """Whether `epoch_ms` takes `count` for microseconds."""
    return EARLIEST_MS <= count // 1000 < LATEST_MS


def epoch_count(text: str) -> str:
    """Return a point in time as a number for `epoch_ms`: `text` itself, or ISO 8601 made microseconds.

    ISO 8601 is UTC unless it says otherwise. Raises `ValueError` for any other text.
    """
    whole, point, zeros = text.partition(".")
    if whole.isascii() and whole.isdecimal() and len(whole) > 8 and (not point or not zeros.strip("0")):
        return whole
    try:
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        count = (moment - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        raise ValueError(f'"{text[:40]}" is not a time, neither a number nor ISO 8601') from None
    if not is_microseconds(count):
        raise ValueError(f'"{text[:40]}" is no time from 2000 to 2099')
    return str(count)

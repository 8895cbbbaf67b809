"""Instants at which something begins: near the edges of days, weeks, months and years, where aggregation goes wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from hypothesis import strategies as st

from candleactors.model import DAY_MS
from candleactors.testing.strategies.timeframes import Chosen, chosen


def _midnight_ms(date: str) -> int:
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()) * 1000


EDGES_MS: Final = tuple(
    map(
        _midnight_ms,
        (
            "2024-01-01",  # a year, and a Monday
            "2024-02-29",
            "2024-03-01",
            "2023-03-01",  # after a February of 28 days
            "2100-03-01",  # the same, in a year divisible by four
            "2000-02-29",
            "2024-12-30",  # a Monday; its week ends in the next year
            "2023-05-01",  # a month, and a Monday
            "2017-01-01",  # behind a leap second, which UTC milliseconds do not count
            "2024-03-31",  # summer time begins in Europe, which changes nothing
            "2024-11-03",  # it ends in America
            "1980-01-01",
        ),
    )
)
"""Midnights UTC."""
_FIRST_DAY: Final = _midnight_ms("1980-01-01") // DAY_MS
_LAST_DAY: Final = _midnight_ms("2120-01-01") // DAY_MS
_MIDNIGHTS: Final = st.sampled_from(EDGES_MS) | st.integers(_FIRST_DAY, _LAST_DAY).map(lambda day: day * DAY_MS)


@st.composite
def open_times(draw: st.DrawFn, timeframe: Chosen = "1m", *, before: int = 60) -> int:
    """Return an open time of `timeframe` in UTC milliseconds, between the years 1980 and 2120.

    It lies up to `before` intervals before a midnight: a well-known edge of a week, month, leap day or year, or any.
    Shrinks towards 2024-01-01.
    """
    frame = draw(chosen(timeframe))
    open_ms = frame.floor(draw(_MIDNIGHTS))
    for _ in range(draw(st.integers(0, before))):
        open_ms = frame.previous_open(open_ms)
    return open_ms

"""Partitions of the table of candles, one for each month (UTC) that has a candle.

There is no default partition: a row without a partition of its own would be an error, not a row in the wrong place.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg

from candleactors.model import DAY_MS
from candleactors.stores.postgres.locks import take_turn

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EXISTING: Final = """
    SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'market_data.candle'::regclass
"""


def needed(connection: psycopg.Connection[Any]) -> bool:
    """Whether candles lie in partitions that have to be made: not so with TimescaleDB."""
    row = connection.execute("SELECT relkind::text FROM pg_class WHERE oid = 'market_data.candle'::regclass").fetchone()
    return row == ("p",)


def ensure(connection: psycopg.Connection[Any], known: set[int], open_times_ms: Iterable[int]) -> None:
    """Make the partitions that candles at `open_times_ms` need, in a transaction of its own; `known` are passed over.

    Adds them to `known`. Months are counted from the year 0.
    """
    days = {at_ms // DAY_MS for at_ms in open_times_ms}
    missing = {_month(day) for day in days} - known
    if not missing:
        return
    with connection.transaction():
        take_turn(connection)
        existing = {name for (name,) in connection.execute(_EXISTING)}
        for month in sorted(missing):
            if (name := _name(month)) in existing:
                continue
            # Made first and attached then: that waits for nobody who reads or writes the other months.
            connection.execute(f"CREATE TABLE market_data.{name} (LIKE market_data.candle INCLUDING ALL)")
            connection.execute(
                f"ALTER TABLE market_data.candle ATTACH PARTITION market_data.{name} "
                f"FOR VALUES FROM ('{_first_day(month)} 00:00+00') TO ('{_first_day(month + 1)} 00:00+00')"
            )
    known |= missing


def _month(day: int) -> int:
    date = _EPOCH + timedelta(days=day)
    return date.year * 12 + date.month - 1


def _name(month: int) -> str:
    return f"candle_{month // 12:04}_{month % 12 + 1:02}"


def _first_day(month: int) -> str:
    return f"{month // 12:04}-{month % 12 + 1:02}-01"

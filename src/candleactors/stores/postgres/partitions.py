"""Partitions of the table of candles, one for each month (UTC) that has a candle.

There is no default partition: a row without a partition of its own would be an error, not a row in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import psycopg

from candleactors.model import DAY_MS
from candleactors.stores.postgres.locks import hurry, take_turn

T = TypeVar("T")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EXISTING: Final = """
    SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'market_data.candle'::regclass ORDER BY relname
"""
_NAME: Final = re.compile(r"candle_([0-9]{4})_([0-9]{2})")


def needed(connection: psycopg.Connection[Any]) -> bool:
    """Whether candles lie in partitions that have to be made: not so with TimescaleDB."""
    row = connection.execute("SELECT relkind::text FROM pg_class WHERE oid = 'market_data.candle'::regclass").fetchone()
    return row == ("p",)


def with_room(
    connection: psycopg.Connection[Any], known: set[int], open_times_ms: Iterable[int], write: Callable[[], T]
) -> T:
    """Return what `write` returns, a transaction that needs the partitions of `open_times_ms`; see `ensure`."""
    wanted = list(open_times_ms)
    ensure(connection, known, wanted)
    try:
        return write()
    except psycopg.errors.CheckViolation as error:
        if error.diag.constraint_name is not None:
            raise
    # A partition is missing that was there: somebody has dropped it, as `drop_empty` does.
    known.clear()
    ensure(connection, known, wanted)
    return write()


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


def drop_empty(connection: psycopg.Connection[Any], known: set[int]) -> None:
    """Drop the partitions without a row, each in a transaction of its own, and take them out of `known`.

    No writer comes between looking and dropping. The lock that dropping takes keeps readers out as well, so it is had
    at once or not at all; then what is left, or cannot be looked through quickly, is for the next time.
    """
    for (name,) in connection.execute(_EXISTING).fetchall():
        if (parts := _NAME.fullmatch(name)) is None:
            continue
        try:
            with connection.transaction():
                take_turn(connection)
                hurry(connection)
                if connection.execute(f"SELECT FROM market_data.{name} LIMIT 1").fetchone() is None:
                    connection.execute(f"DROP TABLE market_data.{name}")
                    known.discard(int(parts[1]) * 12 + int(parts[2]) - 1)
        except psycopg.errors.LockNotAvailable:
            return
        except (psycopg.errors.QueryCanceled, psycopg.errors.UndefinedTable):
            # Full of deleted rows, until the server's own vacuum has been there; or dropped by somebody else.
            continue


def _month(day: int) -> int:
    date = _EPOCH + timedelta(days=day)
    return date.year * 12 + date.month - 1


def _name(month: int) -> str:
    return f"candle_{month // 12:04}_{month % 12 + 1:02}"


def _first_day(month: int) -> str:
    return f"{month // 12:04}-{month % 12 + 1:02}-01"

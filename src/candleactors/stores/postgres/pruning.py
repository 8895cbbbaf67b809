"""Deleting what nobody wants to keep any longer from a PostgreSQL store."""

from __future__ import annotations

from typing import Final

from candleactors.model import Stream
from candleactors.stores.gaps import from_on
from candleactors.stores.postgres import partitions, rows, timescale
from candleactors.stores.postgres.connection import Session
from candleactors.stores.postgres.gaps import replace_gaps, select_gaps
from candleactors.stores.postgres.locks import take_turn

_BEFORE: Final = "FROM market_data.candle WHERE venue = %s AND symbol = %s AND timeframe = %s AND open_time < %s"
_SELECT_LAST: Final = f"SELECT open_time {_BEFORE} ORDER BY open_time OFFSET %s LIMIT 1"
_DELETE: Final = f"DELETE {_BEFORE}"


def prune(session: Session, stream: Stream, before_ms: int, most: int) -> int:
    """Delete at most `most` candles, and the gaps up to there; see `Store.prune`."""
    connection, name = session.connection, rows.name_of(stream)
    with connection.transaction():
        take_turn(connection)
        parameters = (*name, rows.instant(before_ms), most - 1)
        last = connection.execute(_SELECT_LAST, parameters, binary=True).fetchone()
        if last is not None:
            before_ms = rows.at_ms(last[0]) + 1
        deleted = connection.execute(_DELETE, (*name, rows.instant(before_ms))).rowcount
        gaps = select_gaps(connection, stream)
        left = from_on(gaps, before_ms)
        if left != gaps:
            replace_gaps(connection, stream, left)
    return deleted


def reclaim(session: Session) -> None:
    """Drop the partitions or chunks in which no row is left; see `Store.reclaim`."""
    if session.partitioned:
        partitions.drop_empty(session.connection, session.months)
    elif timescale.version(session.connection) is not None:
        timescale.drop_empty(session.connection)

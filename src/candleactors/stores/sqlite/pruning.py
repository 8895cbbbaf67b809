"""Deleting what nobody wants to keep any longer from a SQLite store."""

from __future__ import annotations

import sqlite3
from typing import Final

from candleactors.model import Stream
from candleactors.stores.gaps import from_on
from candleactors.stores.sqlite import schema
from candleactors.stores.sqlite.gaps import replace_gaps, select_gaps

_SELECT_ID: Final = "SELECT id FROM stream WHERE venue = ? AND symbol = ? AND timeframe = ?"
_SELECT_LAST: Final = """
    SELECT open_time_ms FROM candle WHERE stream = ? AND open_time_ms < ? ORDER BY open_time_ms LIMIT 1 OFFSET ?
"""


def prune(connection: sqlite3.Connection, stream: Stream, before_ms: int, most: int) -> int:
    """Delete at most `most` candles, and the gaps up to there; see `Store.prune`."""
    connection.execute("BEGIN IMMEDIATE")
    row = connection.execute(_SELECT_ID, schema.stream_key(stream)).fetchone()
    deleted = 0
    if row is not None:
        (number,) = row
        last = connection.execute(_SELECT_LAST, (number, before_ms, most - 1)).fetchone()
        if last is not None:
            before_ms = last[0] + 1
        statement = "DELETE FROM candle WHERE stream = ? AND open_time_ms < ?"
        deleted = connection.execute(statement, (number, before_ms)).rowcount
        gaps = select_gaps(connection, stream)
        left = from_on(gaps, before_ms)
        if left != gaps:
            replace_gaps(connection, number, left)
    connection.execute("COMMIT")
    return deleted

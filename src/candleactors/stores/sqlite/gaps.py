"""The gaps that the SQLite store remembers, and what filled them."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence

from candleactors.model import Candle, Gap, GapSummary, Stream
from candleactors.stores.base import REPAIRS_KEPT_MS
from candleactors.stores.gaps import settle, summarize
from candleactors.stores.sqlite import schema


def write_gaps(
    connection: sqlite3.Connection,
    ids: Mapping[schema.Key, int],
    candles: Sequence[Candle],
    gaps: Sequence[Gap],
    repaired_ms: int,
) -> None:
    """Lay `gaps` over the stored ones and take out every interval that has a closed candle.

    What that fills of gaps that were stored before is noted as repaired. Part of the caller's transaction.
    """
    with_gaps = {stream_id for (stream_id,) in connection.execute("SELECT DISTINCT stream FROM gap")}
    filled: defaultdict[Stream, set[int]] = defaultdict(set)
    if with_gaps:
        for candle in candles:
            if candle.closed and ids[schema.stream_key(candle)] in with_gaps:
                filled[candle.stream].add(candle.open_time_ms)
    new: defaultdict[Stream, list[Gap]] = defaultdict(list)
    for gap in gaps:
        new[gap.stream].append(gap)
        rows = connection.execute(
            "SELECT open_time_ms FROM candle WHERE stream = ? AND closed = 1 AND open_time_ms BETWEEN ? AND ?",
            (ids[schema.stream_key(gap)], gap.first_open_ms, gap.last_open_ms),
        )
        filled[gap.stream].update(open_time_ms for (open_time_ms,) in rows)
    repairs: list[schema.Row] = []
    for stream, open_times in filled.items():
        number = ids[schema.stream_key(stream)]
        left, mended = settle(select_gaps(connection, stream), new[stream], open_times)
        repairs += [(number, gap.first_open_ms, gap.last_open_ms, gap.reason.value, repaired_ms) for gap in mended]
        replace_gaps(connection, number, left)
    if repairs:
        connection.executemany(
            "INSERT INTO repair (stream, first_open_ms, last_open_ms, reason, repaired_ms) VALUES (?, ?, ?, ?, ?)",
            repairs,
        )
        connection.execute("DELETE FROM repair WHERE repaired_ms < ?", (repaired_ms - REPAIRS_KEPT_MS,))


def replace_gaps(connection: sqlite3.Connection, number: int, gaps: Sequence[Gap]) -> None:
    """Let `gaps` be those of the stream with this number, in place of what was stored."""
    connection.execute("DELETE FROM gap WHERE stream = ?", (number,))
    connection.executemany(
        "INSERT INTO gap (stream, first_open_ms, last_open_ms, reason) VALUES (?, ?, ?, ?)",
        [(number, gap.first_open_ms, gap.last_open_ms, gap.reason.value) for gap in gaps],
    )


def select_gaps(connection: sqlite3.Connection, stream: Stream) -> list[Gap]:
    """Return the stored gaps of `stream`, ascending."""
    rows = connection.execute(schema.SELECT_GAPS, schema.stream_key(stream)).fetchall()
    return [schema.to_gap(stream, row) for row in rows]


def summary(connection: sqlite3.Connection, since_ms: int) -> GapSummary:
    """Return how many gaps are open, and what was repaired from `since_ms` on."""
    connection.execute("BEGIN")  # both at one moment
    gaps = [_named(row) for row in connection.execute(schema.SELECT_ALL_GAPS)]
    repairs = [_named(row) for row in connection.execute(schema.SELECT_REPAIRS, (since_ms,))]
    connection.execute("COMMIT")
    return summarize(gaps, repairs)


def _named(row: schema.Row) -> Gap:
    return schema.to_gap(schema.to_stream(row[:3]), row[3:])

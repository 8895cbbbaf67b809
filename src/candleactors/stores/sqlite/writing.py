"""What a SQLite store writes, each call one transaction."""

from __future__ import annotations

import operator
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from candleactors.model import Candle, Gap, Stream
from candleactors.stores.merging import Tally, merged
from candleactors.stores.sqlite import schema
from candleactors.stores.sqlite.gaps import write_gaps

_MOST_PARAMETERS: Final = 500


def write(
    connection: sqlite3.Connection, candles: Sequence[Candle], gaps: Sequence[Gap], repaired_ms: int | None
) -> None:
    """Upsert; see `Store.write`."""
    connection.execute("BEGIN IMMEDIATE")
    _upsert(connection, candles, gaps, repaired_ms)
    connection.execute("COMMIT")


def _upsert(
    connection: sqlite3.Connection, candles: Sequence[Candle], gaps: Sequence[Gap], repaired_ms: int | None
) -> None:
    ids = _stream_ids(connection, {*map(schema.stream_key, candles), *map(schema.stream_key, gaps)})
    rows = [schema.to_row(ids[schema.stream_key(candle)], candle) for candle in candles]
    # Neighbours share pages. The sort is stable, so that the later write of one interval stays the later.
    rows.sort(key=operator.itemgetter(0, 1))
    connection.executemany(schema.UPSERT, rows)
    if repaired_ms is None:
        repaired_ms = max((candle.received_ms for candle in candles), default=0)
    write_gaps(connection, ids, candles, gaps, repaired_ms)


def merge(
    connection: sqlite3.Connection, candles: Sequence[Candle], corrects: bool, repaired_ms: int | None
) -> dict[Stream, Tally]:
    """Merge; see `Archive.merge`."""
    by_stream: defaultdict[Stream, list[Candle]] = defaultdict(list)
    for candle in candles:
        by_stream[candle.stream].append(candle)
    connection.execute("BEGIN IMMEDIATE")
    tallies: dict[Stream, Tally] = {}
    written: list[Candle] = []
    for stream, group in by_stream.items():
        stored = _select_some(connection, stream, [candle.open_time_ms for candle in group])
        tally = tallies[stream] = Tally()
        for candle in group:
            outcome, merger = merged(stored.get(candle.open_time_ms), candle, corrects=corrects)
            tally.count(outcome)
            if merger is not None:
                written.append(merger)
    if written:
        _upsert(connection, written, (), repaired_ms)
    connection.execute("COMMIT")
    return tallies


def _select_some(connection: sqlite3.Connection, stream: Stream, open_times_ms: list[int]) -> dict[int, Candle]:
    found = {}
    for first in range(0, len(open_times_ms), _MOST_PARAMETERS):
        wanted = open_times_ms[first : first + _MOST_PARAMETERS]
        statement = schema.SELECT_SOME.format(", ".join("?" * len(wanted)))
        for row in connection.execute(statement, (*schema.stream_key(stream), *wanted)):
            found[row[0]] = schema.to_candle(stream, row)
    return found


def _stream_ids(connection: sqlite3.Connection, keys: Iterable[schema.Key]) -> dict[schema.Key, int]:
    ids = {}
    for key in keys:
        row = connection.execute(
            "SELECT id FROM stream WHERE venue = ? AND symbol = ? AND timeframe = ?", key
        ).fetchone()
        if row is None:
            row = connection.execute(
                "INSERT INTO stream (venue, symbol, timeframe) VALUES (?, ?, ?) RETURNING id", key
            ).fetchone()
        ids[key] = row[0]
    return ids

"""The gaps that the PostgreSQL store remembers, and what filled them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from candleactors.model import Candle, Gap, GapSummary, Stream
from candleactors.stores.base import REPAIRS_KEPT_MS
from candleactors.stores.gaps import settle, summarize
from candleactors.stores.postgres.rows import SELECT_CLOSED, Name, at_ms, instant, name_of, to_gap

_SELECT_OF: Final = """
    SELECT venue, symbol, timeframe, first_open, last_open, reason FROM market_data.gap
    WHERE (venue, symbol, timeframe) IN (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]))
    ORDER BY first_open
"""
_SELECT_ALL: Final = """
    SELECT false, venue, symbol, timeframe, first_open, last_open, reason FROM market_data.gap
    UNION ALL
    SELECT true, venue, symbol, timeframe, first_open, last_open, reason FROM market_data.repair WHERE repaired_at >= %s
"""
_DELETE: Final = "DELETE FROM market_data.gap WHERE venue = %s AND symbol = %s AND timeframe = %s"
_INSERT: Final = """
    INSERT INTO market_data.gap (venue, symbol, timeframe, first_open, last_open, reason)
    VALUES (%s, %s, %s, %s, %s, %s)
"""
_INSERT_REPAIR: Final = """
    INSERT INTO market_data.repair (venue, symbol, timeframe, first_open, last_open, reason, repaired_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_FORGET: Final = "DELETE FROM market_data.repair WHERE repaired_at < %s"


def write_gaps(
    connection: psycopg.Connection[Any], candles: Sequence[Candle], gaps: Sequence[Gap], repaired_ms: int
) -> None:
    """Lay `gaps` over the stored ones and take out every interval that has a closed candle.

    What that fills of gaps that were stored before is noted as repaired. Part of the caller's transaction, in which
    `candles` are written already and other writers are kept out.
    """
    closed: defaultdict[Name, list[int]] = defaultdict(list)
    for candle in candles:
        if candle.closed:
            closed[candle.venue, candle.symbol, candle.timeframe.text].append(candle.open_time_ms)
    new: defaultdict[Stream, list[Gap]] = defaultdict(list)
    for gap in gaps:
        new[gap.stream].append(gap)
    stored: defaultdict[Stream, list[Gap]] = defaultdict(list)
    for gap in _select(connection, [*closed, *map(name_of, new)]):
        stored[gap.stream].append(gap)
    repairs: list[Gap] = []
    for stream in {*stored, *new}:
        filled = set(closed[name_of(stream)])
        for gap in new[stream]:
            filled |= _closed_within(connection, gap)
        left, mended = settle(stored[stream], new[stream], filled)
        if left != stored[stream]:
            replace_gaps(connection, stream, left)
        repairs += mended
    if repairs:
        at = instant(repaired_ms)
        _insert(connection, _INSERT_REPAIR, [(*_row(gap), at) for gap in repairs])
        connection.execute(_FORGET, [instant(repaired_ms - REPAIRS_KEPT_MS)])


def replace_gaps(connection: psycopg.Connection[Any], stream: Stream, gaps: Sequence[Gap]) -> None:
    """Let `gaps` be those of `stream`, in place of what was stored. Part of a transaction that keeps others out."""
    connection.execute(_DELETE, name_of(stream))
    _insert(connection, _INSERT, [_row(gap) for gap in gaps])


def select_gaps(connection: psycopg.Connection[Any], stream: Stream) -> list[Gap]:
    """Return the stored gaps of `stream`, ascending."""
    return _select(connection, [name_of(stream)])


def summary(connection: psycopg.Connection[Any], since_ms: int) -> GapSummary:
    """Return how many gaps are open, and what was repaired from `since_ms` on, both at one moment."""
    found: dict[bool, list[Gap]] = {False: [], True: []}
    for is_repair, *row in connection.execute(_SELECT_ALL, [instant(since_ms)], binary=True):
        found[is_repair].append(to_gap(tuple(row)))
    found[False].sort(key=lambda gap: (gap.first_open_ms, *name_of(gap.stream)))
    return summarize(found[False], found[True])


def _select(connection: psycopg.Connection[Any], names: Sequence[Name]) -> list[Gap]:
    if not names:
        return []
    columns = [list(column) for column in zip(*names, strict=True)]
    return [to_gap(row) for row in connection.execute(_SELECT_OF, columns, binary=True)]


def _closed_within(connection: psycopg.Connection[Any], gap: Gap) -> set[int]:
    parameters = (*name_of(gap.stream), instant(gap.first_open_ms), instant(gap.last_open_ms))
    return {at_ms(opens) for (opens,) in connection.execute(SELECT_CLOSED, parameters, binary=True)}


def _insert(connection: psycopg.Connection[Any], statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)


def _row(gap: Gap) -> tuple[Any, ...]:
    return (*name_of(gap.stream), instant(gap.first_open_ms), instant(gap.last_open_ms), gap.reason.value)

"""Rows to candles and gaps and back, and the statements about candles.

A timestamptz travels in its binary form, an int64 of microseconds since 2000: a tenth of the cost of a datetime, and
exact. The store's connections read it as a plain int, and COPY sends one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from candleactors.model import Candle, Gap, GapReason, Source, Stream, Timeframe
from candleactors.stores.postgres.trouble import Damaged

Row: TypeAlias = tuple[Any, ...]
Name: TypeAlias = tuple[str, str, str]
"""Venue, symbol and timeframe of a stream."""

_2000_US: Final = 946_684_800_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS: Final = -62_135_596_800_000
_LAST_MS: Final = 253_402_300_799_999
"""The years 1 to 9999, which is what a datetime can say."""

_TYPES: Final = {
    "venue": "text",
    "symbol": "text",
    "timeframe": "text",
    "open_time": "int8",
    "close_time": "int8",
    "open": "numeric",
    "high": "numeric",
    "low": "numeric",
    "close": "numeric",
    "volume": "numeric",
    "quote_volume": "numeric",
    "trades": "int8",
    "taker_buy_volume": "numeric",
    "taker_buy_quote_volume": "numeric",
    "closed": "bool",
    "complete": "bool",
    "source": "text",
    "revision": "int4",
    "received_at": "int8",
    "missing": "int4",
}
"""How each column travels to the server, in the order of the fields of a candle."""
_KEY: Final = ("venue", "symbol", "timeframe", "open_time")
_COLUMNS: Final = ", ".join(_TYPES)
_VALUES: Final = ", ".join(name for name in _TYPES if name not in _KEY[:3])

COPY_TYPES: Final = tuple(_TYPES.values())
INCOMING: Final = "CREATE TEMPORARY TABLE incoming (LIKE market_data.candle) ON COMMIT DELETE ROWS"
COPY: Final = f"COPY pg_temp.incoming ({_COLUMNS}) FROM STDIN (FORMAT binary)"
UPSERT: Final = f"""
    INSERT INTO market_data.candle AS stored ({_COLUMNS}) SELECT {_COLUMNS} FROM pg_temp.incoming
    ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in _TYPES if name not in _KEY)}
    WHERE (excluded.closed, excluded.revision, excluded.complete) >= (stored.closed, stored.revision, stored.complete)
"""
"""The precedence of `Store.write`, compared as a row: closed first, then revision, then completeness."""

_OF_STREAM: Final = "venue = %s AND symbol = %s AND timeframe = %s"
SELECT_RANGE: Final = f"""
    SELECT {_VALUES} FROM market_data.candle WHERE {_OF_STREAM} AND open_time BETWEEN %s AND %s ORDER BY open_time
"""
SELECT_SOME: Final = f"SELECT {_VALUES} FROM market_data.candle WHERE {_OF_STREAM} AND open_time = ANY(%s)"
SELECT_NEWEST: Final = f"""
    SELECT {_VALUES} FROM market_data.candle WHERE {_OF_STREAM} AND closed ORDER BY open_time DESC LIMIT %s
"""
SELECT_CLOSED: Final = f"""
    SELECT open_time FROM market_data.candle WHERE {_OF_STREAM} AND closed AND open_time BETWEEN %s AND %s
"""
SELECT_EDGES: Final = f"""
    WITH neighbour AS (
        SELECT open_time AS opens, close_time + interval '1 ms' AS ends,
               lag(close_time + interval '1 ms') OVER in_order AS before, lead(open_time) OVER in_order AS after
        FROM market_data.candle
        WHERE {_OF_STREAM} AND open_time BETWEEN %s AND %s AND closed AND (complete OR NOT %s)
        WINDOW in_order AS (ORDER BY open_time)
    )
    SELECT opens, ends, before IS DISTINCT FROM opens, after IS DISTINCT FROM ends FROM neighbour
    WHERE before IS DISTINCT FROM opens OR after IS DISTINCT FROM ends ORDER BY opens
"""
"""The candles next to which an interval is missing: before them, after them."""
_WANTED: Final = """
    unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[])
    WITH ORDINALITY AS wanted (venue, symbol, timeframe, start, number)
"""
_OF_WANTED: Final = """
    market_data.candle AS c
    WHERE c.venue = wanted.venue AND c.symbol = wanted.symbol AND c.timeframe = wanted.timeframe AND closed
"""
SELECT_TAILS: Final = f"""
    SELECT number, found.* FROM {_WANTED}
    CROSS JOIN LATERAL (SELECT {_VALUES} FROM {_OF_WANTED} AND open_time >= wanted.start) AS found
    ORDER BY number, open_time
"""
SELECT_LATEST: Final = f"""
    SELECT number, found.* FROM {_WANTED}
    CROSS JOIN LATERAL (SELECT {_VALUES} FROM {_OF_WANTED} ORDER BY open_time DESC LIMIT 1) AS found
"""


def name_of(stream: Stream) -> Name:
    """Return the three parameters that name `stream` in a statement."""
    return stream.venue, stream.symbol, stream.timeframe.text


def instant(at_ms: int) -> datetime:
    """Return milliseconds since 1970 as a parameter, the nearest there is within the years 1 to 9999."""
    return _EPOCH + timedelta(milliseconds=min(max(at_ms, _FIRST_MS), _LAST_MS))


def at_ms(microseconds: int) -> int:
    """Return a timestamptz of a binary result as milliseconds since 1970."""
    return (microseconds + _2000_US) // 1000


def to_rows(candles: Iterable[Candle]) -> list[Row]:
    """Return rows for `COPY`, sorted, each interval once: the candle that would be left if one came after the other."""
    best: dict[tuple[str, str, str, int], Candle] = {}
    for candle in candles:
        key = candle.venue, candle.symbol, candle.timeframe.text, candle.open_time_ms
        known = best.get(key)
        if known is None or (candle.closed, candle.revision, candle.complete) >= (
            known.closed,
            known.revision,
            known.complete,
        ):
            best[key] = candle
    # Sorted, so that neighbours share pages.
    return [_to_row(best[key]) for key in sorted(best)]


def _to_row(candle: Candle) -> Row:
    return (
        candle.venue,
        candle.symbol,
        candle.timeframe.text,
        candle.open_time_ms * 1000 - _2000_US,
        candle.close_time_ms * 1000 - _2000_US,
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.quote_volume,
        candle.trades,
        candle.taker_buy_volume,
        candle.taker_buy_quote_volume,
        candle.closed,
        candle.complete,
        candle.source.value,
        candle.revision,
        candle.received_ms * 1000 - _2000_US,
        candle.missing,
    )


def to_candle(stream: Stream, row: Row) -> Candle:
    """Return the candle of a binary row of one of the selections; raises `Damaged`."""
    (
        opens,
        closes,
        open_,
        high,
        low,
        close,
        volume,
        quote_volume,
        trades,
        taker_buy_volume,
        taker_buy_quote_volume,
        closed,
        complete,
        source,
        revision,
        received,
        missing,
    ) = row
    try:
        return Candle(
            stream.venue,
            stream.symbol,
            stream.timeframe,
            at_ms(opens),
            at_ms(closes),
            open_,
            high,
            low,
            close,
            volume,
            quote_volume,
            trades,
            taker_buy_volume,
            taker_buy_quote_volume,
            closed,
            complete,
            Source(source),
            revision,
            at_ms(received),
            missing,
        )
    except (ValueError, ArithmeticError) as error:
        raise Damaged(f"a candle of {stream}") from error


def to_gap(row: Row) -> Gap:
    """Return the gap of a binary row (venue, symbol, timeframe, first_open, last_open, reason); raises `Damaged`."""
    *name, first, last, reason = row
    stream = to_stream(tuple(name))
    try:
        return Gap(stream, at_ms(first), at_ms(last), GapReason(reason))
    except ValueError as error:
        raise Damaged(f"a gap of {stream}") from error


def to_stream(row: Row) -> Stream:
    """Return the stream of a row (venue, symbol, timeframe); raises `Damaged`."""
    venue, symbol, timeframe = row
    try:
        return Stream(venue, symbol, Timeframe(timeframe))
    except ValueError as error:
        raise Damaged("the name of a stream") from error

"""Bitfinex's rows: ``[MTS, OPEN, CLOSE, HIGH, LOW, VOLUME]``, of JSON numbers, and the candles they stand for.

Shape: https://docs.bitfinex.com/reference/ws-public-candles

A number stays the text it was, ``0.053312790000000006`` and ``1e-7`` alike, until the candle is needed: no digit
passes through a float.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final, TypeAlias

import msgspec

from candleactors.errors import MalformedMessage
from candleactors.model import DAY_MS, Candle, Source, Stream, Timeframe
from candleactors.venues.candles import EARLIEST_MS, LATEST_MS, build_candle, is_open_time
from candleactors.venues.decimals import rough

# A row may be ahead of the clock of the server that passed it on, but not by much.
_CLOCK_SLACK_MS: Final = 60_000
_MAX_EXPONENT: Final = 60


class Row(msgspec.Struct, array_like=True, gc=False):
    """A row as it is on the wire; further elements are tolerated."""

    open_time_ms: int
    open: msgspec.Raw
    close: msgspec.Raw
    high: msgspec.Raw
    low: msgspec.Raw
    volume: msgspec.Raw

    def text(self) -> str:
        """Return the row as text, for messages about it."""
        values = (self.open, self.close, self.high, self.low, self.volume)
        return f"[{self.open_time_ms},{','.join(bytes(value).decode('utf-8', 'replace') for value in values)}]"


class Update(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """A frame with one row and the server's clock at its end; the `WireCandle` of Bitfinex."""

    channel: int
    row: Row
    event_time_ms: int

    @property
    def open_time_ms(self) -> int:
        """The open time of the row."""
        return self.row.open_time_ms

    @property
    def traded(self) -> float:
        """About how much was traded; 0 where that is no number."""
        return rough(bytes(self.row.volume).decode("ascii", "replace"))

    def yields_to(self, other: Update) -> bool:
        """Whether `other`, about the same interval, says something else and is not older."""
        return self.row != other.row and self.event_time_ms <= other.event_time_ms

    def closes_like(self, other: Update) -> bool:
        """Whether both end at the same price."""
        return self.row.close == other.row.close

    def to_candle(self, stream: Stream, received_ms: int) -> Candle:
        """Return the exact forming candle; raises `MalformedMessage` where a value is no number or impossible."""
        return candle_of(self.row, stream, received_ms, closed=False, source=Source.WS)


class Flat(msgspec.Struct, frozen=True, gc=False):
    """An interval without trades, for which the venue has no row. `after` is the last row before it."""

    open_time_ms: int
    after: Update


Told: TypeAlias = Update | Flat


def problem_of(row: Row, timeframe: Timeframe, sent_ms: int | None) -> str | None:
    """Return why `row` cannot be one of `timeframe` sent at `sent_ms`, or ``None``. Prices are not looked at."""
    open_ms = row.open_time_ms
    if not is_open_time(timeframe, open_ms):
        return "open time is not one of the interval"
    if timeframe.duration_ms is None and timeframe.floor(open_ms) != open_ms:
        return "open time is not the first of a month"
    if sent_ms is not None and open_ms > sent_ms + _CLOCK_SLACK_MS:
        return "opens after it was sent"
    if open_ms + timeframe.nominal_ms + DAY_MS > LATEST_MS:
        return "open time is absurd"
    return None


def is_instant(at_ms: int) -> bool:
    """Whether a number can be an instant in UTC milliseconds."""
    return EARLIEST_MS <= at_ms <= LATEST_MS


def candle_of(row: Row, stream: Stream, received_ms: int, *, closed: bool, source: Source) -> Candle:
    """Return the exact candle; raises `MalformedMessage` where a value is no number or impossible."""
    try:
        return build_candle(
            stream,
            row.open_time_ms,
            prices=(plain(row.open), plain(row.high), plain(row.low), plain(row.close)),
            amounts=(plain(row.volume), None, None, None),
            trades=None,
            closed=closed,
            source=source,
            received_ms=received_ms,
        )
    except ValueError as error:
        raise MalformedMessage(str(error), row.text()) from None


def plain(raw: msgspec.Raw) -> str:
    """Return a JSON number in plain notation, every digit kept.

    What is no number is returned as it is, for the next one to refuse; an absurd exponent raises `ValueError`.
    """
    text = bytes(raw).decode("utf-8", "replace")
    if "e" not in text and "E" not in text:
        return text
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    if not value.is_finite() or abs(value.adjusted()) > _MAX_EXPONENT or len(text) > _MAX_EXPONENT:
        raise ValueError("not a sensible number")
    return f"{value:f}"

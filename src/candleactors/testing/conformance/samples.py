"""Samples: messages and answers of a venue, with what they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import field, frozen

from candleactors.errors import CandleactorsError
from candleactors.model import Candle, Source, Stream, Ticker, Timeframe
from candleactors.venues.base import InstrumentPage
from candleactors.venues.candles import build_candle


def candle(
    stream: Stream | str,
    open_time_ms: int,
    prices: Iterable[str],
    volume: str,
    *,
    quote_volume: str | None = None,
    trades: int | None = None,
    taker_buy_volume: str | None = None,
    taker_buy_quote_volume: str | None = None,
    closed: bool = True,
) -> Candle:
    """Return the candle with `prices` open, high, low, close; numbers as text, written as in the sample.

    `stream` is a value or written ``venue:symbol:timeframe``. What the venue does not give is left out. Raises
    `ValueError` where the candle is impossible.
    """
    opened, high, low, close = prices
    return build_candle(
        Stream.parse(stream) if isinstance(stream, str) else stream,
        open_time_ms,
        prices=(opened, high, low, close),
        amounts=(volume, quote_volume, taker_buy_volume, taker_buy_quote_volume),
        trades=trades,
        closed=closed,
        source=Source.WS,
        received_ms=0,
    )


def _frames(given: bytes | Iterable[bytes]) -> tuple[bytes, ...]:
    return (given,) if isinstance(given, bytes) else tuple(given)


def _candles(given: Iterable[Candle]) -> tuple[Candle, ...]:
    return tuple(given)


def _tickers(given: Iterable[Ticker]) -> tuple[Ticker, ...]:
    return tuple(given)


@frozen
class Sample:
    """Text frames of a connection, and the candles they stand for: closed ones in order, then open ones.

    `candles` are what one call of `Session.decode` returns for all the frames together, on a connection that has heard
    `VenueConformance.conversation` and is subscribed to the streams of all samples.
    """

    frames: tuple[bytes, ...] = field(converter=_frames)
    candles: tuple[Candle, ...] = field(converter=_candles)


@frozen
class Rows:
    """A REST answer with rows, and the candles they stand for at the venue's time `now_ms`, ascending."""

    stream: Stream
    body: bytes
    candles: tuple[Candle, ...] = field(converter=_candles)
    now_ms: int


@frozen
class Clock:
    """A REST answer with the venue's clock, and the UTC milliseconds it stands for."""

    body: bytes
    now_ms: int
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case."""


@frozen
class Page:
    """A REST answer with instruments, to the request for `page`, and what it stands for."""

    body: bytes
    instruments: InstrumentPage
    page: str | None = None


@frozen
class Tickers:
    """A REST answer with tickers, and what it stands for, in the venue's order."""

    body: bytes
    tickers: tuple[Ticker, ...] = field(converter=_tickers)


@frozen
class Refusal:
    """A REST answer that refuses, and what `Codec.check_answer` has to raise for it."""

    status: int
    body: bytes
    error: type[CandleactorsError]
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case."""


def facts(told: Candle) -> tuple[Any, ...]:
    """Return what a sample says of a candle: everything but its source and when it was received."""
    return (told.stream, told.open_time_ms, told.close_time_ms, told.closed, *told.values())


FOREIGN_TIMEFRAMES = tuple(map(Timeframe, ("7m", "13m", "37m", "7h", "11d", "1d@+0530", "5M")))
"""Some of these no venue has."""

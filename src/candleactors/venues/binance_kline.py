"""Binance's kline events: the shape on the wire, what makes one believable, and the candle it stands for.

Shape: https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md#klinecandlestick-streams-for-utc
(the same for USD-M futures).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from candleactors.errors import MalformedMessage
from candleactors.model import DAY_MS, Candle, Source, Stream, Timeframe
from candleactors.venues.binance_rules import SPOT
from candleactors.venues.candles import EARLIEST_MS, LATEST_MS, build_candle, grid_ms

_CLOCK_SLACK_MS: Final = 1_000  # between the clocks of the venue's own servers
LATEST_EVENT_MS: Final = LATEST_MS - _CLOCK_SLACK_MS


def _longest_ms(timeframe: Timeframe) -> int:
    return timeframe.duration_ms or timeframe.count * 31 * DAY_MS


_GRIDS: Final = {t.text: (grid_ms(t), _longest_ms(t)) for t in SPOT.rules.timeframes}


_COMBINED_KEYS: Final = 23  # stream, data; e, E, s, k; and 17 within k

_KLINE_KEYS: Final = {
    "open_time_ms": "t",
    "end_time_ms": "T",
    "symbol": "s",
    "interval": "i",
    "first_trade": "f",
    "last_trade": "L",
    "open": "o",
    "close": "c",
    "high": "h",
    "low": "l",
    "volume": "v",
    "trades": "n",
    "closed": "x",
    "quote_volume": "q",
    "taker_buy_volume": "V",
    "taker_buy_quote_volume": "Q",
}


class Kline(msgspec.Struct, gc=False, kw_only=True, rename=_KLINE_KEYS):
    """The ``k`` of a kline event. Numbers stay text until the candle is needed.

    The fields stand in the order of the wire, and the unused trade ids are among them, because a known field in its
    place is cheaper to decode than an unknown one is to skip.
    """

    open_time_ms: int
    end_time_ms: int
    symbol: str
    interval: str
    first_trade: int | None = None
    last_trade: int | None = None
    open: str
    close: str
    high: str
    low: str
    volume: str
    trades: int
    closed: bool
    quote_volume: str
    taker_buy_volume: str
    taker_buy_quote_volume: str


class KlineEvent(
    msgspec.Struct, gc=False, kw_only=True, rename={"kind": "e", "event_time_ms": "E", "symbol": "s", "kline": "k"}
):
    """A kline event; the `WireCandle` of Binance."""

    kind: Literal["kline"]
    event_time_ms: int
    symbol: str
    kline: Kline

    @property
    def open_time_ms(self) -> int:
        """The open time of the kline."""
        return self.kline.open_time_ms

    @property
    def traded(self) -> float:
        """0: the event time tells all."""
        return 0.0

    def problem(self, stream: Stream) -> str | None:
        """Return why this cannot be about `stream` at the time it claims, or ``None``. Prices are not looked at."""
        kline = self.kline
        interval = kline.interval
        symbol = stream.symbol
        if kline.symbol != symbol or self.symbol != symbol or interval != stream.timeframe.text:
            return "symbol or interval contradict the name of the stream"
        grid = _GRIDS.get(interval)
        if grid is None:
            return "unknown interval"
        step_ms, longest_ms = grid
        open_ms = kline.open_time_ms
        if open_ms % step_ms:
            return "open time is not on the grid of the interval"
        # The end time is often short after an outage, so it says nothing but that the open time is no accident.
        if not 0 <= kline.end_time_ms - open_ms < longest_ms:
            return "open and close time do not belong together"
        if not EARLIEST_MS <= open_ms <= self.event_time_ms + _CLOCK_SLACK_MS <= LATEST_MS:
            return "event time or open time is absurd"
        return None

    def to_candle(self, stream: Stream, received_ms: int) -> Candle:
        """Return the exact candle; raises `MalformedMessage` where a value is no number or impossible."""
        try:
            return self._candle(stream, received_ms)
        except ValueError as error:
            raise MalformedMessage(str(error), repr(self)) from None

    def _candle(self, stream: Stream, received_ms: int) -> Candle:
        kline = self.kline
        problem = self.problem(stream)
        if problem is not None:
            raise ValueError(problem)
        close_time_ms = stream.timeframe.close_ms(kline.open_time_ms)
        if kline.closed and self.event_time_ms + _CLOCK_SLACK_MS <= close_time_ms:
            raise ValueError("closed before its interval was over")
        return build_candle(
            stream,
            kline.open_time_ms,
            prices=(kline.open, kline.high, kline.low, kline.close),
            amounts=(kline.volume, kline.quote_volume, kline.taker_buy_volume, kline.taker_buy_quote_volume),
            trades=kline.trades,
            closed=kline.closed,
            source=Source.WS,
            received_ms=received_ms,
        )


class CombinedKline(msgspec.Struct, gc=False):
    """A kline event in the wrapper of the combined streams: the message a connection mostly carries."""

    stream: str
    data: KlineEvent


def has_each_key_once(frame: bytes, event: KlineEvent) -> bool:
    """Whether `frame`, which was decoded to a combined `event`, holds every documented key once and no other.

    True only where that is certain. Decoding proves the 20 required keys; the two optional ones show in their values
    and the unused ``B`` is looked for. With 23 colons in all, none can occur twice. A colon inside a string can make
    the count too high, never too low.
    """
    kline = event.kline
    return (
        frame.count(b":") == _COMBINED_KEYS
        and kline.first_trade is not None
        and kline.last_trade is not None
        and frame.count(b'"B":') == 1
    )

"""Bybit's kline pushes: the shape on the wire, what makes one believable, and the candles it stands for.

Shape: https://bybit-exchange.github.io/docs/v5/websocket/public/kline

A push carries one candle or more: where an interval ends, the linear market sends the closed candle and the one that
has just begun together, the spot market each on its own.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from candleactors.errors import MalformedMessage
from candleactors.model import Candle, Source, Stream
from candleactors.venues.bybit_rules import INTERVALS, topic
from candleactors.venues.candles import EARLIEST_MS, LATEST_MS, build_candle, grid_ms

_CLOCK_SLACK_MS: Final = 1_000  # between the clocks of the venue's own servers
LATEST_EVENT_MS: Final = LATEST_MS - _CLOCK_SLACK_MS

_GRIDS: Final = {interval: (t.text, grid_ms(t), t.duration_ms) for t, interval in INTERVALS.items()}

_PUSH_KEYS: Final = 4  # topic, type, ts, data
_KLINE_KEYS: Final = {
    "open_time_ms": "start",
    "end_time_ms": "end",
    "quote_volume": "turnover",
    "closed": "confirm",
    "last_trade_ms": "timestamp",
}
_KEYS_OF_A_KLINE: Final = 11


class Kline(msgspec.Struct, gc=False, kw_only=True, rename=_KLINE_KEYS):
    """One candle of a push; the `WireCandle` of Bybit. Numbers stay text until the candle is needed.

    The fields stand in the order of the wire, and the unused time of the last trade is among them, because a known
    field in its place is cheaper to decode than an unknown one is to skip.
    """

    open_time_ms: int
    end_time_ms: int
    interval: str
    open: str
    close: str
    high: str
    low: str
    volume: str
    quote_volume: str
    closed: bool
    last_trade_ms: int | None = None
    event_time_ms: int = 0
    """The ``ts`` of the push, which whoever decodes one has to put here."""

    @property
    def traded(self) -> float:
        """0: the event time tells all."""
        return 0.0

    def problem(self, name: str, stream: Stream) -> str | None:
        """Return why this cannot be about `stream`, or at the time it claims, or ``None``. Prices are not looked at.

        `name` is the topic of the push.
        """
        interval = self.interval
        grid = _GRIDS.get(interval)
        if grid is None:
            return "unknown interval"
        timeframe, step_ms, duration_ms = grid
        if timeframe != stream.timeframe.text or name != topic(interval, stream.symbol):
            return "symbol or interval contradict the topic"
        open_ms = self.open_time_ms
        if not EARLIEST_MS <= open_ms <= self.event_time_ms + _CLOCK_SLACK_MS <= LATEST_MS:
            return "event time or start is absurd"
        if open_ms % step_ms:
            return "start is not on the grid of the interval"
        next_ms = stream.timeframe.next_open(open_ms) if duration_ms is None else open_ms + duration_ms
        if self.end_time_ms != next_ms - 1:
            return "start and end do not belong together"
        return None

    def to_candle(self, stream: Stream, received_ms: int) -> Candle:
        """Return the exact candle; raises `MalformedMessage` where a value is no number or impossible."""
        try:
            return self._candle(stream, received_ms)
        except ValueError as error:
            raise MalformedMessage(str(error), repr(self)) from None

    def _candle(self, stream: Stream, received_ms: int) -> Candle:
        if self.closed and self.event_time_ms + _CLOCK_SLACK_MS <= self.end_time_ms:
            raise ValueError("closed before its interval was over")
        return build_candle(
            stream,
            self.open_time_ms,
            prices=(self.open, self.high, self.low, self.close),
            amounts=(self.volume, self.quote_volume, None, None),
            trades=None,
            closed=self.closed,
            source=Source.WS,
            received_ms=received_ms,
        )


class KlinePush(msgspec.Struct, gc=False, kw_only=True, rename={"name": "topic", "klines": "data"}):
    """A push of a kline topic: the message a connection mostly carries."""

    name: str
    klines: list[Kline]
    ts: int
    type: Literal["snapshot"]


def has_each_key_once(frame: bytes, push: KlinePush) -> bool:
    """Whether `frame`, which was decoded to `push`, holds every documented key once and no other.

    True only where that is certain. Decoding proves the required keys, the optional one shows in its value, and every
    key is followed by a colon: with no more colons than documented keys, none can occur twice. A colon inside a
    string makes the count too high, never too low.
    """
    return frame.count(b":") == _PUSH_KEYS + _KEYS_OF_A_KLINE * len(push.klines) and all(
        kline.last_trade_ms is not None for kline in push.klines
    )

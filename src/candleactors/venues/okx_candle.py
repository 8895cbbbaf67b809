"""OKX's candle rows, which are the same over WebSocket and REST: their shape, and the candles they stand for.

Shape: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-candlesticks-channel

A row is an array of texts: ``[ts, o, h, l, c, vol, volCcy, volCcyQuote, confirm]``. ``vol`` is in contracts for a swap,
in the base currency on the spot market; ``volCcy`` is in the base currency for a swap, in the quote currency on the
spot market. The last two came in September 2022.
"""

from __future__ import annotations

from typing import Final

import msgspec

from candleactors.errors import MalformedMessage
from candleactors.model import Candle, Source, Stream, Timeframe
from candleactors.venues.candles import build_candle, is_open_time
from candleactors.venues.decimals import rough

_MONTH: Final = Timeframe("1M")


class Row(msgspec.Struct, array_like=True, gc=False):
    """A row; the last two elements were not always there, and more are tolerated. The `WireCandle` of OKX."""

    time: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    currency_volume: str
    quote_volume: str = ""
    confirm: str = ""

    @property
    def open_time_ms(self) -> int:
        """The open time; raises `ValueError` unless `problem` found none."""
        return int(self.time)

    @property
    def event_time_ms(self) -> int:
        """The open time too: OKX does not say when it sent a row."""
        return int(self.time)

    @property
    def traded(self) -> float:
        """About how much was traded; 0 where that is no number."""
        return rough(self.volume)

    @property
    def closed(self) -> bool:
        """Whether the venue says that the candle is finished."""
        return self.confirm == "1"

    def problem(self, timeframe: Timeframe) -> str | None:
        """Return why this can be no candle of `timeframe`, or ``None``. Prices and volumes are not looked at."""
        time = self.time
        if not (len(time) <= 13 and time.isascii() and time.isdecimal()):
            return "the time is no number of milliseconds"
        open_ms = int(time)
        if not is_open_time(timeframe, open_ms):
            return "open time is not on the grid of the interval"
        # Which months a quarter begins with is not documented, but it begins with one.
        if timeframe.duration_ms is None and _MONTH.floor(open_ms) != open_ms:
            return "open time is not on the grid of the interval"
        if self.confirm not in ("0", "1", ""):
            return "neither forming nor closed"
        return None

    def candle(self, stream: Stream, closed: bool, source: Source, received_ms: int) -> Candle:
        """Return the exact candle of a row in which `problem` found none; raises `ValueError` with another problem."""
        quote: str | None = self.quote_volume
        if stream.symbol.endswith("-SWAP"):
            base = self.currency_volume
            quote = quote or None
        else:
            base = self.volume
            quote = quote or self.currency_volume
        return build_candle(
            stream,
            int(self.time),
            prices=(self.open, self.high, self.low, self.close),
            amounts=(base, quote, None, None),
            trades=None,
            closed=closed,
            source=source,
            received_ms=received_ms,
        )

    def to_candle(self, stream: Stream, received_ms: int) -> Candle:
        """Return the exact candle; raises `MalformedMessage` where a value is no number or impossible."""
        problem = self.problem(stream.timeframe)
        if problem is not None:
            raise MalformedMessage(problem, repr(self))
        try:
            return self.candle(stream, self.closed, Source.WS, received_ms)
        except ValueError as error:
            raise MalformedMessage(str(error), repr(self)) from None


class Channel(msgspec.Struct, gc=False, rename={"instrument": "instId"}):
    """What a push or a reply is about; more members are tolerated."""

    channel: str
    instrument: str


class Push(msgspec.Struct, gc=False):
    """A candle push: the message a connection mostly carries."""

    arg: Channel
    data: list[Row]


_KEYS: Final = 4  # arg, channel, instId and data


def has_each_key_once(frame: bytes) -> bool:
    """Whether `frame`, which was decoded to a `Push`, holds its four keys once and no other.

    True only where that is certain: decoding proves that the four are there. A quote inside a string is escaped, so a
    string can make the count too high, never too low.
    """
    return frame.count(b'":') == _KEYS

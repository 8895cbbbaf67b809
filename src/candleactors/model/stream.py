"""Streams: what is watched, received, stored and delivered."""

from __future__ import annotations

from attrs import frozen

from candleactors.errors import ConfigError
from candleactors.model.timeframe import Timeframe


@frozen(cache_hash=True)
class Stream:
    """The candles of one symbol in one timeframe on one venue.

    `venue` is the name of a codec (``binance-spot``), `symbol` the venue's own spelling (``BTCUSDT``). Written
    ``venue:symbol:timeframe``.
    """

    venue: str
    symbol: str
    timeframe: Timeframe

    def __str__(self) -> str:
        return f"{self.venue}:{self.symbol}:{self.timeframe}"

    @classmethod
    def parse(cls, text: str) -> Stream:
        """Return the stream written as ``venue:symbol:timeframe``; raises `ConfigError` for any other text."""
        venue, _, rest = text.partition(":")
        symbol, _, timeframe = rest.rpartition(":")
        if not (venue and symbol and timeframe):
            raise ConfigError(f'"{text}" is not a stream', nearest="binance-spot:BTCUSDT:1m")
        return cls(venue, symbol, Timeframe(timeframe))

"""Names of streams: which are well-formed, and which have klines behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from candleactors.sim.binance.wire import Decimals
from candleactors.sim.dialect import Channel
from candleactors.sim.market import Market

if TYPE_CHECKING:
    from candleactors.sim.binance.rules import BinanceRules

_KINDS: Final = re.compile(
    r"kline_(?P<interval>\d{1,2}[smhdwM])(@\+08:00)?|continuousKline_\w+|trade|aggTrade|blockTrade|miniTicker|ticker(_(1h|4h|1d))?|bookTicker"
    r"|avgPrice|referencePrice|markPrice(@1s)?|forceOrder|depth(5|10|20)?(@(100|250|500)ms)?",
    re.ASCII,
)
_ALL_MARKET: Final = re.compile(
    r"!(miniTicker|ticker(_(1h|4h|1d))?|markPrice|forceOrder)@arr(@1s)?|!bookTicker|!contractInfo"
)


class Streams:
    """The stream names of one venue. `decimals` are those of the symbols it has."""

    def __init__(self, market: Market, rules: BinanceRules, decimals: Mapping[str, Decimals]) -> None:
        self.decimals = decimals
        self._market = market
        self._symbols = {symbol.lower(): symbol for symbol in decimals}
        self._timeframes = {timeframe.text: timeframe for timeframe in rules.timeframes}

    def well_formed(self, name: str) -> bool:
        """Whether `name` can be subscribed; its symbol need not exist."""
        if _ALL_MARKET.fullmatch(name):
            return True
        symbol, _, kind = name.partition("@")
        shape = _KINDS.fullmatch(kind)
        if not symbol or shape is None:
            return False
        interval = shape["interval"]
        return interval is None or interval in self._timeframes

    def channel(self, name: str) -> Channel | None:
        """Return the klines that `name` stands for, if any."""
        text, _, kind = name.partition("@")
        symbol = self._symbols.get(text)
        timeframe = self._timeframes.get(kind.removeprefix("kline_")) if kind.startswith("kline_") else None
        if symbol is None or timeframe is None:
            return None
        return Channel(name, symbol, self._market.series(symbol, timeframe))

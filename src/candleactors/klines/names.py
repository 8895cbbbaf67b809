"""What the name of a file and of its folders say about the candles in it."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Final

from candleactors.errors import ConfigError
from candleactors.klines.rows import Told

_SUFFIXES: Final = re.compile(r"(\.(csv|json|txt|zip|gz))+$", re.IGNORECASE)
_SIZE: Final = r"([1-9][0-9]{0,4})(s|m|h|d|w|M|H|D|W|min|mo)"
_STEM: Final = re.compile(rf"(.+?)[-_. ]{_SIZE}(?=$|[-_. ])")
_FOLDER: Final = re.compile(_SIZE)
_UNITS: Final = {"H": "h", "D": "d", "W": "w", "min": "m", "mo": "M"}
_SYMBOL: Final = re.compile(r"\w+([-_]\w+)*")
_MARKETS: Final = {("spot",): "binance-spot", ("futures", "um"): "binance-usdm"}
_PERIODS: Final = ("daily", "monthly")
_EXCHANGES: Final = {
    *("aster", "binance", "bitfinex", "bitget", "bitmex", "bitstamp", "bybit", "coinbase", "deribit", "gate", "gemini"),
    *("htx", "huobi", "kraken", "kucoin", "mexc", "okx"),
}
"""Files are named after them too, and ``binance_btcusdt`` is no symbol."""


def told_by_name(path: Path, member: str | None) -> Told:
    """Return what the name of `path`, or else of the `member` of that archive, or else of its folders says.

    Understood are ``BTCUSDT-1m-2025-05-24.zip``, ``BTCUSDT_1h.csv`` and the like, folders such as ``BTCUSDT/1m/``, and
    the folders of the exchange's own dumps, ``spot/daily/klines/`` and ``futures/um/monthly/klines/``. Raises
    `ConfigError` where archive and member contradict each other.
    """
    symbol, timeframe = _from_stem(path.name)
    if member is not None:
        inner_symbol, inner_timeframe = _from_stem(PurePosixPath(member).name)
        for outer, inner in ((symbol, inner_symbol), (timeframe, inner_timeframe)):
            if outer and inner and outer != inner:
                raise ConfigError(f"by its name it holds {outer}, but the file in it is {member}", source=str(path))
        symbol, timeframe = symbol or inner_symbol, timeframe or inner_timeframe
    if symbol is None and timeframe is None:
        symbol, timeframe = _from_folders(path)
    return Told(_market(path), symbol, timeframe)


def _from_stem(name: str) -> tuple[str | None, str | None]:
    shape = _STEM.match(_SUFFIXES.sub("", name))
    if shape is None:
        return None, None
    return _symbol(shape[1]), _timeframe(shape[2], shape[3])


def _from_folders(path: Path) -> tuple[str | None, str | None]:
    folder = path.parent
    size = _FOLDER.fullmatch(folder.name)
    return (_symbol(folder.parent.name), _timeframe(size[1], size[2])) if size else (None, None)


def _market(path: Path) -> str | None:
    folders = path.parent.parts
    for market, venue in _MARKETS.items():
        for at in range(len(folders) - len(market) - 1):
            after = folders[at + len(market) :]
            if folders[at : at + len(market)] == market and after[0] in _PERIODS and after[1] == "klines":
                return venue
    return None


def _timeframe(count: str, unit: str) -> str:
    return count + _UNITS.get(unit, unit)


def _symbol(text: str) -> str | None:
    """Return the symbol that `text` spells, in capitals, or ``None`` where that is not certain."""
    upper = text.upper()
    if text not in (upper, text.lower()) or _SYMBOL.fullmatch(text) is None or not any(map(str.isalpha, text)):
        return None
    return None if re.split("[-_]", text.lower())[0] in _EXCHANGES else upper

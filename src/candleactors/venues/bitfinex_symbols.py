"""Bitfinex's symbols: ``tBTCUSD``, ``tDUSK:USD``, ``tBTCF0:USTF0``, and the common names of what they stand for.

Pairs: https://docs.bitfinex.com/reference/rest-public-conf

A pair is six characters, three for each currency, or both with a colon in between. Perpetual futures trade currencies
that end in ``F0``. The venue's own names of some currencies are of its own making (``UST`` is Tether's dollar); a map
of theirs says which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from candleactors.venues.unified import unified

_SYMBOL: Final = re.compile(r"t(?:[A-Z0-9]{6}|[A-Z0-9]{1,32}:[A-Z0-9]{1,32})", re.ASCII)
_UNIFIED: Final = re.compile(r"([A-Za-z0-9]{1,30})[/_-]([A-Za-z0-9]{1,30})(:[A-Za-z0-9]{1,30})?", re.ASCII)
_SIX: Final = re.compile(r"[tT]?([A-Za-z0-9]{3}:?[A-Za-z0-9]{3})", re.ASCII)
_APART: Final = re.compile(r"[tT]?([A-Za-z0-9]{1,32}):([A-Za-z0-9]{1,32})", re.ASCII)
_TOGETHER: Final = re.compile(r"([A-Za-z0-9]{2,30}?)(USDT|UST|USD|BTC|EUR)", re.ASCII | re.IGNORECASE)
_PERPETUAL: Final = "F0"
_TEST: Final = "TEST"
_TETHER: Final = {"UST": "USDT"}  # where the map says nothing
_OURS: Final = {"USDT": "UST", "USDC": "UDC"}


def is_symbol(symbol: str) -> bool:
    """Whether Bitfinex can have a trading pair of this spelling."""
    return _SYMBOL.fullmatch(symbol) is not None


def nearest(symbol: str) -> str | None:
    """Return the spelling that was probably meant: ``tBTCUST`` for ``BTC/USDT``, ``BTCUSDT`` and ``tbtcust``."""
    if (found := _UNIFIED.fullmatch(symbol)) is not None:
        base, quote = found[1].upper(), found[2].upper()
        if found[3] is not None:
            return f"t{_own(base)}{_PERPETUAL}:{_own(quote)}{_PERPETUAL}"
        return _spot(base, quote)
    if (found := _SIX.fullmatch(symbol)) is not None:
        return "t" + found[1].upper().replace(":", "")
    if (found := _APART.fullmatch(symbol)) is not None:
        return f"t{found[1].upper()}:{found[2].upper()}"
    if (found := _TOGETHER.fullmatch(symbol)) is not None:
        return _spot(found[1].upper(), found[2].upper())
    return None


def unified_symbol(pair: str, names: Mapping[str, str], *, perpetual: bool) -> str:
    """Return the unified symbol of a pair, `names` being the venue's map of currencies."""
    base, quote = pair.split(":") if ":" in pair else (pair[:3], pair[3:])
    if not perpetual:
        return unified(_common(base, names), _common(quote, names))
    base, quote = base.removesuffix(_PERPETUAL), quote.removesuffix(_PERPETUAL)
    quote = _common(quote, names)
    return unified(_common(base, names), quote, quote)


def _common(currency: str, names: Mapping[str, str]) -> str:
    """Return the common name of a currency. Play money keeps its own: the map calls ``TESTBTC`` just ``BTC``."""
    if currency.startswith(_TEST):
        return currency
    return names.get(currency, _TETHER.get(currency, currency)).upper()


def _own(currency: str) -> str:
    return _OURS.get(currency, currency)


def _spot(base: str, quote: str) -> str:
    base, quote = _own(base), _own(quote)
    return f"t{base}{quote}" if len(base) == len(quote) == 3 else f"t{base}:{quote}"

"""Unified symbols: the field's common spelling of what venues call by many names.

``BTC/USDT`` on a spot market; ``BTC/USDT:USDT`` a perpetual future, the currency it is settled in behind the colon;
``BTC/USDT:USDT-261225`` one that is delivered on a day. Every venue's own list says which of its symbols is meant, so
nothing is guessed from the letters of a name.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from candleactors.errors import InvalidSymbol, excerpt

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CURRENCY: Final = r"[^/:\s]{1,64}"
_SHAPE: Final = re.compile(rf"{_CURRENCY}/{_CURRENCY}(?::{_CURRENCY})?")


def unified(base: str, quote: str, settle: str | None = None, delivery: str | None = None) -> str:
    """Return the unified symbol; `settle` is given for futures, `delivery` as ``yymmdd`` for those that expire."""
    spot = f"{base}/{quote}"
    if settle is None:
        return spot
    return f"{spot}:{settle}-{delivery}" if delivery else f"{spot}:{settle}"


def yymmdd(at_ms: int) -> str:
    """Return the UTC day of an instant as unified symbols write it; raises `ValueError` for one beyond the calendar."""
    try:
        return (_EPOCH + timedelta(milliseconds=at_ms)).strftime("%y%m%d")
    except OverflowError:
        raise ValueError("a day beyond the calendar") from None


def check_unified(symbol: str) -> None:
    """Raise `InvalidSymbol` for what nobody could have meant as a unified symbol, whatever a venue lists."""
    if _SHAPE.fullmatch(symbol) is None:
        raise InvalidSymbol(f'"{excerpt(symbol, 64)}" is not a symbol', nearest="BTC/USDT")
    if symbol != symbol.upper():
        raise InvalidSymbol(f'"{symbol}" is not a symbol', nearest=symbol.upper())


def is_unified(symbol: str) -> bool:
    """Whether `symbol` is written that way; no venue has a slash in its own spelling."""
    return "/" in symbol

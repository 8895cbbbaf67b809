"""Shorthand: a feed described by a few short variables, for a first run without a file.

``ASSETS=BTC,ETH INTERVAL=1h LONG_INTERVAL=4h DATABASE_URL=postgresql://… candleactors run``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from candleactors import venues
from candleactors.errors import ConfigError
from candleactors.model import Timeframe
from candleactors.validators import quoted
from candleactors.venues.base import VenueRules
from candleactors.venues.unified import is_unified, unified

ASSETS: Final = "ASSETS"
"""The variable without which none of them is read: other programs have a DATABASE_URL too."""
_VENUE: Final = "binance-spot"
_QUOTE: Final = "USDT"
_INTERVAL: Final = "1m"
_DRIVER: Final = re.compile(r"(postgres(?:ql)?)\+\w+(?=:)")
_SQLITE: Final = re.compile(r"sqlite(?:\+\w+)?:///(?P<path>.+)")


def shorthand(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the configuration that the short variables in `environ` stand for, and which variable set which key.

    Both are empty without `ASSETS`. Raises `ConfigError`, which names the variable, for what can be no venue, asset or
    interval; what it returns is checked like that of a file.
    """
    assets = _items(environ, ASSETS, "")
    if not assets:
        return {}, {}
    name = environ.get("VENUE", "").strip() or _VENUE
    quote = environ.get("QUOTE", "").strip() or _QUOTE
    try:
        rules = venues.codec(name).rules
    except ConfigError as error:
        raise error.within("VENUE") from None
    native, derived = _timeframes(environ, rules)
    table: dict[str, Any] = {
        "symbols": [_symbol(asset, quote, rules) for asset in assets],
        "timeframes": list(native) or [_INTERVAL],
        "derived": list(derived),
    }
    set_by = {
        f"venues.{name}.symbols": ASSETS,
        f"venues.{name}.timeframes": " and ".join(sorted({*native.values()})),
        f"venues.{name}.derived": " and ".join(sorted({*derived.values()})),
    }
    store = _store(environ.get("DATABASE_URL", "").strip())
    tables = {"venues": {name: table}} | ({"store": store} if store else {})
    return tables, set_by | {f"store.{key}": "DATABASE_URL" for key in store}


def _items(environ: Mapping[str, str], variable: str, default: str) -> list[str]:
    return [item.strip() for item in (environ.get(variable) or default).split(",") if item.strip()]


def _timeframes(environ: Mapping[str, str], rules: VenueRules) -> tuple[dict[str, str], dict[str, str]]:
    """Return the timeframes that the venue has, and those that are made here, each with the variable that wants it."""
    native: dict[str, str] = {}
    derived: dict[str, str] = {}
    for variable, default in (("INTERVAL", _INTERVAL), ("LONG_INTERVAL", "")):
        for text in _items(environ, variable, default):
            try:
                timeframe = Timeframe(text)
            except ConfigError as error:
                raise error.within(variable) from None
            (native if timeframe in rules.timeframes else derived).setdefault(timeframe.text, variable)
    return native, derived


def _symbol(asset: str, quote: str, rules: VenueRules) -> str:
    """Return the unified symbol of `asset` against `quote`: of the perpetual future where the venue has no spot."""
    if is_unified(asset):
        return asset
    asset, quote = asset.upper(), quote.upper()
    if asset.endswith(quote) or not asset.isalnum():
        base = asset.removesuffix(quote).rstrip("-_.") or asset
        hint = _symbol(base, quote, rules) if base.isalnum() and base != asset else f"BTC or BTC/{quote}"
        raise ConfigError(f"{quoted(asset)} is not an asset; write {hint}", source=ASSETS)
    return unified(asset, quote, None if "spot" in rules.markets else quote)


def _store(url: str) -> dict[str, Any]:
    """Return the table of the store at `url`, which other libraries may write with their driver."""
    if not url:
        return {}
    if file := _SQLITE.fullmatch(url):
        return {"path": file["path"]}
    return {"url": _DRIVER.sub(r"\1", url, count=1)}

"""Settings against what each venue knows and allows; no network."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final

from candleactors import venues
from candleactors.errors import ConfigError, InvalidSymbol, InvalidTimeframe
from candleactors.model import Stream, Timeframe
from candleactors.settings import Settings, VenueSettings
from candleactors.validators import quoted
from candleactors.venues.base import Codec, VenueRules
from candleactors.venues.sources import source_of
from candleactors.venues.unified import check_unified, is_unified

_SEPARATORS: Final = str.maketrans("", "", "/-_:. ")


def check_venues(settings: Settings) -> None:
    """Raise `ConfigError` for a venue, timeframe or symbol that cannot exist, or a limit above the venue's own."""
    for name, venue in settings.venues.items():
        key = f"venues.{name}"
        try:
            codec = venues.codec(name)
        except ConfigError as error:
            known = "" if error.nearest else f"; there are {', '.join(venues.names())}"
            raise ConfigError(error.problem + known, key=key, nearest=error.nearest) from None
        _check_timeframes(codec.rules, venue, key)
        _check_derived(codec.rules, venue, key)
        _check_symbols(codec, venue, key)
        _check_limits(codec.rules, venue, key)
        if venue.testnet and codec.rules.testnet is None:
            raise ConfigError(f"{codec.rules.title} has no test network", key=f"{key}.testnet")


def _check_timeframes(rules: VenueRules, venue: VenueSettings, key: str) -> None:
    key = f"{key}.timeframes"
    if not venue.timeframes:
        raise ConfigError("empty; a stream needs at least one timeframe", key=key)
    for index, timeframe in enumerate(venue.timeframes):
        if timeframe not in rules.timeframes:
            native = ", ".join(str(native) for native in rules.timeframes)
            raise InvalidTimeframe(
                f'"{timeframe}" is not a timeframe of {rules.title} ({native})',
                key=f"{key}[{index}]",
                nearest=str(_nearest_timeframe(timeframe, rules.timeframes)),
            )
    _check_twice(venue.timeframes, key)


def _check_derived(rules: VenueRules, venue: VenueSettings, key: str) -> None:
    key = f"{key}.derived"
    for timeframe in venue.derived:
        if timeframe in venue.timeframes:
            raise ConfigError(f"{timeframe} is among the timeframes taken from the venue already", key=key)
        try:
            source_of(Stream(rules.venue, "", timeframe), rules, venue.derived)
        except InvalidTimeframe as error:
            raise InvalidTimeframe(error.problem, key=key, nearest=error.nearest) from None
    _check_twice(venue.derived, key)


def _nearest_timeframe(wanted: Timeframe, native: Iterable[Timeframe]) -> Timeframe:
    def ratio(timeframe: Timeframe) -> float:
        return max(timeframe.nominal_ms, wanted.nominal_ms) / min(timeframe.nominal_ms, wanted.nominal_ms)

    return min(native, key=ratio)


def _check_symbols(codec: Codec, venue: VenueSettings, key: str) -> None:
    key = f"{key}.symbols"
    for index, symbol in enumerate(venue.symbols):
        try:
            if is_unified(symbol):  # what the venue calls it is known from its list only
                check_unified(symbol)
                continue
            codec.stream_name(Stream(codec.rules.venue, symbol, codec.rules.timeframes[0]))
        except InvalidSymbol as error:
            near = error.nearest if is_unified(symbol) else _nearest_symbol(codec, symbol) or error.nearest
            raise InvalidSymbol(error.problem, key=f"{key}[{index}]", nearest=near) from None
    _check_twice(venue.symbols, key)


def _nearest_symbol(codec: Codec, symbol: str) -> str | None:
    """Return `symbol` in the spelling of venues that join both currencies, if that is a symbol's shape."""
    joined = symbol.translate(_SEPARATORS).upper()
    try:
        codec.stream_name(Stream(codec.rules.venue, joined, codec.rules.timeframes[0]))
    except InvalidSymbol:
        return None
    return joined


def _check_twice(items: Iterable[Hashable], key: str) -> None:
    seen: set[Hashable] = set()
    for index, item in enumerate(items):
        if item in seen:
            raise ConfigError(f"{quoted(str(item))} is listed twice", key=f"{key}[{index}]")
        seen.add(item)


def _check_limits(rules: VenueRules, venue: VenueSettings, key: str) -> None:
    ceilings = {
        "streams_per_connection": "max_streams_per_connection",
        "names_per_request": "max_names_per_request",
        "messages_per_s": "messages_per_s",
        "connects": "connects",
        "rest_weight": "rest_weight",
        "rotate_after_s": "lifetime_s",
    }
    for name, limit in ceilings.items():
        value, ceiling = getattr(venue, name), getattr(rules, limit)
        if value is not None and ceiling is not None and value > ceiling and limit not in rules.assumed:
            raise ConfigError(f"{value:g} is more than {rules.title} allows ({ceiling:g})", key=f"{key}.{name}")
    for name, window, what in (
        ("connects", "connects_window_s", "connects"),
        ("rest_weight", "rest_window_s", "of REST weight"),
    ):
        allowed, allowed_s = getattr(rules, name), getattr(rules, window)
        count, window_s = getattr(venue, name) or allowed, getattr(venue, window) or allowed_s
        if name not in rules.assumed and count * allowed_s > allowed * window_s:
            raise ConfigError(
                f"{count} {what} in {window_s:g} s is more than {rules.title} allows ({allowed} in {allowed_s:g} s)",
                key=f"{key}.{window}",
            )


def can_watch(settings: Settings) -> bool:
    """Return whether a feed has something to watch, or can be given something over HTTP while it runs."""
    return any(venue.symbols for venue in settings.venues.values()) or bool(settings.web.enabled and settings.venues)

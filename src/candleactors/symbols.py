"""Symbols: whether the venues know the ones that are configured."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

import structlog
from attrs import evolve

from candleactors import venues
from candleactors.actors.venue import rest_base
from candleactors.errors import InvalidSymbol, RemoteProtocolError, TransientError
from candleactors.settings import Settings
from candleactors.transport.network import Network
from candleactors.transport.rest import RestClient


async def check_symbols(settings: Settings, network: Network) -> Settings:
    """Return `settings` without the symbols their venues do not know; asks each venue once, over REST.

    Raises `InvalidSymbol` for the first such symbol where the venue's ``unknown_symbols`` is ``refuse``. A symbol that
    is known and does not trade now is kept and logged. Where a venue gives no list, everything is kept: what is wrong
    is parked later.
    """
    checked = {}
    for name, venue in settings.venues.items():
        listed = await _listed(name, settings, network) if venue.symbols else {}
        unknown = [symbol for symbol in venue.symbols if listed and symbol not in listed]
        if unknown and venue.unknown_symbols == "refuse":
            raise _unknown(name, venue.symbols.index(unknown[0]), unknown[0], listed)
        log = structlog.get_logger("candleactors")
        for symbol in unknown:
            log.warning("unknown symbol left out", venue=name, symbol=symbol)
        for symbol in venue.symbols:
            if not listed.get(symbol, True):
                log.warning("symbol does not trade now", venue=name, symbol=symbol)
        checked[name] = evolve(venue, symbols=tuple(symbol for symbol in venue.symbols if symbol not in unknown))
    return evolve(settings, venues=checked)


async def _listed(name: str, settings: Settings, network: Network) -> Mapping[str, bool]:
    codec = venues.codec(name)
    try:
        async with RestClient(
            rest_base(codec, settings), network=network, timeout_s=settings.repair.request_timeout_s
        ) as client:
            answer = await client.get(codec.symbols())
            codec.check_answer(answer.status, answer.headers, answer.body)
            return codec.parse_symbols(answer.body)
    except (TransientError, RemoteProtocolError) as error:
        structlog.get_logger("candleactors").warning("symbols not checked", venue=name, error=str(error))
        return {}


def _unknown(venue: str, index: int, symbol: str, listed: Mapping[str, bool]) -> InvalidSymbol:
    trading = [known for known, trades in listed.items() if trades]
    near = get_close_matches(symbol.upper(), trading, n=1)
    title = venues.codec(venue).rules.title
    return InvalidSymbol(
        f'"{symbol}" is not a symbol of {title}',
        key=f"venues.{venue}.symbols[{index}]",
        nearest=near[0] if near else None,
    )

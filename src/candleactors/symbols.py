"""Symbols: whether the venues know the ones that are configured, what they call them, and what all of them did."""

from __future__ import annotations

from functools import partial

import structlog
from attrs import evolve

from candleactors import venues
from candleactors.actors.venue import endpoints, rest_base
from candleactors.errors import InvalidSymbol, RemoteProtocolError, TransientError
from candleactors.model import Ticker
from candleactors.settings import Settings
from candleactors.transport.network import Network
from candleactors.transport.rest import RestClient
from candleactors.venues.base import Codec, RestRequest
from candleactors.venues.listing import Listing, read_listing


async def check_symbols(settings: Settings, network: Network) -> Settings:
    """Return `settings` in the venues' own spelling, without the symbols they do not know; asks each venue over REST.

    Raises `InvalidSymbol` for the first such symbol where the venue's ``unknown_symbols`` is ``refuse``. A symbol that
    is known and does not trade now is kept and logged. Where a venue gives no list, everything is kept as it is: the
    feed goes on asking, and what is wrong is parked later.
    """
    log = structlog.get_logger("candleactors")
    checked = {}
    for name, venue in settings.venues.items():
        checked[name] = venue
        if not venue.symbols:
            continue
        try:
            listing = await listing_of(name, settings, network)
        except (TransientError, RemoteProtocolError) as error:
            log.warning("symbols not checked", venue=name, error=str(error))
            continue
        known: dict[str, None] = {}
        for index, symbol in enumerate(venue.symbols):
            instrument = listing.find(symbol)
            if instrument is None and venue.unknown_symbols == "refuse":
                raise unknown(name, symbol, listing, key=f"venues.{name}.symbols[{index}]")
            if instrument is None:
                log.warning("unknown symbol left out", venue=name, symbol=symbol)
                continue
            if not instrument.trades:
                log.warning("symbol does not trade now", venue=name, symbol=symbol)
            known[instrument.symbol] = None
        checked[name] = evolve(venue, symbols=tuple(known))
    return evolve(settings, venues=checked)


async def listing_of(name: str, settings: Settings, network: Network) -> Listing:
    """Return what the venue `name` trades, asked over REST at the addresses in `settings`.

    Raises `RateLimited`, `RequestFailed`, `MalformedMessage` or `VenueError`.
    """
    codec = venues.codec(name)
    async with _client(codec, settings, network) as client:
        return await read_listing(codec, partial(_ask, codec, client))


async def tickers_of(name: str, settings: Settings, network: Network) -> list[Ticker]:
    """Return the last 24 hours of everything that the venue `name` trades, asked like `listing_of`; raises likewise."""
    codec = venues.codec(name)
    async with _client(codec, settings, network) as client:
        found: list[Ticker] = []
        for request in codec.tickers():
            found += codec.parse_tickers(await _ask(codec, client, request))
        return found


def unknown(venue: str, symbol: str, listing: Listing, *, key: str | None = None) -> InvalidSymbol:
    """Return the error that says so, naming the nearest symbol."""
    title = venues.codec(venue).rules.title
    return InvalidSymbol(f'"{symbol}" is not a symbol of {title}', key=key, nearest=listing.nearest(symbol))


def _client(codec: Codec, settings: Settings, network: Network) -> RestClient:
    return RestClient(
        rest_base(codec, settings),
        network=network,
        timeout_s=settings.repair.request_timeout_s,
        headers=endpoints(codec.rules, settings.venues[codec.rules.venue]).rest_headers,
    )


async def _ask(codec: Codec, client: RestClient, request: RestRequest) -> bytes:
    answer = await client.get(request)
    codec.check_answer(answer.status, answer.headers, answer.body)
    return answer.body

"""What every venue's ccxt client is held to. ccxt keeps floats of six columns: what it keeps must be the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from simulated import SYMBOLS, Columns, Simulated, columns, exact

from candleactors.model import MINUTE_MS

_NONE: Mapping[str, str] = {}


async def check_markets(client: Any, venue: Simulated, otherwise: Mapping[str, str] = _NONE) -> None:
    """The client's unified symbols are ours and stand for the same instruments, but those it spells `otherwise`."""
    theirs = {market["id"]: market["symbol"] for market in (await client.load_markets()).values() if market["active"]}
    ours = {each.symbol: each.unified for each in venue.instruments() if each.trades} | dict(otherwise)
    assert theirs == ours, f"these differ: {sorted(theirs.items() ^ ours.items())}"
    assert len(ours) >= len(SYMBOLS) - 1


async def check_tickers(client: Any, symbols: Sequence[str]) -> None:
    """Tickers of all `symbols` come in one answer and make sense."""
    tickers = await client.fetch_tickers(list(symbols))
    assert set(tickers) == set(symbols), f"{sorted(tickers)} instead of {sorted(symbols)}"
    for ticker in tickers.values():
        assert 0 < ticker["low"] <= ticker["last"] <= ticker["high"], ticker
        assert ticker["baseVolume"] > 0, ticker


async def check_history(client: Any, venue: Simulated, symbols: Sequence[str], limit: int = 50) -> None:
    """Paging by ``since`` and ``limit`` gives every minute of the last hours once, as it was.

    Minutes without trades are missing where the venue has no rows of them.
    """
    flat_rows = venue.simulator.rules.flat_rows
    first_ms = venue.now_ms() // MINUTE_MS * MINUTE_MS - 2 * limit * MINUTE_MS
    for symbol in symbols:
        candles = venue.truth(client.market_id(symbol), first_ms)
        truth = [columns(candle) for candle in candles if flat_rows or candle.volume]
        got: list[Columns] = []
        since = first_ms
        while len(got) < len(truth):
            page = [exact(row) for row in await client.fetch_ohlcv(symbol, "1m", since=since, limit=limit)]
            assert page, f"{symbol}: nothing from {since} on, {len(got)} of {len(truth)} candles so far"
            assert len(page) <= limit, f"{symbol}: {len(page)} candles, {limit} were asked for"
            got += page
            since = page[-1][0] + MINUTE_MS
        check_equal(symbol, got[: len(truth)], truth)


async def check_stream(client: Any, venue: Simulated, symbols: Sequence[str], finished: int = 3) -> None:
    """What `watch_ohlcv` said last of each finished minute is the truth, on all `symbols` at once."""

    async def watch(symbol: str) -> None:
        last: dict[int, Columns] = {}
        began: int | None = None
        while began is None or sum(at > began for at in last) < finished:
            for row in map(exact, await client.watch_ohlcv(symbol, "1m")):
                last[row[0]] = row
            began = max(last) if began is None else began  # there may be a snapshot of older ones before it
        check_finished(client, venue, symbol, last)

    await asyncio.gather(*map(watch, symbols))
    assert venue.violations() == {}, venue.violations()


async def check_subscriptions(client: Any, venue: Simulated, symbols: Sequence[str]) -> None:
    """One request may name several symbols; both sides forget those that are not wanted any more."""
    first, *others = symbols
    await client.watch_ohlcv(first, "1m")
    await client.un_watch_ohlcv(first, "1m")
    assert venue.names() == [], venue.names()
    wanted = [[symbol, "1m"] for symbol in others]
    got: set[str] = set()
    while len(got) < len(others):
        got |= set(await client.watch_ohlcv_for_symbols(wanted))
    assert got == set(others), got
    assert len(venue.names()) == len(others), venue.names()
    await client.un_watch_ohlcv_for_symbols(wanted)
    assert venue.names() == [], venue.names()


def check_finished(client: Any, venue: Simulated, symbol: str, last: dict[int, Columns]) -> None:
    """All but the last of these candles are the truth, of which only candles without trades are missing."""
    *finished, running = sorted(last)
    truth = {row[0]: row for row in map(columns, venue.truth(client.market_id(symbol), finished[0]))}
    traded = {at for at, row in truth.items() if at < running and row[-1]}
    assert traded <= set(finished), f"{symbol}: nothing was said of {sorted(traded - set(finished))}"
    check_equal(symbol, [last[at] for at in finished], [truth[at] for at in finished])


def check_equal(symbol: str, got: list[Columns], truth: list[Columns]) -> None:
    """Both are the same candles."""
    differing = [pair for pair in zip(got, truth, strict=True) if pair[0] != pair[1]]
    assert not differing, f"{symbol}: {differing[0][0]} instead of {differing[0][1]}"

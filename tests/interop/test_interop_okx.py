"""ccxt against the simulation of OKX: spot pairs and swaps on one address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve
from ccxt_checks import check_history, check_markets, check_stream, check_subscriptions, check_tickers
from simulated import Simulated, simulated, within_deadline

from candleactors.sim import OKX_RULES

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

SYMBOLS = {
    "spot": ["BTC/USDT", "QUIET/USDT", "币安人生/USDT"],
    "swap": ["BTC/USDT:USDT", "BTC/USDC:USDC", "QUIET/USDT:USDT"],
}
EVERY = pytest.mark.parametrize("kind", SYMBOLS)


@pytest.fixture(scope="module")
def venue() -> Iterator[Simulated]:
    # The simulators' time runs faster than the client's, which would be too late with its ping.
    with simulated(evolve(OKX_RULES, idleness=None)) as venues:
        yield venues["okx"]


def okx(venue: Simulated) -> Any:
    pro = pytest.importorskip("ccxt.pro")
    client = pro.okx({"options": {"fetchMarkets": {"types": ["spot", "swap"]}}})
    client.urls["api"] |= {"rest": f"http://{venue.address}", "ws": f"ws://{venue.address}/ws/v5"}
    return client


def test_markets_and_time(venue: Simulated) -> None:
    async def body() -> None:
        async with okx(venue) as client:
            await check_markets(client, venue)
            before = venue.now_ms()
            assert before <= await client.fetch_time() <= venue.now_ms()

    within_deadline(body)


@EVERY
def test_tickers(venue: Simulated, kind: str) -> None:
    async def body() -> None:
        async with okx(venue) as client:
            await check_tickers(client, SYMBOLS[kind])

    within_deadline(body)


@EVERY
def test_history(venue: Simulated, kind: str) -> None:
    async def body() -> None:
        async with okx(venue) as client:
            await client.load_markets()
            await check_history(client, venue, SYMBOLS[kind])

    within_deadline(body)


def test_stream(venue: Simulated) -> None:
    async def body() -> None:
        async with okx(venue) as client:
            await client.load_markets()
            await check_stream(client, venue, [*SYMBOLS["spot"], *SYMBOLS["swap"]])
            assert venue.connections() == 1

    within_deadline(body)


@EVERY
def test_subscriptions(venue: Simulated, kind: str) -> None:
    async def body() -> None:
        async with okx(venue) as client:
            await client.load_markets()
            await check_subscriptions(client, venue, SYMBOLS[kind])

    within_deadline(body)

"""ccxt against the simulation of Bitfinex: spot pairs and perpetuals on one address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve
from ccxt_checks import check_history, check_markets, check_stream, check_tickers
from simulated import Simulated, simulated, within_deadline

from candleactors.sim import BITFINEX_RULES

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

SYMBOLS = {
    "spot": ["BTC/USDT", "ALGO/USDT", "QUIET/USDT"],
    "swap": ["BTC/USDT:USDT", "XRP/USDT:USDT", "QUIET/USDT:USDT"],
}
OTHERWISE = {"tALGF0:USTF0": "ALG/USDT:USDT", "tBTCF0:UDCF0": "BTC/UDC:UDC"}
"""ccxt knows the common names of ALG and UDC, but those of their futures only of Tether's dollar."""
EVERY = pytest.mark.parametrize("kind", SYMBOLS)


@pytest.fixture(scope="module")
def venue() -> Iterator[Simulated]:
    # The simulators' time runs faster than the client's, which would be too late with its ping.
    with simulated(evolve(BITFINEX_RULES, idleness=None)) as venues:
        yield venues["bitfinex"]


def bitfinex(venue: Simulated) -> Any:
    pro = pytest.importorskip("ccxt.pro")
    client = pro.bitfinex()
    client.urls["api"] |= {"public": f"http://{venue.address}", "ws": {"public": f"ws://{venue.address}/ws/2"}}
    return client


def test_markets(venue: Simulated) -> None:
    async def body() -> None:
        async with bitfinex(venue) as client:
            await check_markets(client, venue, OTHERWISE)

    within_deadline(body)


@EVERY
def test_tickers(venue: Simulated, kind: str) -> None:
    async def body() -> None:
        async with bitfinex(venue) as client:
            await check_tickers(client, SYMBOLS[kind])

    within_deadline(body)


@EVERY
def test_history(venue: Simulated, kind: str) -> None:
    async def body() -> None:
        async with bitfinex(venue) as client:
            await client.load_markets()
            await check_history(client, venue, SYMBOLS[kind])

    within_deadline(body)


def test_stream(venue: Simulated) -> None:
    async def body() -> None:
        async with bitfinex(venue) as client:
            await client.load_markets()
            await check_stream(client, venue, [*SYMBOLS["spot"], *SYMBOLS["swap"]])
            assert venue.connections() == 1

    within_deadline(body)

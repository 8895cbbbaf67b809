"""pybit and ccxt against the simulations of Bybit: the spot market, and linear futures."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from ccxt_checks import check_history, check_markets, check_stream, check_subscriptions, check_tickers
from simulated import DEADLINE_S, Columns, Simulated, columns, exact, simulated, within_deadline

from candleactors.model import MINUTE_MS
from candleactors.sim import BYBIT_LINEAR_RULES, BYBIT_SPOT_RULES

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

MARKETS = ("spot", "linear")
EVERY = pytest.mark.parametrize("market", MARKETS)
DELIVERY_MS = 1_987_747_200_000  # 2032-12-27 08:00 UTC
DATED = "BTC/USDT:USDT-321227"
SYMBOLS = {
    "spot": ["BTC/USDT", "BTC/USDC", "QUIET/USDT"],
    "linear": ["BTC/USDT:USDT", "BTC/USDC:USDC", DATED, "QUIET/USDT:USDT"],
}
UNDATED = {market: [symbol for symbol in symbols if symbol != DATED] for market, symbols in SYMBOLS.items()}
"""ccxt takes one kind of contract at a time."""


@pytest.fixture(scope="module")
def venues() -> Iterator[dict[str, Simulated]]:
    linear = evolve(BYBIT_LINEAR_RULES, dated=(("BTCUSDT", DELIVERY_MS),))
    with simulated(BYBIT_SPOT_RULES, linear) as venues:
        yield {name.removeprefix("bybit-"): venue for name, venue in venues.items()}


def pybit_http(venue: Simulated) -> Any:
    trading = pytest.importorskip("pybit.unified_trading")
    client = trading.HTTP()
    client.endpoint = f"http://{venue.address}"
    return client


@EVERY
def test_pybit_http(venues: dict[str, Simulated], market: str) -> None:
    exceptions = pytest.importorskip("pybit.exceptions")
    venue = venues[market]
    client = pybit_http(venue)
    with closing(client.client):
        before = venue.now_ms()
        assert before <= int(client.get_server_time()["result"]["timeNano"]) // 1_000_000 <= venue.now_ms()
        listed = client.get_instruments_info(category=market)["result"]["list"]
        assert {row["symbol"] for row in listed} == {each.symbol for each in venue.instruments()}
        tickers = client.get_tickers(category=market)["result"]["list"]
        assert {row["symbol"] for row in tickers} == {row["symbol"] for row in listed}
        one = client.get_tickers(category=market, symbol="ETHUSDT")["result"]["list"]
        assert [row["symbol"] for row in one] == ["ETHUSDT"]

        end = venue.now_ms() // MINUTE_MS * MINUTE_MS
        start = end - 100 * MINUTE_MS
        for symbol in ("BTCUSDT", "SOLUSDT"):
            truth = venue.truth(symbol, start)[:100]
            asked = {"category": market, "symbol": symbol, "interval": 1, "start": start, "end": end - 1}
            rows = client.get_kline(**asked, limit=200)["result"]["list"][::-1]
            assert [exact(row) for row in rows] == [columns(candle) for candle in truth]
            assert [Decimal(row[6]) for row in rows] == [candle.quote_volume for candle in truth]
        with pytest.raises(exceptions.InvalidRequestError) as caught:
            client.get_kline(category=market, symbol="NOPEUSDT", interval=1)
        assert caught.value.status_code == 10001


@EVERY
def test_pybit_stream(venues: dict[str, Simulated], market: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trading = pytest.importorskip("pybit.unified_trading")
    venue, symbols = venues[market], ["BTCUSDT", "SOLUSDT"]
    monkeypatch.setattr(trading, "PUBLIC_WSS", f"ws://{venue.address}/v5/public/{{CHANNEL_TYPE}}")
    said: queue.Queue[dict[str, Any]] = queue.Queue()
    client = trading.WebSocket(market, testnet=False, ping_interval=2, ping_timeout=1)
    try:
        before_answers = answers_wait(client)
        with before_answers:
            client.kline_stream(1, symbols, said.put)
        closed: dict[str, list[dict[str, Any]]] = {symbol: [] for symbol in symbols}
        while min(map(len, closed.values())) < 3:
            message = said.get(timeout=DEADLINE_S)
            closed[message["topic"].rpartition(".")[2]] += [row for row in message["data"] if row["confirm"]]
        for symbol, rows in closed.items():
            truth = venue.truth(symbol, rows[0]["start"])[: len(rows)]
            assert [push_columns(row) for row in rows] == [columns(candle) for candle in truth]
            assert [Decimal(row["turnover"]) for row in rows] == [candle.quote_volume for candle in truth]

        with before_answers:
            client.kline_stream(5, "ETHUSDT", said.put)
        client.unsubscribe("kline.1.BTCUSDT")  # along with what was asked for in the same request
        while client.get_subscription_topics() != ["kline.5.ETHUSDT"]:
            said.get(timeout=DEADLINE_S)
        while not said.empty():
            said.get()
        assert {said.get(timeout=DEADLINE_S)["topic"] for _ in range(5)} == {"kline.5.ETHUSDT"}
    finally:
        client.exit()
    assert venue.violations() == {}


def answers_wait(client: Any) -> threading.Lock:
    """Return what to hold while subscribing: pybit sends first and then notes what, which an answer must not outrun."""
    lock, handle = threading.Lock(), client.callback

    def in_turn(message: dict[str, Any]) -> None:
        with lock:
            handle(message)

    client.callback = in_turn
    return lock


def push_columns(row: dict[str, Any]) -> Columns:
    return exact([row[key] for key in ("start", "open", "high", "low", "close", "volume")])


def ccxt_client(venues: dict[str, Simulated], market: str) -> Any:
    pro = pytest.importorskip("ccxt.pro")
    client = pro.bybit({"options": {"fetchMarkets": {"types": [market]}}})
    address = venues[market].address
    public = {market: f"ws://{address}/v5/public/{market}"}
    client.urls["api"] |= {"public": f"http://{address}", "ws": {"public": public}}
    return client


@EVERY
def test_ccxt_markets_and_time(venues: dict[str, Simulated], market: str) -> None:
    async def body() -> None:
        async with ccxt_client(venues, market) as client:
            await check_markets(client, venues[market])
            before = venues[market].now_ms()
            assert before <= await client.fetch_time() <= venues[market].now_ms()

    within_deadline(body)


@EVERY
def test_ccxt_tickers(venues: dict[str, Simulated], market: str) -> None:
    async def body() -> None:
        async with ccxt_client(venues, market) as client:
            await check_tickers(client, UNDATED[market])
            if market == "linear":
                await check_tickers(client, [DATED])

    within_deadline(body)


@EVERY
def test_ccxt_history(venues: dict[str, Simulated], market: str) -> None:
    async def body() -> None:
        async with ccxt_client(venues, market) as client:
            await client.load_markets()
            await check_history(client, venues[market], SYMBOLS[market])

    within_deadline(body)


@EVERY
def test_ccxt_stream(venues: dict[str, Simulated], market: str) -> None:
    async def body() -> None:
        async with ccxt_client(venues, market) as client:
            await client.load_markets()
            await check_stream(client, venues[market], SYMBOLS[market])

    within_deadline(body)


@EVERY
def test_ccxt_subscriptions(venues: dict[str, Simulated], market: str) -> None:
    async def body() -> None:
        async with ccxt_client(venues, market) as client:
            await client.load_markets()
            await check_subscriptions(client, venues[market], UNDATED[market])

    within_deadline(body)

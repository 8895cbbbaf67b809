"""Real clients against the simulator over loopback TCP: what they get must be what its REST says.

Binance's markets, whose simulator runs as users run it, by the command. Run all of these with ``nox -s interop``.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from simulated import within_deadline

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("default"),  # the clients' own warnings are not ours to fix
    pytest.mark.timeout(90),
]


@pytest.fixture(scope="module")
def venues() -> Iterator[dict[str, str]]:
    """Addresses (host:port) of a running simulator, by venue."""
    code = "from candleactors.cli.sim import sim; sim()"
    arguments = [sys.executable, "-c", code, "--port", "0", "--symbols", "20", "--seed", "3"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(4)]
        yield {venue: url.removeprefix("http://") for venue, kind, url in lines if kind == "rest"}
        process.send_signal(signal.SIGINT)


def test_python_binance_spot(venues: dict[str, str]) -> None:
    binance = pytest.importorskip("binance")
    address = venues["binance-spot"]

    async def body() -> None:
        client = binance.AsyncClient()
        client.API_URL = f"http://{address}/api"
        try:
            await client.ping()
            assert (await client.get_server_time())["serverTime"] > 0
            info = await client.get_exchange_info()
            assert len(info["symbols"]) == 20
            assert (await client.get_symbol_info("BTCUSDT"))["baseAsset"] == "BTC"
            rows = await client.get_klines(symbol="BTCUSDT", interval="1m", limit=5)
            assert len(rows) == 5
            with pytest.raises(binance.exceptions.BinanceAPIException) as caught:
                await client.get_klines(symbol="NOPEUSDT", interval="1m")
            assert caught.value.code == -1121
            history = [row async for row in await client.get_historical_klines_generator("BTCUSDT", "1m", rows[0][0])]
            assert [row[0] for row in history[:5]] == [row[0] for row in rows]

            manager = binance.BinanceSocketManager(client)
            manager.STREAM_URL = f"ws://{address}/"
            async with manager.multiplex_socket(["btcusdt@kline_1s", "ethusdt@kline_1s"]) as socket:
                closed: dict[str, list[dict[str, Any]]] = {"BTCUSDT": [], "ETHUSDT": []}
                while min(len(found) for found in closed.values()) < 3:
                    message = (await socket.recv())["data"]
                    if message["k"]["x"]:
                        closed[message["s"]].append(message["k"])
            for symbol, klines in closed.items():
                parameters = {
                    "symbol": symbol,
                    "interval": "1s",
                    "startTime": klines[0]["t"],
                    "endTime": klines[-1]["t"],
                }
                rows = await client.get_klines(**parameters)
                assert [row[:7] for row in rows] == [[k[key] for key in ("t", *"ohlcv", "T")] for k in klines]
            async with manager.kline_socket("BTCUSDT", interval="1m") as socket:
                message = await socket.recv()
                assert (message["e"], message["s"], message["k"]["i"]) == ("kline", "BTCUSDT", "1m")
        finally:
            await client.close_connection()

    within_deadline(body)


def test_python_binance_futures(venues: dict[str, str]) -> None:
    binance = pytest.importorskip("binance")
    address = venues["binance-usdm"]

    async def body() -> None:
        client = binance.AsyncClient()
        client.FUTURES_URL = f"http://{address}/fapi"
        try:
            info = await client.futures_exchange_info()
            assert {s["contractType"] for s in info["symbols"]} == {"PERPETUAL"}
            rows = await client.futures_klines(symbol="BTCUSDT", interval="5m", limit=7)
            assert len(rows) == 7

            manager = binance.BinanceSocketManager(client)
            manager.FSTREAM_URL = f"ws://{address}/"
            async with manager.futures_multiplex_socket(["btcusdt@kline_1m", "ethusdt@kline_1m"]) as socket:
                seen: set[str] = set()
                while len(seen) < 2:
                    message = await socket.recv()
                    seen.add(message["stream"])
                    assert message["data"]["k"]["i"] == "1m"
            silent = manager.futures_multiplex_socket(["btcusdt@kline_1m"], category="public")
            async with silent as socket:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(socket.recv(), 3)
        finally:
            await client.close_connection()

    within_deadline(body)


def ccxt_client(venues: dict[str, str], options: dict[str, Any]) -> Any:
    """A ccxt client pointed at the simulator; its spot path must contain ``/stream``."""
    pro = pytest.importorskip("ccxt.pro")
    client = pro.binance({"options": {"fetchMarkets": {"types": ["spot", "linear"]}} | options})
    spot, usdm = venues["binance-spot"], venues["binance-usdm"]
    client.urls["api"] |= {
        "public": f"http://{spot}/api/v3",
        "fapiPublic": f"http://{usdm}/fapi/v1",
        "ws": client.urls["api"]["ws"] | {"spot": f"ws://{spot}/ws/stream", "linear": f"ws://{usdm}/ws"},
    }
    return client


@pytest.mark.parametrize(("symbol", "kind"), [("BTC/USDT", "spot"), ("BTC/USDT:USDT", "swap")])
def test_ccxt(venues: dict[str, str], symbol: str, kind: str) -> None:
    async def body() -> None:
        client = ccxt_client(venues, {"defaultType": kind})
        try:
            markets = await client.load_markets()
            assert markets[symbol][kind] is True
            assert markets[symbol]["active"] is True
            assert len([m for m in markets.values() if m[kind]]) == (20 if kind == "spot" else 19)
            assert Decimal(str(markets[symbol]["precision"]["price"])) == Decimal("0.01")
            rows = await client.fetch_ohlcv(symbol, "1m", limit=5)
            assert len(rows) == 5
            assert all(low <= min(open_, close) and max(open_, close) <= high for _, open_, high, low, close, _ in rows)
            ticker = await client.fetch_ticker(symbol)
            assert ticker["last"] > 0
            watched = await client.watch_ohlcv(symbol, "1m")
            assert watched[-1][0] >= rows[-1][0]
            other = symbol.replace("BTC", "ETH")
            got: set[str] = set()
            while len(got) < 2:
                got |= set(await client.watch_ohlcv_for_symbols([[symbol, "1m"], [other, "1m"]]))
            assert got == {symbol, other}
        finally:
            await client.close()

    within_deadline(body)


def test_ccxt_sees_every_second_close_as_rest_has_it(venues: dict[str, str]) -> None:
    async def body() -> None:
        client = ccxt_client(venues, {"defaultType": "spot"})
        try:
            await client.load_markets()
            last: dict[int, list[float]] = {}
            while len(last) < 5:
                for row in await client.watch_ohlcv("ETH/USDT", "1s"):
                    last[row[0]] = row
            first, *closed, _ = sorted(last)
            rows = {row[0]: row for row in await client.fetch_ohlcv("ETH/USDT", "1s", since=first, limit=10)}
            assert closed
            for at in closed:
                assert rows[at] == last[at]
        finally:
            await client.close()

    within_deadline(body)

"""``candleactors backfill``, ``gaps`` and ``repair``, in processes of their own, over loopback."""

from __future__ import annotations

import csv
import io
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import frozen
from test_sync import forget

from candleactors.model import HOUR_MS, MINUTE_MS, Candle, Gap, Stream, Timeframe
from candleactors.settings import StoreSettings
from candleactors.sim import RULES, Market, Simulator, default_symbols
from candleactors.stores import open_store
from candleactors.validators import Secret

if TYPE_CHECKING:
    from postgres_server import Database

pytest_plugins = ["postgres_fixtures"]

CALL = (sys.executable, "-c", "from candleactors.cli import main; main()")
VENUES = {"binance-spot": "BTCUSDT", "okx": "BTC-USDT"}
M1 = Timeframe("1m")
STARTED_MS = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS - HOUR_MS
"""Two simulators of one run agree about the market."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Requests:
    """Counts the requests for candles."""

    def __init__(self) -> None:
        self.count = 0
        self._more = trio.Event()

    def observe(self, kind: str, text: str) -> None:
        if kind == "rest" and ("candle" in text or "line" in text):
            self.count += 1
            self._more.set()
            self._more = trio.Event()

    async def more(self, count: int) -> None:
        """Return once there were so many more."""
        wanted = self.count + count
        with trio.fail_after(30):
            while self.count < wanted:
                await self._more.wait()


@frozen
class Place:
    """A folder with a configuration, and the simulators that it names."""

    folder: Path
    sims: dict[str, Simulator]
    store: StoreSettings
    requests: Requests

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return await trio.run_process(
            [*CALL, *arguments], cwd=self.folder, capture_stdout=True, capture_stderr=True, check=False
        )

    async def start(self, *arguments: str) -> trio.Process:
        return await trio.lowlevel.open_process(
            [*CALL, *arguments], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    async def stored(self, stream: Stream) -> tuple[list[Candle], list[Gap]]:
        async with open_store(self.store, read_only=True) as store:
            return await store.candles(stream), await store.gaps(stream)


@asynccontextmanager
async def a_place(tmp_path: Path, database: Database | None = None, hours: int = 60) -> AsyncIterator[Place]:
    sims, text = {}, ""
    requests = Requests()
    async with trio.open_nursery() as nursery:
        for name, symbol in VENUES.items():
            market = Market(7, STARTED_MS, default_symbols(2), history_ms=hours * HOUR_MS)
            sim = sims[name] = Simulator(market, RULES[name], now_ms, seed=1)
            sim.counters.observe = requests.observe
            await nursery.start(sim.run)
            host, port = await nursery.start(sim.serve_tcp)
            text += f'[venues.{name}]\nsymbols = ["{symbol}"]\nrest_url = "http://{host}:{port}"\n'
            text += f'websocket_url = "ws://{host}:{port}"\n'
        if database is not None:
            text += f'[store]\nurl = "{database.url}"\n'
            store = StoreSettings(url=Secret(database.url))
        else:
            store = StoreSettings(path=tmp_path / "candles.sqlite")
        (tmp_path / "candles.toml").write_text(text)
        yield Place(tmp_path, sims, store, requests)
        for sim in sims.values():
            assert sim.counters.violations == {}
        nursery.cancel_scope.cancel()


async def whole(place: Place, start_ms: int) -> None:
    """Assert that the store has what the venues had from `start_ms` on, until lately."""
    for name, symbol in VENUES.items():
        candles, gaps = await place.stored(Stream(name, symbol, M1))
        opens = [candle.open_time_ms for candle in candles]
        assert opens == list(M1.opens(opens[0], opens[-1] + 1))
        assert opens[0] == start_ms
        assert opens[-1] > now_ms() - 10 * MINUTE_MS
        truth = place.sims[name].truth(symbol, M1, start_ms, opens[-1] + MINUTE_MS)
        assert [candle.values() for candle in candles] == [each.values() for each in truth]
        assert gaps == []


@pytest.mark.timeout(100)
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_killed_again_and_again(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """By interrupts and without warning: the same command goes on, asks for nothing twice and ends with everything."""
    database = request.getfixturevalue("database") if store == "postgres" else None
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    async with a_place(tmp_path, database) as place:
        start_ms = STARTED_MS - 50 * HOUR_MS
        command = ("backfill", "--from", str(start_ms), "--share", "0.2")
        for _ in range(4):
            process = await place.start(*command)
            await place.requests.more(rng.randrange(1, 8))
            number = rng.choice([signal.SIGKILL, signal.SIGINT])
            process.send_signal(number)
            with trio.fail_after(30):
                status = await process.wait()
            assert status in (-signal.SIGKILL, -signal.SIGINT, 130, 0)
        done = await place.run(*command)
        assert (done.returncode, done.stderr) == (0, b"")
        assert place.requests.count <= 4 + 31 + 5 * 10, "a life costs what it had under way, at most"
        await whole(place, start_ms)
        before = place.requests.count
        done = await place.run(*command)
        assert done.returncode == 0
        assert place.requests.count <= before + 2


@pytest.mark.timeout(60)
async def test_an_interrupt_tells_what_was_done(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        process = await place.start("backfill", "--from", str(STARTED_MS - 50 * HOUR_MS), "--share", "0.1")
        await place.requests.more(2)
        process.send_signal(signal.SIGINT)
        with trio.fail_after(20):
            assert await process.wait() == 130
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = await process.stdout.receive_some(), await process.stderr.receive_some()
        assert b"okx:BTC-USDT:1m: " in out
        assert err.strip() == b"candleactors: interrupted; the same command goes on"


@pytest.mark.timeout(60)
async def test_holes_are_listed_and_mended(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        start_ms = STARTED_MS - 10 * HOUR_MS
        done = await place.run("backfill", "--venue", "binance-spot", "--from", str(start_ms), "--to", str(STARTED_MS))
        assert done.stdout == b"binance-spot:BTCUSDT:1m: 600 new\n"
        done = await place.run("gaps")
        assert (done.returncode, done.stdout) == (0, b"no holes in 1 stream\n")
        stream = Stream("binance-spot", "BTCUSDT", M1)
        first_ms = start_ms + 60 * MINUTE_MS
        assert forget(place.store.path, stream, first_ms, first_ms + 5 * MINUTE_MS) == 5
        done = await place.run("gaps", "--format", "csv")
        (row,) = csv.DictReader(io.StringIO(done.stdout.decode()))
        assert row == {
            "venue": "binance-spot",
            "symbol": "BTCUSDT",
            "timeframe": "1m",
            "first_open_time_ms": str(first_ms),
            "last_open_time_ms": str(first_ms + 4 * MINUTE_MS),
            "candles": "5",
            "reason": "unnoted",
        }
        done = await place.run("gaps", "--format", "json", "--symbols", "BTCUSDT", "--from", str(first_ms + MINUTE_MS))
        assert json.loads(done.stdout) == [], "it begins where the hole is"
        done = await place.run("gaps")
        assert b"binance-spot:BTCUSDT:1m" in done.stdout
        assert b"unnoted" in done.stdout
        done = await place.run("repair", "--timeframes", "1m")
        assert (done.returncode, done.stdout) == (0, b"binance-spot:BTCUSDT:1m: 5 new\n")
        done = await place.run("gaps", "--all")
        assert done.stdout == b"no holes in 1 stream\n"


@pytest.mark.timeout(60)
async def test_beside_a_running_feed(tmp_path: Path) -> None:
    """On the very file that the feed writes to, within one budget."""
    async with a_place(tmp_path) as place:
        feed = await place.start("run")
        await place.requests.more(2)
        start_ms = STARTED_MS - 20 * HOUR_MS
        done = await place.run("backfill", "--from", str(start_ms))
        assert (done.returncode, done.stderr) == (0, b"")
        assert feed.poll() is None
        feed.send_signal(signal.SIGTERM)
        with trio.fail_after(20):
            assert await feed.wait() == 0
        await whole(place, start_ms)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("backfill",), "--from is missing"),
        (("backfill", "--from", "2026-01-01", "--venue", "okxx"), 'did you mean "okx"?'),
        (("backfill", "--from", "2026-01-01", "--venue", "bybit-spot"), "no symbols of bybit-spot"),
        (("backfill", "--from", "yesterday"), '"yesterday" is not a time'),
        (("backfill", "--from", "2026-01-01", "--timeframes", "1x"), '"1x" is not a timeframe'),
        (("backfill", "--from", "2026-01-01", "--share", "2"), "2"),
        (("repair", "--compare"), "--compare needs --from"),
        (("gaps", "--store", "a", "--config", "b"), "--store and --config exclude each other"),
    ],
)
async def test_mistakes_are_one_line(arguments: tuple[str, ...], problem: str, tmp_path: Path) -> None:
    (tmp_path / "candles.toml").write_text('[venues.okx]\nsymbols = ["BTC-USDT"]\nrest_url = "http://127.0.0.1:9"\n')
    done = await trio.run_process([*CALL, *arguments], cwd=tmp_path, capture_stderr=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert problem in line
    assert not (tmp_path / "candles.sqlite").exists()


async def test_what_cannot_be_done_is_one_line_each(tmp_path: Path) -> None:
    async with a_place(tmp_path, hours=3) as place:
        symbols = ("--venue", "binance-spot", "--symbols", "BTC/USDT,ETHUSD,NO/USDT")
        done = await place.run("backfill", "--from", str(STARTED_MS - HOUR_MS), *symbols)
        assert done.returncode == 1
        lines = done.stderr.decode().splitlines()
        assert len(lines) == 2
        assert 'binance-spot:ETHUSD:1m: "ETHUSD" is not a symbol of Binance Spot; did you mean "ETHUSDT"?' in lines[0]
        assert '"NO/USDT" is not a symbol of Binance Spot' in lines[1]
        assert done.stdout.startswith(b"binance-spot:BTCUSDT:1m: ")
        done = await place.run("gaps", "--symbols", "BTCUSD")
        assert (done.returncode, done.stderr) == (
            1,
            b'candleactors: candles.sqlite has nothing of the symbol "BTCUSD"; did you mean "BTCUSDT"?\n',
        )

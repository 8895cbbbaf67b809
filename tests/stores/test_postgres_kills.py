"""Fifty deaths by ``kill -9``, with a PostgreSQL that comes and goes as well: nothing is lost, nothing doubled."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from postgres_server import Database
from test_sockets import SYMBOLS, now_ms, venue

from candleactors.model import Candle, Stream, Timeframe
from candleactors.sim import Simulator
from candleactors.stores.postgres import open_postgres

pytest_plugins = ["postgres_fixtures"]

STREAMS = [Stream("binance-spot", symbol, Timeframe(frame)) for symbol in SYMBOLS for frame in ("1s", "1m")]
COMMAND = [sys.executable, "-c", "from candleactors.cli import main; main()", "run"]
LIVES = 10
CONFIG = """
status_socket = "{folder}/daemon.sock"

[venues.binance-spot]
symbols = {symbols}
timeframes = ["1s", "1m"]
websocket_url = "ws://127.0.0.1:{port}"
rest_url = "http://127.0.0.1:{port}"

[store]
url = "{url}"
buffer = "{folder}/buffer.sqlite"
start_wait_s = 0.3

[repair]
history = 90

[backoff]
initial_s = 0.1
max_s = 0.5
"""


class Switch:
    """The server, as it is now."""

    def __init__(self, database: Database) -> None:
        self.on = True
        self._server = database.server

    async def turn(self, on: bool, how: str = "fast") -> None:
        if on != self.on:
            self.on = on
            await trio.to_thread.run_sync(*((self._server.start,) if on else (self._server.stop, how)))


@asynccontextmanager
async def switch(database: Database) -> AsyncIterator[Switch]:
    """Give the server's switch, and leave the server on."""
    found = Switch(database)
    try:
        yield found
    finally:
        with trio.CancelScope(shield=True):
            await found.turn(True)


async def stored(database: Database) -> dict[Stream, list[Candle]]:
    """Return what the database holds, however its writer ended."""
    async with open_postgres(database.url) as store:
        for stream in STREAMS:
            assert not await store.gaps(stream)
        return {stream: await store.candles(stream) for stream in STREAMS}


def told(candles: list[Candle]) -> list[tuple[object, ...]]:
    """Return what candles say. Who begins without the server fetches the last ones anew, and stores them again."""
    return [(candle.open_time_ms, candle.revision, *candle.values()) for candle in candles]


async def connected(sim: Simulator, before: int) -> None:
    """Wait until one more connection was opened than there were `before`."""
    for _ in range(1_500):
        if sim.counters.connections > before:
            return
        await trio.sleep(0.02)
    raise AssertionError("the daemon does not connect")


async def caught_up(database: Database, since_ms: int) -> None:
    """Wait until the database has what happened after `since_ms` of every stream of seconds."""
    for _ in range(1_500):
        found = database.query(
            "SELECT count(*) FROM (SELECT symbol FROM market_data.candles WHERE timeframe = '1s' "
            f"GROUP BY symbol HAVING max(open_time) > to_timestamp({since_ms / 1000})) AS symbols"
        )
        if found == [(len(SYMBOLS),)]:
            return
        await trio.sleep(0.05)
    raise AssertionError("the database does not get what happens now")


@pytest.mark.timeout(110)
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
async def test_kill_nine_at_any_moment(tmp_path: Path, database: Database, seed: int) -> None:
    rng = random.Random(seed)
    print("seed", seed)
    config = tmp_path / "candles.toml"
    async with venue() as (sim, port), switch(database) as server:
        config.write_text(CONFIG.format(symbols=list(SYMBOLS), port=port, url=database.url, folder=tmp_path))
        before: dict[Stream, list[Candle]] = {stream: [] for stream in STREAMS}
        with (tmp_path / "log").open("wb") as log:
            for life in range(LIVES):
                # The first one has a server, which makes the tables.
                await server.turn(life == 0 or rng.random() < 0.6, rng.choice(["fast", "immediate"]))
                connections = sim.counters.connections
                daemon = await trio.lowlevel.open_process([*COMMAND, str(config)], stderr=log, stdout=log)
                # Now and then while it starts, otherwise at work, or while it fetches or drains.
                if life == 0 or rng.random() < 0.85:
                    await connected(sim, connections)
                if rng.random() < 0.4:
                    await trio.sleep(rng.uniform(0.0, 0.5))
                    await server.turn(not server.on, rng.choice(["fast", "immediate"]))
                await trio.sleep(rng.uniform(0.0, 0.8))
                assert daemon.poll() is None, (tmp_path / "log").read_text()
                daemon.send_signal(signal.SIGKILL)
                await daemon.wait()
                if server.on:
                    after = await stored(database)
                    for stream, candles in before.items():
                        assert told(after[stream][: len(candles)]) == told(candles), "neither lost nor rewritten"
                    before = after
            await server.turn(True)
            daemon = await trio.lowlevel.open_process([*COMMAND, str(config)], stderr=log, stdout=log)
            await caught_up(database, now_ms())
            daemon.send_signal(signal.SIGTERM)
            with trio.fail_after(20):
                assert await daemon.wait() == 0
        final = await stored(database)
        for stream, candles in final.items():
            assert told(candles[: len(before[stream])]) == told(before[stream])
            truth = sim.truth(stream.symbol, stream.timeframe, candles[0].open_time_ms, candles[-1].next_open_time_ms)
            opens = [candle.open_time_ms for candle in candles]
            assert opens == list(stream.timeframe.opens(opens[0], opens[-1] + 1)), "neither lost nor doubled"
            assert [c.values() for c in candles] == [t.values() for t in truth]
        assert len(final[STREAMS[0]]) > 90 + LIVES / 2
        assert b"Traceback" not in (tmp_path / "log").read_bytes()
        assert sim.counters.violations == {}
        assert not database.query(
            "SELECT open_time FROM market_data.candle GROUP BY open_time, venue, symbol, timeframe HAVING count(*) > 1"
        )

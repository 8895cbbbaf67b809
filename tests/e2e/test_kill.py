"""The daemon dies by ``kill -9`` again and again; what it leaves behind is always whole."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from test_sockets import SYMBOLS, now_ms, venue

from candleactors.model import Candle, Stream, Timeframe
from candleactors.sim import Simulator
from candleactors.stores.sqlite import open_sqlite

STREAMS = [Stream("binance-spot", symbol, Timeframe(frame)) for symbol in SYMBOLS for frame in ("1s", "1m")]
CONFIG = """
[venues.binance-spot]
symbols = {symbols}
timeframes = ["1s", "1m"]
websocket_url = "ws://127.0.0.1:{port}"
rest_url = "http://127.0.0.1:{port}"

[store]
path = "{store}"

[repair]
history = 30
"""


async def stored(path: Path) -> dict[Stream, list[Candle]]:
    """Return what the store holds, however its writer ended."""
    async with open_sqlite(path, read_only=True) as store:
        for stream in STREAMS:
            assert not await store.gaps(stream)
        return {stream: await store.candles(stream) for stream in STREAMS}


async def connected(sim: Simulator) -> None:
    """Wait until one more connection was opened."""
    before = sim.counters.connections
    for _ in range(1_500):
        if sim.counters.connections > before:
            return
        await trio.sleep(0.02)
    raise AssertionError("the daemon does not connect")


@pytest.mark.timeout(100)
@pytest.mark.parametrize("seed", [1])
async def test_kill_nine_at_any_moment(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    print("seed", seed)
    path = tmp_path / "candles.sqlite"
    config = tmp_path / "candles.toml"
    command = [sys.executable, "-c", "from candleactors.cli import main; main()", "run", str(config)]
    async with venue() as (sim, port):
        config.write_text(CONFIG.format(symbols=list(SYMBOLS), port=port, store=path))
        before: dict[Stream, list[Candle]] = {}
        killed = 0
        with (tmp_path / "log").open("wb") as log:
            while killed < 4:
                daemon = await trio.lowlevel.open_process(command, stderr=log, stdout=log)
                # Once while it starts, otherwise at work, or while it fetches what it missed.
                if killed != 2:
                    await connected(sim)
                await trio.sleep(rng.uniform(0.0, 1.5) if killed else 2.0)
                assert daemon.poll() is None, log.name
                daemon.send_signal(signal.SIGKILL)
                await daemon.wait()
                killed += 1
                after = await stored(path)
                for stream, candles in before.items():
                    assert after[stream][: len(candles)] == candles, "what was stored is neither lost nor rewritten"
                before = after
            daemon = await trio.lowlevel.open_process(command, stderr=log, stdout=log)
            await connected(sim)
            await trio.sleep(2.5)
            daemon.send_signal(signal.SIGTERM)
            stopped_ms = now_ms()
            with trio.fail_after(20):
                assert await daemon.wait() == 0
        final = await stored(path)
        for stream, candles in final.items():
            assert candles[: len(before[stream])] == before[stream]
            first_ms = candles[0].open_time_ms
            truth = sim.truth(stream.symbol, stream.timeframe, first_ms, stopped_ms)
            assert [c.values() for c in candles] == [t.values() for t in truth[: len(candles)]]
            assert candles[-1].close_time_ms >= stopped_ms - 6_000 - stream.timeframe.nominal_ms
            opens = [candle.open_time_ms for candle in candles]
            assert opens == list(stream.timeframe.opens(opens[0], opens[-1] + 1))
        assert len(final[STREAMS[0]]) > 34
        assert b"Traceback" not in (tmp_path / "log").read_bytes()
        assert sim.counters.violations == {}


def test_the_command_is_there() -> None:
    """The daemon above is the one users run."""
    shown = subprocess.run(
        [sys.executable, "-c", "from candleactors.cli import main; main()", "run", "--help"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert "Run the feed that FILE configures" in shown.stdout

"""The SQLite store on a full, locked, damaged or vanishing file, and under ``kill -9``."""

from __future__ import annotations

import random
import resource
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from candleactors.errors import StoreUnavailable
from candleactors.model import MINUTE_MS, Candle, Gap, GapReason, Source, Stream, Timeframe
from candleactors.stores.sqlite import open_sqlite

STREAM = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))
BATCH = 50


def batch(number: int) -> list[Candle]:
    opens = [(number * BATCH + i) * MINUTE_MS for i in range(BATCH)]
    one = Decimal("1.00000000")
    return [
        Candle(
            STREAM.venue,
            STREAM.symbol,
            STREAM.timeframe,
            open_ms,
            open_ms + MINUTE_MS - 1,
            *(one,) * 6,
            1,
            one,
            one,
            closed=True,
            complete=True,
            source=Source.WS,
            revision=0,
            received_ms=open_ms + MINUTE_MS,
        )
        for open_ms in opens
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "candles.sqlite"


async def test_a_full_disk_loses_nothing_and_passes(path: Path) -> None:
    # A limit on the size of any file this process writes behaves like a full disk in the middle of a transaction.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with open_sqlite(path) as store:
        await store.write(batch(0), [Gap(STREAM, 50 * MINUTE_MS, 60 * MINUTE_MS, GapReason.VENUE)])
        size = max(p.stat().st_size for p in path.parent.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, limits[1]))
        try:
            for _ in range(3):
                with pytest.raises(StoreUnavailable, match="disk"):
                    await store.write([row for number in range(1, 100) for row in batch(number)], [])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert await store.candles(STREAM) == batch(0)
        await store.write(batch(1), [])
        assert await store.candles(STREAM) == [*batch(0), *batch(1)]
        assert await store.gaps(STREAM) == []


async def test_the_engine_says_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect
    pages = 12

    def connect(*args: object, **kwargs: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(*args, **kwargs)  # type: ignore[call-overload]  # passed through
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    many = [row for number in range(1, 100) for row in batch(number)]
    async with open_sqlite(path) as store:
        await store.write(batch(0), [])
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                await store.write(many, [])
            assert await store.candles(STREAM) == batch(0)
        pages = 10_000
        # The connection that failed last was thrown away: the next one has room.
        await store.write(many, [])
        assert await store.candles(STREAM) == [*batch(0), *many]


async def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    path.write_bytes(b"[venues.binance-spot]\n" * 100)
    for read_only in (True, False):
        with pytest.raises(StoreUnavailable, match=r"candles\.sqlite: not a SQLite database"):
            async with open_sqlite(path, read_only=read_only):
                pass
    assert path.read_bytes() == b"[venues.binance-spot]\n" * 100


async def test_damage_is_reported_and_never_read_as_a_candle(path: Path) -> None:
    async with open_sqlite(path) as store:
        for number in range(40):
            await store.write(batch(number), [])
    whole = path.read_bytes()
    expected = [row for number in range(40) for row in batch(number)]
    rng = random.Random(7)
    refused = 0
    for _ in range(30):
        damaged = bytearray(whole)
        at = rng.randrange(len(damaged) // 4096) * 4096
        damaged[at : at + 4096] = rng.randbytes(4096)
        path.write_bytes(damaged)
        try:
            async with open_sqlite(path, read_only=True) as store:
                read = await store.candles(STREAM)
        except StoreUnavailable:
            refused += 1
        else:
            # A page nobody needs for this query, or one that makes the stream unknown.
            assert read in (expected, [])
    assert refused > 20


async def test_a_damaged_row_is_reported(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write(batch(0), [])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE candle SET low = '1.2.3' WHERE open_time_ms = 0")
    connection.close()
    async with open_sqlite(path) as store:
        with pytest.raises(StoreUnavailable, match="a candle of binance-spot:BTCUSDT:1m is damaged"):
            await store.candles(STREAM)
        assert len(await store.candles(STREAM, start_ms=1)) == BATCH - 1


async def test_a_file_that_vanishes_is_noticed_and_made_anew(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write(batch(0), [])
        path.unlink()
        with pytest.raises(StoreUnavailable, match="moved, deleted or replaced"):
            await store.write(batch(1), [])
        await store.write(batch(1), [])
        with pytest.raises(StoreUnavailable, match="moved, deleted or replaced"):
            await store.candles(STREAM)
        assert await store.candles(STREAM) == batch(1)


WRITER = """
import sys
from pathlib import Path

import trio

sys.path.insert(0, sys.argv[2])
from test_sqlite_trouble import batch
from candleactors.stores.sqlite import open_sqlite


async def main():
    async with open_sqlite(Path(sys.argv[1])) as store:
        for number in range(int(sys.argv[3]), 1_000_000):
            await store.write(batch(number), [])
            print(number, flush=True)


trio.run(main)
"""


async def test_kill_9_loses_no_acknowledged_batch_and_leaves_no_half(path: Path) -> None:
    acknowledged = -1
    for after in (1, 7, 40):
        arguments = [str(path), str(Path(__file__).parent), str(acknowledged + 1)]
        writer = subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(after):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        acknowledged += after + len(rest)
        async with open_sqlite(path, read_only=True) as store:
            rows = await store.candles(STREAM)
        # One batch more may have been committed and not yet acknowledged.
        assert len(rows) // BATCH - 1 in (acknowledged, acknowledged + 1)
        assert rows == [row for number in range(len(rows) // BATCH) for row in batch(number)]

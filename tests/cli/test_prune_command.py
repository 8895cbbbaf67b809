"""``candleactors db prune``: what the configuration says, and what a feed would keep is kept."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio
from commands import Shell

from candleactors.model import DAY_MS, HOUR_MS, MINUTE_MS, Candle, Source, Stream, Timeframe
from candleactors.stores.sqlite import open_sqlite

CONFIG = """
[venues.binance-spot]
symbols = ["BTCUSDT"]
derived = ["7m", "1d"]
[repair]
history = 100
[aggregation]
catch_up_minutes = 60
warm_start_minutes = 60
[retention.days]
"1m" = 0.5
"1d" = 1
"""
NEWEST_MS = 1_782_907_200_000  # 2026-07-01T12:00Z
BTC, ETH, DAY = (
    Stream("binance-spot", "BTCUSDT", Timeframe("1m")),
    Stream("binance-spot", "ETHUSDT", Timeframe("1m")),
    Stream("binance-spot", "BTCUSDT", Timeframe("1d")),
)


def candle(stream: Stream, opens_ms: int, source: Source = Source.WS) -> Candle:
    one, times = Decimal(1), (opens_ms, stream.timeframe.close_ms(opens_ms))
    names = stream.venue, stream.symbol, stream.timeframe
    return Candle(*names, *times, one, one, one, one, one, None, None, None, None, True, True, source, 0, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with three days of two symbols, of one of which days are made, and a configuration beside it."""
    path = tmp_path / "candles.sqlite"
    (tmp_path / "candles.toml").write_text(CONFIG)

    async def fill() -> None:
        async with open_sqlite(path, threaded=False) as store:
            for stream in (BTC, ETH):
                opens = range(NEWEST_MS - 3 * DAY_MS, NEWEST_MS + 1, 5 * MINUTE_MS)
                await store.write([candle(stream, at) for at in opens], [])
            today_ms = DAY.timeframe.floor(NEWEST_MS)
            days = [candle(DAY, today_ms - n * DAY_MS, Source.DERIVED) for n in range(1, 4)]
            await store.write(days, [])

    trio.run(fill)
    return path


def oldest(path: Path) -> dict[Stream, int]:
    async def read() -> dict[Stream, int]:
        async with open_sqlite(path, threaded=False, read_only=True) as store:
            return {s: (await store.candles(s, limit=1))[0].open_time_ms for s in await store.streams()}

    return trio.run(read)


def test_it_says_what_it_would_do_and_does_it(path: Path, candleactors: Shell) -> None:
    before = oldest(path)
    planned = candleactors("db", "prune", "--dry-run")
    # Minutes of the day before are needed for its candle.
    expected = dict.fromkeys([BTC, ETH], NEWEST_MS - 36 * HOUR_MS) | {DAY: NEWEST_MS - 60 * HOUR_MS}
    minutes = "candles from 2026-06-28 12:00:00 to 2026-06-30 00:00:00"
    days = "candles from 2026-06-28 00:00:00 to 2026-06-29 00:00:00"
    assert (planned.status, planned.err) == (0, "")
    assert planned.out == (
        f"binance-spot:BTCUSDT:1m: {minutes} would be deleted\n"
        f"binance-spot:BTCUSDT:1d: {days} would be deleted\n"
        f"binance-spot:ETHUSDT:1m: {minutes} would be deleted\n"
    )
    assert oldest(path) == before
    done = candleactors("db", "prune")
    assert (done.status, done.err) == (0, "")
    assert done.out == (
        f"binance-spot:BTCUSDT:1m: 432 {minutes} deleted\n"
        f"binance-spot:BTCUSDT:1d: 1 {days} deleted\n"
        f"binance-spot:ETHUSDT:1m: 432 {minutes} deleted\n"
    )
    assert oldest(path) == expected
    again = candleactors("db", "prune")
    assert (again.status, again.out, again.err) == (0, "", "")


def test_without_limits_there_is_nothing_to_do(path: Path, candleactors: Shell) -> None:
    path.with_name("candles.toml").write_text("")
    failed = candleactors("db", "prune")
    assert (failed.status, failed.out) == (2, "")
    assert failed.err == "candleactors: retention.days: no timeframe has a limit, so there is nothing to delete\n"

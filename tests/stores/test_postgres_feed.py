"""Whole feeds with the PostgreSQL store."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from e2e_world import open_world, spot
from postgres_server import Database
from test_sockets import SECOND, venue

from candleactors import open_feed
from candleactors.model import DAY_MS, Candle, Gap, Stream, Timeframe
from candleactors.settings import RepairSettings, RetentionSettings, Settings, StoreSettings, VenueSettings
from candleactors.stores import open_store
from candleactors.validators import Secret

pytest_plugins = ["postgres_fixtures"]


async def test_a_feed_in_virtual_time_and_the_next_one(
    autojump_clock: object, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StoreSettings(url=Secret(database.url))

    async def stored(stream: Stream) -> tuple[list[Candle], list[Gap]]:
        async with open_store(settings, threaded=False, read_only=True) as reader:
            return await reader.candles(stream), await reader.gaps(stream)

    async with (
        open_world(tmp_path, repair=RepairSettings(history=50)) as world,
        open_store(settings, threaded=False) as store,
    ):
        monkeypatch.setattr(world, "stored", stored)
        for _ in range(2):
            async with world.feed(store=store) as feed:
                judge = world.judge(feed)
                await trio.sleep(100)
            await judge.verdict(slack_s=2.0)
            await trio.sleep(30)


async def test_retention_drops_whole_months(autojump_clock: object, tmp_path: Path, database: Database) -> None:
    kept = RetentionSettings({Timeframe("1m"): 1})
    async with (
        open_world(tmp_path, spot("BTCUSDT", frames=("1m",)), repair=RepairSettings(history=50)) as world,
        open_store(StoreSettings(url=Secret(database.url)), threaded=False) as store,
    ):
        async with world.feed(store=store) as feed:
            await trio.sleep(100)
            [newest] = await feed.history("binance-spot:BTCUSDT:1m", limit=1, newest=True)
        old = [newest.open_time_ms - day * DAY_MS for day in range(1, 100)]
        rows = [newest.replace(open_time_ms=at, close_time_ms=at + 59_999) for at in old]
        await store.merge(rows, corrects=True)
        before = database.query("SELECT count(*) FROM pg_inherits WHERE inhparent = 'market_data.candle'::regclass")
        assert before == [(4,)]
        async with world.feed(evolve(world.settings, retention=kept), store=store) as feed:
            judge = world.judge(feed)
            await trio.sleep(400)
            assert feed.status().retention is not None
            [oldest] = await feed.history("binance-spot:BTCUSDT:1m", limit=1)
            assert oldest.open_time_ms >= newest.open_time_ms - DAY_MS
        await judge.verdict(store=False)
        after = database.query("SELECT count(*) FROM pg_inherits WHERE inhparent = 'market_data.candle'::regclass")
        assert after == [(1,)]


@pytest.mark.timeout(60)
async def test_two_feeds_in_real_time_fill_one_database(tmp_path: Path, database: Database) -> None:
    async with venue() as (sim, port):
        settings = Settings(
            venues={
                "binance-spot": VenueSettings(
                    symbols=("BTCUSDT", "ETHUSDT"),
                    timeframes=(SECOND,),
                    websocket_url=f"ws://127.0.0.1:{port}",
                    rest_url=f"http://127.0.0.1:{port}",
                )
            },
            store=StoreSettings(url=Secret(database.url), buffer=tmp_path / "one.sqlite"),
            repair=RepairSettings(history=20),
        )
        second = evolve(settings, store=evolve(settings.store, buffer=tmp_path / "two.sqlite"))
        async with open_feed(settings) as one, open_feed(second) as two, trio.open_nursery() as nursery:
            said: dict[Stream, list[Candle]] = {}

            async def listen(count: int) -> None:
                async for event in one.candles():
                    assert isinstance(event, Candle)
                    said.setdefault(event.stream, []).append(event)
                    if sum(map(len, said.values())) >= count:
                        return

            nursery.start_soon(listen, 48)
        for stream, candles in said.items():
            truth = sim.truth(stream.symbol, SECOND, candles[0].open_time_ms, candles[-1].open_time_ms + 1_000)
            assert [candle.values() for candle in candles] == [true.values() for true in truth]
        async with open_store(settings.store, read_only=True) as store:
            for stream, candles in said.items():
                stored = await store.candles(stream, candles[0].open_time_ms, candles[-1].open_time_ms)
                assert [candle.values() for candle in stored] == [candle.values() for candle in candles]
        assert two.messages > 0

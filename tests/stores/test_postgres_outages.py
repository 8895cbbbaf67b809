"""Outages of a real PostgreSQL: under a running feed, in the middle of a batch, and while a drain is under way."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from fake_database import drained, state
from postgres_server import PASSWORD, Database
from stored_candles import STREAM, candle, gap
from test_postgres_trouble import batch, stuck_backend
from test_sockets import SECOND, venue

from candleactors import open_feed
from candleactors.errors import ConfigError, StoreRefused, StoreUnavailable
from candleactors.feed import Feed
from candleactors.model import Candle, GapReason, Stream
from candleactors.settings import BackoffSettings, RepairSettings, Settings, StoreSettings, VenueSettings
from candleactors.stores import open_feed_store, open_store
from candleactors.stores.buffered import BufferedStore, Outage
from candleactors.stores.postgres import open_postgres
from candleactors.validators import Secret

pytest_plugins = ["postgres_fixtures"]

STREAMS = [Stream("binance-spot", symbol, SECOND) for symbol in ("BTCUSDT", "ETHUSDT")]


def settings_for(database: Database, folder: Path, **changes: Any) -> StoreSettings:
    return StoreSettings(**{"url": Secret(database.url), "buffer": folder / "buffer.sqlite", **changes})


@asynccontextmanager
async def buffering(
    database: Database, folder: Path, told: list[Outage] | None = None, **changes: Any
) -> AsyncIterator[BufferedStore]:
    on_outage = (lambda outage: None) if told is None else told.append
    async with open_feed_store(settings_for(database, folder, **changes), on_outage=on_outage) as store:
        assert isinstance(store, BufferedStore)
        yield store


async def stop(database: Database, how: str = "fast") -> None:
    await trio.to_thread.run_sync(database.server.stop, how)


async def start(database: Database) -> None:
    await trio.to_thread.run_sync(database.server.start)


@asynccontextmanager
async def without_server(database: Database, how: str = "fast") -> AsyncIterator[None]:
    """Have no server during the body."""
    await stop(database, how)
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await start(database)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that comes about within a minute."""
    for _ in range(3_000):
        if true():
            return
        await trio.sleep(0.02)
    raise AssertionError("it does not come about")


def feed_settings(database: Database, folder: Path, port: int, **store: Any) -> Settings:
    return Settings(
        venues={
            "binance-spot": VenueSettings(
                symbols=("BTCUSDT", "ETHUSDT"),
                timeframes=(SECOND,),
                websocket_url=f"ws://127.0.0.1:{port}",
                rest_url=f"http://127.0.0.1:{port}",
            )
        },
        store=settings_for(database, folder, **store),
        repair=RepairSettings(history=20),
        backoff=BackoffSettings(initial_s=0.05, max_s=0.2),
    )


async def listen(feed: Feed, said: dict[Stream, list[Candle]]) -> None:
    async for event in feed.candles():
        assert isinstance(event, Candle)
        said.setdefault(event.stream, []).append(event)


@pytest.mark.timeout(100)
@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_a_server_that_goes_under_a_running_feed(tmp_path: Path, database: Database, how: str) -> None:
    said: dict[Stream, list[Candle]] = {}
    async with venue() as (sim, port):
        async with open_feed(feed_settings(database, tmp_path, port)) as feed, trio.open_nursery() as nursery:
            nursery.start_soon(listen, feed, said)
            await until(lambda: sum(map(len, said.values())) >= 44)
            async with without_server(database, how):
                await until(lambda: feed.status().store.buffered >= 6)
                status = feed.status()
                assert not status.healthy
                assert status.store.error is not None
                assert "sEcr3t" not in repr(status)
                assert (status.store.pending, status.store.shed) == (0, 0) or status.store.pending < 10
                with pytest.raises(StoreUnavailable):
                    await feed.history(STREAMS[0])
                assert feed.measures().store.outages == 1
            await until(lambda: feed.status().store.error is None)
            told = {stream: list(candles) for stream, candles in said.items()}
            for stream in STREAMS:
                assert (await feed.history(stream))[: len(told[stream])] == told[stream]
            assert feed.measures().store.drained >= 6
            nursery.cancel_scope.cancel()
        async with open_store(StoreSettings(url=Secret(database.url)), read_only=True) as store:
            for stream in STREAMS:
                stored = await store.candles(stream)
                truth = sim.truth(stream.symbol, SECOND, stored[0].open_time_ms, stored[-1].open_time_ms + 1_000)
                assert [row.values() for row in stored] == [true.values() for true in truth]
                assert stored[: len(said[stream])] == said[stream]
                assert not await store.gaps(stream)


@pytest.mark.timeout(100)
async def test_a_feed_begins_and_ends_without_the_server_and_the_next_one_has_it_all(
    tmp_path: Path, database: Database
) -> None:
    said: dict[Stream, list[Candle]] = {}
    async with venue() as (sim, port):
        settings = feed_settings(database, tmp_path, port, start_wait_s=0.5)
        async with without_server(database):
            for _ in range(2):
                before = sum(map(len, said.values()))
                async with open_feed(settings) as feed, trio.open_nursery() as nursery:
                    nursery.start_soon(listen, feed, said)
                    await until(lambda before=before: sum(map(len, said.values())) >= before + 6)  # type: ignore[misc]
                    nursery.cancel_scope.cancel()
        async with open_feed(settings) as feed:
            await until(lambda: feed.status().store.error is None)
            for stream in STREAMS:
                await until(lambda stream=stream: feed.streams([stream])[0].last_closed_open_ms is not None)  # type: ignore[misc]
                stored = await feed.history(stream)
                truth = sim.truth(stream.symbol, SECOND, stored[0].open_time_ms, stored[-1].open_time_ms + 1_000)
                assert [row.values() for row in stored] == [true.values() for true in truth]
                assert stored[: len(said[stream])] == said[stream]


@pytest.mark.timeout(100)
async def test_a_feed_that_began_without_the_server_makes_the_tables_later(tmp_path: Path, database: Database) -> None:
    async with venue() as (_, port):
        settings = feed_settings(database, tmp_path, port, start_wait_s=0.2)
        async with AsyncExitStack() as outage:
            await outage.enter_async_context(without_server(database))
            async with open_feed(settings) as feed:
                await until(lambda: feed.status().store.buffered >= 44)
                await outage.aclose()
                await until(lambda: feed.status().store.error is None)
                for stream in STREAMS:
                    assert len(await feed.history(stream)) >= 22
                    assert not await feed.gaps(stream)


async def test_kill_9_of_the_backend_in_the_middle_of_a_drain(tmp_path: Path, database: Database) -> None:
    told: list[Outage] = []
    async with buffering(database, tmp_path, told, batch=120) as store:
        await store.write(batch(0), [gap(50, 400)])
        async with without_server(database, "immediate"):
            for number in range(1, 9):
                await store.write(batch(number), [])
            assert store.buffered == 8 * 50
        for how in ("kill", "immediate", "fast"):
            stranger = database.connect()
            stranger.execute("BEGIN; LOCK TABLE market_data.gap IN SHARE MODE")
            async with trio.open_nursery() as nursery:

                async def drain() -> None:
                    with pytest.raises(StoreUnavailable):
                        await store.drain(120)

                nursery.start_soon(drain)
                backend = await stuck_backend(database)
                if how == "kill":
                    os.kill(backend, signal.SIGKILL)
                else:
                    await stop(database, how)
            if how != "kill":
                await start(database)
            stranger.close()
            before = store.buffered
            while True:
                try:
                    assert await store.drain(120) == 100
                except StoreUnavailable:
                    continue
                break
            assert store.buffered == before - 100
        await drained(store)
        assert await store.candles(STREAM) == [row for number in range(9) for row in batch(number)]
        assert await store.gaps(STREAM) == []
        assert (await store.gap_summary(0)).repaired_candles == 351
    assert told[-1] == Outage(None, 0, 400)


async def test_a_stranger_with_a_lock_holds_up_nobody(tmp_path: Path, database: Database) -> None:
    async with buffering(database, tmp_path) as store:
        await store.write(batch(0), [gap(50, 99)])
        stranger = database.connect()
        stranger.execute("SET lock_timeout = 0; BEGIN; LOCK TABLE market_data.gap IN SHARE MODE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, batch(1), [])
            backend = await stuck_backend(database)
            with database.connect() as other:
                other.execute("SELECT pg_terminate_backend(%s)", [backend])
        assert store.buffered == 50
        await store.write(batch(2), [])
        stranger.close()
        await drained(store)
        assert await store.candles(STREAM) == [*batch(0), *batch(1), *batch(2)]


async def test_two_feeds_with_a_buffer_each_drain_into_one_database(tmp_path: Path, database: Database) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with buffering(database, tmp_path / "one") as one, buffering(database, tmp_path / "two") as two:
        await one.write(batch(0), [])
        async with without_server(database):
            for number in range(1, 4):
                await one.write(batch(number), [])
                await two.write([row.replace(revision=number % 2) for row in batch(number)], [])
            await two.write([], [gap(200, 220)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drained, one)
            nursery.start_soon(drained, two)
        stored = await one.candles(STREAM)
        assert [row.revision for row in stored] == [0] * 50 + [1] * 50 + [0] * 50 + [1] * 50
        assert await two.gaps(STREAM) == [gap(200, 220)]


async def test_the_hole_of_a_blind_start_is_told_by_the_database_itself(tmp_path: Path, database: Database) -> None:
    async with open_postgres(database.url) as store:
        await store.write([candle(0), candle(1)], [gap(2, 3, GapReason.VENUE)])
    async with without_server(database), buffering(database, tmp_path, start_wait_s=0) as blind:
        assert (await blind.standing(STREAM, 5)).last_ms is None
        await blind.write([candle(9), candle(10)], [])
    async with buffering(database, tmp_path) as seeing:
        stood = await seeing.standing(STREAM, 9)
        assert stood.candles == (candle(0), candle(1), candle(9), candle(10))
        await drained(seeing)
        assert await seeing.gaps(STREAM) == [gap(2, 3, GapReason.VENUE), gap(4, 8)]


async def test_who_is_refused_at_the_start_is_told_and_a_full_server_is_waited_for(
    tmp_path: Path, database: Database
) -> None:
    wrong = Secret(database.server.url(database.name, "wr0ng-Pa55"))
    with pytest.raises(StoreRefused, match="password authentication failed") as caught:
        async with buffering(database, tmp_path, url=wrong):
            pass
    assert "wr0ng" not in str(caught.value)
    nowhere = Secret(database.server.url("nowhere"))
    with pytest.raises(StoreRefused, match='"nowhere" does not exist'):
        async with buffering(database, tmp_path, url=nowhere):
            pass
    absent = Secret(f"postgresql://candle:{PASSWORD}@127.0.0.1:1/market")
    async with buffering(database, tmp_path, url=absent) as store:
        assert "Connection refused" in str(state(store)[0])
    async with open_postgres(database.url):
        pass
    database.query("UPDATE market_data.migration SET version = 99")
    with pytest.raises(ConfigError, match="newer"):
        async with buffering(database, tmp_path):
            pass


async def test_without_a_buffer_a_feed_needs_its_database(tmp_path: Path, database: Database) -> None:
    async with without_server(database):
        settings = settings_for(database, tmp_path, max_buffered=0)
        with pytest.raises(StoreUnavailable):
            async with open_feed_store(settings, on_outage=lambda outage: None):
                pass
    assert list(tmp_path.iterdir()) == []
    async with open_feed_store(settings, on_outage=lambda outage: None) as store:
        assert not isinstance(store, BufferedStore)


async def test_clocks_that_step(tmp_path: Path, database: Database) -> None:
    """Ours, by hours, before, in and after an outage; the server's is never asked."""
    told: list[Outage] = []
    hour_ms = 3_600_000
    now_ms = 1_700_000_000_000
    clock = [now_ms + step * hour_ms for step in (0, 5, -7, 20, -3, 11, 0, -30)]
    async with buffering(database, tmp_path, told) as store:
        await store.write([candle(0)], [gap(1, 16)])
        for number, at_ms in enumerate(clock):
            rows = [candle(2 * number + step, received_ms=at_ms) for step in (1, 2)]
            if number == 3:
                await stop(database)
            await store.write(rows, [], repaired_ms=at_ms)
            if number == 5:
                await start(database)
        await drained(store)
        assert [row.open_time_ms for row in await store.candles(STREAM)] == [
            candle(at).open_time_ms for at in range(17)
        ]
        assert await store.gaps(STREAM) == []
        assert (await store.gap_summary(min(clock))).repaired_candles == 16
        assert (await store.gap_summary(max(clock) + 1)).repaired_candles == 0

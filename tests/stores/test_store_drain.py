"""The store drain: when it looks, at what pace it writes, and what it leaves at a stop."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, field
from fake_database import BATCH, DOWN, Database, buffering, settings_for
from stored_candles import candle

from candleactors.actors.store_drain import MOST_S, StoreDrain
from candleactors.core.backoff import Backoff
from candleactors.model import Candle, Gap
from candleactors.settings import BackoffSettings
from candleactors.stores.buffered import BufferedStore


@define
class Context:
    id: str = "store-drain"
    incarnation: int = 1
    stopping: trio.Event = field(factory=trio.Event)

    def started(self) -> None:
        pass


@asynccontextmanager
async def draining(
    database: Database, folder: Path, left: list[int], **changes: Any
) -> AsyncIterator[tuple[BufferedStore, Context]]:
    context, drained = Context(), trio.Event()
    async with buffering(database, folder, **changes) as store, trio.open_nursery() as nursery:
        backoff = Backoff(BackoffSettings(initial_s=1, jitter=0), lambda: 0.0)
        drain = StoreDrain(store, settings_for(folder, **changes), backoff, on_drained=drained.set, on_left=left.append)
        nursery.start_soon(drain.run, context)
        yield store, context
        context.stopping.set()
        await trio.testing.wait_all_tasks_blocked()
        assert drained.is_set() == bool(database.written), "whoever is to look after a drain is told"


async def test_it_looks_ever_less_often_and_at_least_every_five_seconds(autojump_clock: object, tmp_path: Path) -> None:
    database, left = Database(), list[int]()
    async with draining(database, tmp_path, left) as (store, _):
        await trio.sleep(1_000)
        assert database.asked == 1  # at the opening
        database.error = DOWN
        await store.write([candle(0)], [])
        began_s = trio.current_time()
        looks = []
        while trio.current_time() < began_s + 60:
            before = database.asked
            await trio.sleep(0.5)
            looks += [trio.current_time() - began_s] * (database.asked - before)
        assert looks == [0.5, 1.5, 3.5, 7.5, *(12.5 + 5 * more for more in range(10))]
        database.error = None
        await trio.sleep(MOST_S)
        assert database.written == [candle(0)]
        assert store.error is None
        # The next outage begins anew.
        database.error = DOWN
        await store.write([candle(1)], [])
        database.error = None
        await trio.sleep(1.5)
        assert database.written == [candle(0), candle(1)]


async def test_it_drains_at_the_pace_of_the_settings(autojump_clock: object, tmp_path: Path) -> None:
    database, left = Database(), list[int]()
    rows: list[Candle | Gap] = [candle(at) for at in range(20)]
    database.error = DOWN
    async with draining(database, tmp_path, left, max_rows_per_s=2) as (store, _):
        for at in range(20):
            await store.write([candle(at)], [])
        database.error = None
        counts = []
        while store.error is not None:
            await trio.sleep(1)
            counts.append(len(database.written))
        assert database.written == rows
        assert all(after - before <= 2 for before, after in itertools.pairwise(counts))
        assert 10 <= len(counts) <= 12


async def test_at_a_stop_it_drains_what_the_database_takes(autojump_clock: object, tmp_path: Path) -> None:
    database, left = Database(), list[int]()
    rows: list[Candle | Gap] = [candle(at) for at in range(5 * BATCH)]
    database.error = DOWN
    async with draining(database, tmp_path, left, max_rows_per_s=1) as (store, context):
        for row in rows:
            assert isinstance(row, Candle)
            await store.write([row], [])
        database.error = None
        await trio.sleep(1.5)
        assert store.reachable
        assert 0 < len(database.written) < 5
        context.stopping.set()
        await trio.testing.wait_all_tasks_blocked()
        assert database.written == rows
    assert left == []


async def test_at_a_stop_without_the_database_it_says_what_is_left(autojump_clock: object, tmp_path: Path) -> None:
    database, left = Database(), list[int]()
    database.error = DOWN
    async with draining(database, tmp_path, left) as (store, context):
        await store.write([candle(0), candle(1)], [])
        await trio.sleep(100)
        asked = database.asked
        context.stopping.set()
        await trio.testing.wait_all_tasks_blocked()
        assert database.asked == asked
    assert left == [2]

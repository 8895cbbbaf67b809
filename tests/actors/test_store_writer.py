"""The store writer: batches, trouble, what it keeps and what it gives up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from candleactors.actors.child import ChildContext
from candleactors.actors.store_writer import StoreTrouble, StoreWriter
from candleactors.core.backoff import Backoff
from candleactors.errors import StoreUnavailable
from candleactors.model import Candle, Event, Gap, GapReason, Revision, Source, Stream, Timeframe
from candleactors.settings import BackoffSettings, StoreSettings
from candleactors.stores.sqlite import SqliteStore, open_sqlite

STREAM = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))
NOW_MS = 1_700_000_000_000


def candle(n: int, *, price: int = 1, revision: int = 0) -> Candle:
    value = Decimal(price)
    return Candle(
        venue=STREAM.venue, symbol=STREAM.symbol, timeframe=STREAM.timeframe, open_time_ms=n * 60_000,
        close_time_ms=n * 60_000 + 59_999, open=value, high=value, low=value, close=value, volume=value,
        quote_volume=None, trades=1, taker_buy_volume=None, taker_buy_quote_volume=None, closed=True, complete=True,
        source=Source.WS, revision=revision, received_ms=0,
    )  # fmt: skip


class Context:
    """A child's context without a supervisor."""

    id = "store-writer"
    incarnation = 1

    def __init__(self) -> None:
        self.stopping = trio.Event()

    def started(self) -> None:
        pass


class FlakyStore(SqliteStore):
    """Takes nothing while `broken`."""

    broken = False
    writes = 0
    most_writes = 1_000
    """The process dies before the next one."""

    async def write(self, candles: Sequence[Candle], gaps: Sequence[Gap], *, repaired_ms: int | None = None) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken or self.writes == self.most_writes:
            raise StoreUnavailable("disk full")
        self.writes += 1
        await super().write(candles, gaps, repaired_ms=repaired_ms)


@asynccontextmanager
async def writing(
    path: Path, troubles: list[StoreTrouble], **settings: float
) -> AsyncIterator[tuple[StoreWriter, FlakyStore, ChildContext]]:
    store = FlakyStore(path, threaded=False, read_only=False, busy_timeout_s=0.0)
    chosen = StoreSettings(path=path, **settings)  # type: ignore[arg-type]  # any of its numbers
    backoff = Backoff(BackoffSettings(jitter=0.0), lambda: 0.0)
    writer = StoreWriter(store, chosen, backoff, troubles.append, lambda: NOW_MS)
    context = Context()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, context)
        yield writer, store, context
        context.stopping.set()
    await store.aclose()


def events(*items: Event) -> list[tuple[Stream, Event]]:
    return [(STREAM, item) for item in items]


def live(scenario: Callable[[], object]) -> None:
    trio.run(scenario, clock=MockClock(autojump_threshold=0))  # type: ignore[arg-type]  # an async function


async def stored(path: Path) -> tuple[list[Candle], list[Gap]]:
    async with open_sqlite(path, threaded=False) as store:
        return await store.candles(STREAM), await store.gaps(STREAM)


def test_rows_are_written_in_batches_and_the_last_word_counts(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c.sqlite"
        async with writing(path, [], flush_interval_s=0.25) as (writer, store, _):
            await writer.mailbox.put(events(candle(1), candle(2)))
            await writer.mailbox.put(events(Revision(candle(1, price=5, revision=1))))
            await trio.sleep(1)
            assert store.writes == 1
            assert (writer.written, writer.pending) == (2, 0)
        assert await stored(path) == ([candle(1, price=5, revision=1), candle(2)], [])

    live(scenario)


@pytest.mark.parametrize("writes", range(4))
def test_whatever_was_written_last_the_store_has_no_hole(tmp_path: Path, writes: int) -> None:
    """A gap is not stored before the candles in front of it."""
    rows = (candle(1), candle(2), candle(3), Gap(STREAM, 240_000, 300_000, GapReason.VENUE), candle(6))

    async def scenario() -> None:
        path = tmp_path / "c.sqlite"
        async with writing(path, [], batch=2) as (writer, store, _):
            store.most_writes = writes
            await writer.mailbox.put(events(*rows))
            await trio.sleep(1)
        candles, gaps = await stored(path)
        assert [*candles, *gaps] == sorted(rows[: 2 * writes], key=lambda row: isinstance(row, Gap))

    live(scenario)


def test_a_flush_returns_once_everything_before_it_is_written(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c.sqlite"
        async with writing(path, [], flush_interval_s=3600) as (writer, store, _):
            await writer.mailbox.put(events(candle(1)))
            await writer.flush()
            assert await store.candles(STREAM) == [candle(1)]

    live(scenario)


def test_what_is_left_is_written_at_the_stop(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c.sqlite"
        async with writing(path, [], flush_interval_s=3600) as (writer, _, context):
            await writer.mailbox.put(events(candle(1)))
            context.stopping.set()
        assert await stored(path) == ([candle(1)], [])

    live(scenario)


def test_rows_wait_while_the_store_takes_none_and_are_written_after(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c.sqlite"
        troubles: list[StoreTrouble] = []
        async with writing(path, troubles) as (writer, store, _):
            store.broken = True
            for n in range(10):
                await writer.mailbox.put(events(candle(n)))
                await trio.sleep(10)
            assert writer.pending == 10
            assert troubles[-1].error == writer.trouble == "disk full"
            assert writer.failed == len(troubles) > 1
            assert writer.write_s.count == 0
            with pytest.raises(StoreUnavailable, match="disk full"):
                await writer.flush()
            store.broken = False
            await trio.sleep(120)
            assert writer.pending == 0
            assert troubles[-1] == StoreTrouble(error=None, pending=0, shed=0)
            assert writer.write_s.count == store.writes == 1
            trouble: object = writer.trouble
            assert trouble is None
        assert await stored(path) == ([candle(n) for n in range(10)], [])

    live(scenario)


def test_what_is_shed_is_written_down_as_a_gap(tmp_path: Path) -> None:
    """Otherwise a restart would go on after the hole and nobody would ever know."""

    async def scenario() -> None:
        path = tmp_path / "c.sqlite"
        async with writing(path, [], max_pending=4) as (writer, store, _):
            await writer.mailbox.put(events(candle(0)))
            await writer.flush()
            store.broken = True
            for n in range(1, 10):
                await writer.mailbox.put(events(candle(n)))
                await trio.sleep(1)
            assert (writer.shed, writer.pending) == (5, 4)
            store.broken = False
            await trio.sleep(120)
        candles, gaps = await stored(path)
        assert candles == [candle(n) for n in (0, 6, 7, 8, 9)]
        assert gaps == [Gap(STREAM, 60_000, 5 * 60_000, GapReason.UNREPAIRED)]

    live(scenario)


def test_a_restarted_writer_goes_on_with_what_it_had(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c.sqlite"
        async with writing(path, [], flush_interval_s=3600) as (writer, store, first):
            store.broken = True
            await writer.mailbox.put(events(candle(1)))
            first.stopping.set()
            await trio.sleep(1)
            assert writer.pending == 1
            store.broken = False
            second = Context()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.run, second)
                await writer.flush()
                second.stopping.set()
        assert await stored(path) == ([candle(1)], [])

    live(scenario)


def test_a_repair_is_noted_by_our_clock(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with writing(tmp_path / "c.sqlite", []) as (writer, store, _):
            await writer.mailbox.put(events(Gap(STREAM, 60_000, 120_000, GapReason.UNREPAIRED)))
            await writer.flush()
            await writer.mailbox.put(events(Revision(candle(1, revision=1))))
            await writer.flush()
            assert (await store.gap_summary(NOW_MS)).repaired_candles == 1
            assert (await store.gap_summary(NOW_MS + 1)).repaired_candles == 0
            assert await store.gaps(STREAM) == [Gap(STREAM, 120_000, 120_000, GapReason.UNREPAIRED)]

    live(scenario)


def test_no_more_rows_a_second_than_allowed_and_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c.sqlite"
        async with writing(path, [], max_rows_per_s=2, flush_interval_s=0) as (writer, store, _):
            await writer.mailbox.put(events(*(candle(n) for n in range(7))))
            counts = []
            await trio.sleep(0.1)
            for _ in range(5):
                await trio.sleep(0.5)
                counts.append(len(await store.candles(STREAM)))
                # Whoever delivers is not kept waiting.
                await writer.mailbox.put(events(candle(len(counts) + 10)))
            assert counts == [2, 4, 4, 6, 6]
            await trio.sleep(10)
            assert await store.candles(STREAM) == [candle(n) for n in (*range(7), *range(11, 16))]

    live(scenario)


def test_a_flush_waits_for_its_own_rows_and_not_for_later_ones(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c.sqlite"
        async with writing(path, [], max_rows_per_s=2, flush_interval_s=0) as (writer, store, _):
            await writer.mailbox.put(events(*(candle(n) for n in range(4))))
            async with trio.open_nursery() as nursery:

                async def more() -> None:
                    for n in range(4, 40):
                        await writer.mailbox.put(events(candle(n), Revision(candle(n - 4, price=2, revision=1))))
                        await trio.sleep(0.1)

                nursery.start_soon(more)
                await trio.sleep(0.05)
                await writer.flush()
                assert trio.current_time() - began_s < 3
                assert len(await store.candles(STREAM)) >= 4
                assert writer.pending > 0
                nursery.cancel_scope.cancel()

    began_s = 0.0

    async def timed() -> None:
        nonlocal began_s
        began_s = trio.current_time()
        await scenario()

    live(timed)


def test_what_comes_too_fast_for_the_pace_is_given_up_and_written_down(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c.sqlite"
        troubles: list[StoreTrouble] = []
        async with writing(path, troubles, max_rows_per_s=1, max_pending=4, flush_interval_s=0) as (
            writer,
            _,
            _context,
        ):
            await writer.mailbox.put(events(*(candle(n) for n in range(1, 11))))
            await trio.sleep(0.1)
            assert writer.shed == 6
            assert troubles == [StoreTrouble("more rows come than store.max_rows_per_s lets through", 4, 6)]
            await trio.sleep(60)
        candles, gaps = await stored(path)
        assert candles == [candle(n) for n in range(7, 11)]
        assert gaps == [Gap(STREAM, 60_000, 6 * 60_000, GapReason.UNREPAIRED)]

    live(scenario)


def test_a_stop_does_not_wait_for_the_pace(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "c.sqlite"
        async with writing(path, [], max_rows_per_s=1) as (writer, _, context):
            await writer.mailbox.put(events(*(candle(n) for n in range(50))))
            await trio.sleep(2)
            began_s = trio.current_time()
            context.stopping.set()
        assert trio.current_time() == began_s
        assert await stored(path) == ([candle(n) for n in range(50)], [])

    live(scenario)

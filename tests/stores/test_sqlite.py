"""The SQLite store: precedence, queries, gaps, threads, several processes."""

from __future__ import annotations

import sqlite3
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from candleactors.errors import ConfigError, LocalProtocolError, StoreUnavailable
from candleactors.model import DAY_MS, MINUTE_MS, Candle, Gap, GapReason, GapSummary, Source, Stream, Timeframe
from candleactors.stores.base import REPAIRS_KEPT_MS
from candleactors.stores.sqlite import open_sqlite

STREAM = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))
OTHER = Stream("binance-spot", "ETHUSDT", Timeframe("1m"))
START_MS = 1_700_000_040_000
FAR_MS = 2**53


def candle(index: int, stream: Stream = STREAM, **changes: Any) -> Candle:
    open_ms = START_MS + index * MINUTE_MS
    made = Candle(
        stream.venue,
        stream.symbol,
        stream.timeframe,
        open_ms,
        stream.timeframe.close_ms(open_ms),
        Decimal("0.0010"),
        Decimal("0.0020"),
        Decimal("0.00090000"),
        Decimal("0.0011"),
        Decimal("12.50"),
        Decimal("0.00000000"),
        7,
        None,
        None,
        closed=True,
        complete=True,
        source=Source.WS,
        revision=0,
        received_ms=open_ms + MINUTE_MS,
    )
    return made.replace(**changes)


def gap(first: int, last: int, reason: GapReason = GapReason.UNREPAIRED, stream: Stream = STREAM) -> Gap:
    return Gap(stream, START_MS + first * MINUTE_MS, START_MS + last * MINUTE_MS, reason)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "candles.sqlite"


@pytest.mark.parametrize("threaded", [True, False])
async def test_candles_come_back_digit_for_digit(path: Path, threaded: bool) -> None:
    written = candle(0, trades=None, taker_buy_volume=Decimal("1E+3"), source=Source.DERIVED, revision=3)
    async with open_sqlite(path, threaded=threaded) as store:
        await store.write([written], [])
        [read] = await store.candles(STREAM)
    assert read == written
    assert [str(v) for v in (read.open, read.low, read.volume)] == ["0.0010", "0.00090000", "12.50"]
    assert read.quote_volume is not None
    assert read.quote_volume.as_tuple() == Decimal("0.00000000").as_tuple()
    assert read.taker_buy_volume == 1000
    assert sqlite3.connect(path).execute("SELECT quote_volume FROM candles").fetchone() == ("0.00000000",)


writes = st.lists(
    st.lists(
        st.builds(
            lambda index, stream, **changes: candle(index, stream, **changes),
            st.integers(0, 3),
            st.sampled_from([STREAM, OTHER]),
            closed=st.booleans(),
            complete=st.booleans(),
            revision=st.integers(0, 2),
            volume=st.integers(0, 99).map(Decimal),
        ),
        max_size=5,
    ),
    max_size=6,
)


@given(writes)
@settings(deadline=None, max_examples=100)
def test_precedence_agrees_with_a_dict(batches: list[list[Candle]]) -> None:
    model: dict[tuple[Stream, int], Candle] = {}

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with open_sqlite(Path(folder, "candles.sqlite"), threaded=False) as store:
                for batch in batches:
                    await store.write(batch, [])
                    for new in batch:
                        old = model.get((new.stream, new.open_time_ms))
                        if old is None or wins(new, old):
                            model[new.stream, new.open_time_ms] = new
                latest = await store.tails({STREAM: FAR_MS, OTHER: FAR_MS})
                for stream in (STREAM, OTHER):
                    rows = [model[key] for key in sorted(model, key=lambda key: key[1]) if key[0] == stream]
                    assert await store.candles(stream) == rows
                    closed = [row for row in rows if row.closed]
                    assert latest.get(stream, []) == closed[-1:]
                    assert (await store.tails({stream: START_MS + MINUTE_MS})).get(stream, []) == (
                        [row for row in closed if row.open_time_ms > START_MS] or closed[-1:]
                    )

    trio.run(run)


def wins(new: Candle, old: Candle) -> bool:
    if new.closed != old.closed:
        return new.closed
    if new.revision != old.revision:
        return new.revision > old.revision
    return new.complete or not old.complete


async def test_ranges_limits_and_newest(path: Path) -> None:
    rows = [candle(i) for i in range(10)]
    async with open_sqlite(path) as store:
        await store.write([*rows, candle(3, OTHER)], [])
        t = [row.open_time_ms for row in rows]
        assert await store.candles(STREAM) == rows
        assert await store.candles(STREAM, t[2], t[4]) == rows[2:5]
        assert await store.candles(STREAM, t[2] + 1, t[4] - 1) == rows[3:4]
        assert await store.candles(STREAM, limit=3) == rows[:3]
        assert await store.candles(STREAM, limit=3, newest=True) == rows[-3:]
        assert await store.candles(STREAM, end_ms=t[5], limit=2, newest=True) == rows[4:6]
        assert await store.candles(STREAM, -(10**30), 10**30, 10**30) == rows
        assert await store.candles(STREAM, limit=0) == []
        assert await store.candles(STREAM, t[5], t[4]) == []
        assert await store.candles(evolve(STREAM, timeframe=Timeframe("1M"))) == []
        with pytest.raises(ValueError, match="limit"):
            await store.candles(STREAM, limit=-1)
        assert await store.streams() == [STREAM, OTHER]


async def test_tails_ignore_open_candles_and_unknown_streams(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write([candle(0), candle(1), candle(2, closed=False), candle(0, OTHER, closed=False)], [])
        assert await store.tails(dict.fromkeys([STREAM, OTHER, evolve(STREAM, symbol="NONE")], FAR_MS)) == {
            STREAM: [candle(1)]
        }
        assert await store.tails({}) == {}


async def test_gaps_are_split_by_candles_and_only_by_closed_ones(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write([candle(0)], [gap(1, 9), gap(2, 3, stream=OTHER)])
        await store.write([candle(4), candle(6, closed=False)], [])
        assert await store.gaps(STREAM) == [gap(1, 3), gap(5, 9)]
        await store.write([candle(6), candle(5), candle(1), candle(9)], [])
        assert await store.gaps(STREAM) == [gap(2, 3), gap(7, 8)]
        assert await store.gaps(OTHER) == [gap(2, 3, stream=OTHER)]
        await store.write([candle(i) for i in (2, 3, 7, 8)], [])
        assert await store.gaps(STREAM) == []


async def test_a_gap_never_covers_a_closed_candle(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write([candle(2), candle(4, closed=False)], [])
        await store.write([candle(6)], [gap(0, 7), gap(5, 7, GapReason.VENUE)])
        expected = [gap(0, 1), gap(3, 4), gap(5, 5, GapReason.VENUE), gap(7, 7, GapReason.VENUE)]
        assert await store.gaps(STREAM) == expected


async def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write([candle(0)], [gap(1, 2)])
    assert sorted(p.name for p in path.parent.iterdir()) == ["candles.sqlite", "candles.sqlite.lock"]
    async with open_sqlite(path) as store:
        assert await store.candles(STREAM) == [candle(0)]
        assert await store.gaps(STREAM) == [gap(1, 2)]


async def test_a_second_writer_is_refused_and_readers_are_not(path: Path) -> None:
    async with open_sqlite(path) as store:
        with pytest.raises(StoreUnavailable, match="another candleactors is writing"):
            async with open_sqlite(path):
                pass
        async with open_sqlite(path, read_only=True) as reader:
            await store.write([candle(0)], [])
            assert await reader.candles(STREAM) == [candle(0)]
            with pytest.raises(LocalProtocolError, match="reading only"):
                await reader.write([candle(1)], [])
    async with open_sqlite(path) as store:
        assert await store.tails({STREAM: FAR_MS}) == {STREAM: [candle(0)]}


async def test_reading_needs_a_store(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        async with open_sqlite(path, read_only=True):
            pass
    assert list(path.parent.iterdir()) == []
    sqlite3.connect(path).close()
    path.touch()
    with pytest.raises(ConfigError, match="empty database"):
        async with open_sqlite(path, read_only=True):
            pass


async def test_the_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="No such file or directory"):
        async with open_sqlite(tmp_path / "nowhere" / "candles.sqlite"):
            pass


async def test_a_newer_schema_and_strange_databases_are_refused(path: Path) -> None:
    async with open_sqlite(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match=r"newer candleactors \(schema 99"):
        async with open_sqlite(path):
            pass
    strange = path.with_name("strange.sqlite")
    with sqlite3.connect(strange) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    for read_only in (True, False):
        with pytest.raises(ConfigError, match="another program"):
            async with open_sqlite(strange, read_only=read_only):
                pass


async def test_a_store_of_version_1_is_brought_up_to_date(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write([candle(0)], [gap(1, 2)])
    with sqlite3.connect(path) as connection:
        connection.execute("DROP VIEW candles")
        connection.execute("ALTER TABLE candle DROP COLUMN missing")
        connection.execute("CREATE VIEW candles AS SELECT open_time_ms FROM candle")
        connection.execute("DROP TABLE repair")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(ConfigError, match="older candleactors"):
        async with open_sqlite(path, read_only=True):
            pass
    for _ in range(2):
        async with open_sqlite(path) as store:
            await store.write([candle(3, missing=4, complete=False)], [])
            assert [row.missing for row in await store.candles(STREAM)] == [0, 4]
            assert await store.gaps(STREAM) == [gap(1, 2)]
            assert (await store.gap_summary(0)).gaps == 1
    assert sqlite3.connect(path).execute("SELECT missing FROM candles").fetchall() == [(0,), (4,)]


async def test_a_store_of_version_2_is_brought_up_to_date(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write([candle(0)], [gap(1, 2)])
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE repair")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(ConfigError, match="older candleactors"):
        async with open_sqlite(path, read_only=True):
            pass
    async with open_sqlite(path) as store:
        assert await store.gaps(STREAM) == [gap(1, 2)]
        await store.write([candle(1)], [], repaired_ms=5)
    async with open_sqlite(path, read_only=True) as store:
        assert await store.gap_summary(5) == GapSummary(
            1, 1, {GapReason.VENUE: 0, GapReason.UNREPAIRED: 1}, gap(2, 2), repaired_candles=1, repaired_streams=1
        )


async def test_what_fills_a_gap_is_remembered_with_its_time(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write([candle(0)], [gap(1, 9), gap(11, 11, GapReason.VENUE), gap(2, 3, stream=OTHER)])
        empty = await store.gap_summary(0)
        assert (empty.gaps, empty.candles, empty.repaired_candles, empty.repaired_streams) == (3, 12, 0, 0)
        assert empty.by_reason == {GapReason.VENUE: 1, GapReason.UNREPAIRED: 2}
        assert empty.oldest == gap(1, 9)
        await store.write([candle(1), candle(2), candle(3, closed=False), candle(11)], [], repaired_ms=1_000)
        await store.write([candle(2, revision=1), candle(20)], [], repaired_ms=1_500)
        await store.write([candle(5), candle(2, OTHER)], [gap(30, 31)], repaired_ms=2_000)
        counts = {}
        for since_ms in (0, 1_000, 1_001, 2_000, 2_001):
            found = await store.gap_summary(since_ms)
            counts[since_ms] = (found.repaired_candles, found.repaired_streams)
            assert (found.gaps, found.candles, found.oldest) == (4, 9, gap(3, 4))
        assert counts == {0: (5, 2), 1_000: (5, 2), 1_001: (2, 2), 2_000: (2, 2), 2_001: (0, 0)}
    rows = sqlite3.connect(path).execute("SELECT first_open_ms, last_open_ms, reason FROM repair ORDER BY id")
    first = [
        (each.first_open_ms, each.last_open_ms, each.reason.value) for each in (gap(1, 2), gap(11, 11, GapReason.VENUE))
    ]
    assert rows.fetchall()[:2] == first


async def test_a_merge_repairs_too(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write([candle(0)], [gap(1, 2)])
        await store.merge([candle(0), candle(1)], corrects=True, repaired_ms=7)
        await store.merge([candle(2, received_ms=8)], corrects=True)
        assert [(await store.gap_summary(since_ms)).repaired_candles for since_ms in (7, 8, 9)] == [2, 1, 0]


async def test_repairs_are_forgotten_in_the_end(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write([candle(0)], [gap(1, 9)])
        for number in range(1, 6):
            await store.write([candle(number)], [], repaired_ms=number * DAY_MS)
        await store.write([candle(6)], [], repaired_ms=2 * DAY_MS + REPAIRS_KEPT_MS)
        assert (await store.gap_summary(0)).repaired_candles == 5


async def test_a_summary_is_of_one_moment(path: Path) -> None:
    """Every gap is of one candle, and filled: what is open and what is repaired always come to the same sum."""
    async with open_sqlite(path) as store, trio.open_nursery() as nursery:
        await store.write([], [gap(2 * each, 2 * each) for each in range(50)])

        async def repair() -> None:
            for each in range(50):
                await store.write([candle(2 * each)], [], repaired_ms=each)
            nursery.cancel_scope.cancel()

        nursery.start_soon(repair)
        while True:
            found = await store.gap_summary(0)
            assert found.candles + found.repaired_candles == 50


async def test_closing_is_idempotent_and_final(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.aclose()
        await store.aclose()
        with pytest.raises(LocalProtocolError, match="closed"):
            await store.write([candle(0)], [])


@pytest.mark.parametrize("threaded", [True, False])
async def test_cancelled_writes_are_whole_or_absent(path: Path, threaded: bool) -> None:
    async with open_sqlite(path, threaded=threaded) as store:
        for round_ in range(10):
            batch = [candle(round_ * 100 + i) for i in range(100)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.write, batch, [])
                for _ in range(round_ % 4):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            stored = await store.candles(STREAM, batch[0].open_time_ms, batch[-1].open_time_ms)
            assert stored in ([], batch)
            await store.write(batch, [])
        assert len(await store.candles(STREAM)) == 1000


async def test_every_call_is_a_checkpoint(path: Path) -> None:
    async with open_sqlite(path, threaded=False) as store:
        with trio.testing.assert_checkpoints():
            await store.write([], [])
        with trio.testing.assert_checkpoints():
            await store.tails({})
        with trio.testing.assert_checkpoints():
            await store.candles(STREAM)
        with trio.testing.assert_checkpoints():
            await store.gaps(STREAM)


async def test_readers_and_the_writer_do_not_wait_for_each_other(path: Path) -> None:
    async with open_sqlite(path) as store:

        async def read() -> None:
            seen = 0
            while seen < 50:
                rows = await store.candles(STREAM)
                # Batches of ten: a reader never sees a part of one.
                assert len(rows) % 10 == 0
                assert len(rows) >= seen * 10
                seen = len(rows) // 10

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(read)
            for batch in range(50):
                await store.write([candle(batch * 10 + i) for i in range(10)], [])

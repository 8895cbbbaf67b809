"""The buffered store: outages of the database, its file, its bounds; and all of it against a model."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
from fake_database import BATCH, DOWN, Database, buffering, drained, settings_for, state
from hypothesis import given, settings
from hypothesis import strategies as st
from store_conformance import Opened, StoreConformance, draws, gap_draws
from store_model import StoreModel
from stored_candles import OTHER, STREAM, at_ms, candle, gap

from candleactors.errors import ConfigError, LocalProtocolError, StoreRefused, StoreUnavailable
from candleactors.model import Gap, GapReason, Stream
from candleactors.stores.base import Standing
from candleactors.stores.buffered import BufferedStore, Outage, open_buffered
from candleactors.stores.sqlite import SqliteStore, open_sqlite
from candleactors.validators import Secret


class TestBufferedConformance(StoreConformance[Path]):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path / "candles.sqlite"

    def open(self, place: Path, *, threaded: bool = True, read_only: bool = False, guest: bool = False) -> Opened:
        if read_only or guest:
            return open_sqlite(place, threaded=threaded, read_only=read_only, guest=guest, busy_timeout_s=30)
        remote = SqliteStore(place, threaded=threaded, read_only=False, busy_timeout_s=30)
        return open_buffered(remote, settings_for(place.parent), threaded=threaded)

    def clear(self, place: Path) -> None:
        for file in place.parent.glob(f"{place.name}*"):
            file.unlink()

    def impatient(self, place: Path) -> Opened:
        remote = SqliteStore(place, threaded=True, read_only=False, busy_timeout_s=0)
        return open_buffered(remote, settings_for(place.parent))

    def seize(self, place: Path) -> Callable[[], None]:
        other = sqlite3.connect(place, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        return other.close

    def texts(self, place: Path) -> list[str | None]:
        other = sqlite3.connect(place)
        rows = other.execute("SELECT quote_volume FROM candles ORDER BY open_time_ms").fetchall()
        other.close()
        return [quote_volume for (quote_volume,) in rows]

    async def test_a_lock_held_by_a_stranger_passes(self, place: Path) -> None:
        """Writing goes on meanwhile; nobody is given a part of what was written."""
        async with self.impatient(place) as store:
            assert isinstance(store, BufferedStore)
            await store.write([candle(0)], [gap(1, 5)])
            let_go = self.seize(place)
            try:
                await store.write([candle(1), candle(9)], [gap(3, 3, GapReason.VENUE)])
                with pytest.raises(StoreUnavailable, match="lock"):
                    await store.drain(BATCH)
                with pytest.raises(StoreUnavailable, match=r"lock .* 3 rows wait on disk"):
                    await store.candles(STREAM)
            finally:
                let_go()
            await drained(store)
            assert await store.candles(STREAM) == [candle(0), candle(1), candle(9)]
            assert await store.gaps(STREAM) == [gap(2, 2), gap(3, 3, GapReason.VENUE), gap(4, 5)]


async def test_what_comes_in_an_outage_goes_on_in_order(autojump_clock: object, tmp_path: Path) -> None:
    database, told = Database(), list[Outage]()
    async with buffering(database, tmp_path, told) as store:
        await store.write([candle(0)], [])
        assert state(store) == (None, None, 0)
        database.error = DOWN
        await store.write([candle(1), candle(2)], [])
        await trio.sleep(7)
        for at in range(3, 12):
            await store.write([candle(at)], [])
        assert state(store) == (str(DOWN), 7, 11)
        assert store.outages == 1
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="the connection broke"):
                await store.drain(BATCH)
        database.error = None
        assert await store.drain(BATCH) == 6
        # Nothing overtakes what waits.
        await store.write([candle(12), candle(13)], [])
        assert store.error == "7 rows on disk are yet to be written to the database"
        await drained(store)
        await store.write([candle(14)], [])
        assert state(store) == (None, None, 0)
        assert store.drained == 13
        assert await store.candles(STREAM) == database.written == [candle(at) for at in range(15)]
    assert told[0] == Outage(str(DOWN), 0, 0)
    assert told[1] == Outage(str(DOWN), 11, 0)
    assert told[-2:] == [Outage(None, 11, 0), Outage(None, 0, 13)]


async def test_while_it_is_known_to_be_away_nobody_else_asks(tmp_path: Path) -> None:
    database = Database()
    async with buffering(database, tmp_path, start_wait_s=0) as store:
        database.error = DOWN
        await store.write([candle(0)], [])
        asked = database.asked
        await store.write([candle(1)], [])
        await store.standing(STREAM, 5)
        for read in (store.candles(STREAM), store.gaps(STREAM), store.tails({STREAM: 0}), store.gap_summary(0)):
            with pytest.raises(StoreUnavailable, match="the connection broke; 2 rows wait on disk"):
                await read
        assert database.asked == asked


async def test_readers_wait_for_what_is_on_disk_but_not_for_ever(autojump_clock: object, tmp_path: Path) -> None:
    database = Database()
    async with buffering(database, tmp_path) as store, trio.open_nursery() as nursery:
        database.error = DOWN
        for at in range(9):
            await store.write([candle(at)], [])
        database.error = None
        await store.drain(BATCH)
        with pytest.raises(StoreUnavailable, match="3 rows on disk are yet to be written to the database"):
            await store.candles(STREAM)

        async def drain_later() -> None:
            await trio.sleep(3)
            await drained(store)

        nursery.start_soon(drain_later)
        assert await store.candles(STREAM) == [candle(at) for at in range(9)]


async def test_a_write_that_failed_after_the_commit_is_written_again(tmp_path: Path) -> None:
    database = Database()
    async with buffering(database, tmp_path) as store:
        await store.write([candle(0)], [gap(1, 3)])
        database.error, database.commits_first = DOWN, True
        await store.write([candle(2, volume=Decimal(3))], [])
        await store.write([candle(2, volume=Decimal(4), revision=1)], [gap(4, 6)])
        with pytest.raises(StoreUnavailable):
            await store.drain(BATCH)
        database.error = None
        await drained(store)
        assert await store.candles(STREAM) == [candle(0), candle(2, volume=Decimal(4), revision=1)]
        assert await store.gaps(STREAM) == [gap(1, 1), gap(3, 6)]


async def test_the_next_process_begins_with_what_is_on_disk(autojump_clock: object, tmp_path: Path) -> None:
    database, told = Database(), list[Outage]()
    database.error = DOWN
    async with buffering(database, tmp_path) as store:
        await store.write([candle(0)], [])
    async with buffering(database, tmp_path, told) as store:
        assert told == [Outage(None, 1, 0), Outage(str(DOWN), 1, 0)]
        await store.write([candle(1)], [])
        assert not store.reachable
    database.error = None
    async with buffering(database, tmp_path, told) as store:
        # The database is there, but what waits comes first.
        await store.write([candle(2)], [])
        await drained(store)
    assert told[-1] == Outage(None, 0, 3)
    assert database.written == [candle(0), candle(1), candle(2)]
    async with buffering(database, tmp_path, told) as store:
        assert store.outage_s() is None
    assert told[-1] == Outage(None, 0, 3)


async def test_no_more_rows_than_allowed_wait(tmp_path: Path) -> None:
    database = Database()
    async with buffering(database, tmp_path, max_buffered=3) as store:
        database.error = DOWN
        await store.write([candle(0), candle(1)], [])
        with pytest.raises(StoreUnavailable, match=r"buffer\.sqlite: no room for more than 3 rows; .*connection broke"):
            await store.write([candle(2), candle(3)], [])
        await store.write([candle(2)], [])
        with pytest.raises(StoreUnavailable, match="no room"):
            await store.write([], [gap(3, 3)])
        database.error = None
        await drained(store)
        assert database.written == [candle(0), candle(1), candle(2)]


async def test_an_end_of_the_outage_without_rows_is_noticed(tmp_path: Path) -> None:
    database, told = Database(), list[Outage]()
    database.error = DOWN
    async with buffering(database, tmp_path, told) as store:
        with pytest.raises(StoreUnavailable):
            await store.drain(BATCH)
        assert state(store)[0] == str(DOWN)
        database.error = None
        await drained(store)
        assert state(store)[0] is None
        assert told == [Outage(str(DOWN), 0, 0), Outage(str(DOWN), 0, 0), Outage(None, 0, 0)]


async def test_a_database_that_lets_nobody_in_ends_the_start_and_not_the_feed(tmp_path: Path) -> None:
    database = Database()
    database.error = StoreRefused("password authentication failed")
    with pytest.raises(StoreRefused):
        async with buffering(database, tmp_path):
            pass
    database.error = None
    async with buffering(database, tmp_path) as store:
        database.error = StoreRefused("password authentication failed")
        await store.write([candle(0)], [])
        assert store.buffered == 1


# ── where streams stand ──


async def test_where_a_stream_stands_includes_what_is_on_disk(tmp_path: Path) -> None:
    """Also while a part of it has gone on: a stream does not wait for the end of a long drain."""
    database = Database()
    async with buffering(database, tmp_path) as store:
        await store.write([candle(at) for at in range(3)], [gap(4, 9)])
        database.error = DOWN
        await store.write([candle(5), candle(2, revision=1)], [gap(10, 11, GapReason.VENUE)])
        await store.write([candle(11), candle(12, closed=False)], [])
        database.error = None
        expected = Standing(
            (gap(4, 4), gap(6, 9), gap(10, 10, GapReason.VENUE)), (candle(2, revision=1), candle(5), candle(11))
        )
        assert await store.drain(1) == 3
        assert store.buffered == 2
        assert await store.standing(STREAM, 3) == expected
        await drained(store)
        assert await store.standing(STREAM, 3) == expected


async def test_a_stream_that_begins_waits_for_the_database_and_then_goes_without(
    autojump_clock: object, tmp_path: Path
) -> None:
    database = Database()
    database.model.write([candle(0)], [], 0)
    database.error = DOWN
    async with buffering(database, tmp_path, start_wait_s=10) as store:
        begun_s = trio.current_time()
        assert await store.standing(STREAM, 5) == Standing()
        assert trio.current_time() == begun_s + 10
        await store.write([candle(7)], [])
        assert await store.standing(STREAM, 5) == Standing((), (candle(7),))
        await store.write([candle(8)], [gap(9, 9)])
        assert await store.standing(STREAM, 5) == Standing((gap(9, 9),), (candle(7), candle(8)))
        assert trio.current_time() == begun_s + 10
    # What a process finds on disk counts as well, and a database that comes back in time is asked.
    async with buffering(database, tmp_path, start_wait_s=10) as store, trio.open_nursery() as nursery:
        begun_s = trio.current_time()

        async def come_back() -> None:
            await trio.sleep(4)
            database.error = None
            await drained(store)

        nursery.start_soon(come_back)
        stood = await store.standing(STREAM, 5)
        assert trio.current_time() == begun_s + 4
        assert stood.candles == (candle(0), candle(7), candle(8))
        assert stood.last_ms == at_ms(9)


async def test_a_damaged_stream_of_a_database_that_is_there_is_reported(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no outage, and who asks is not kept waiting for its end again and again."""
    database = Database()
    asked = 0

    async def standing(stream: Stream, count: int) -> Standing:
        nonlocal asked
        await trio.lowlevel.checkpoint()
        asked += 1
        raise StoreUnavailable("a candle is damaged")

    monkeypatch.setattr(database, "standing", standing)
    async with buffering(database, tmp_path) as store, trio.open_nursery() as nursery:

        async def drain() -> None:
            await store.begun.wait()
            await drained(store)

        nursery.start_soon(drain)
        with pytest.raises(StoreUnavailable, match="a candle is damaged"):
            await store.standing(STREAM, 3)
        assert asked == 2
        assert state(store) == (None, None, 0)


async def test_the_hole_of_a_stream_that_began_without_the_database_is_a_gap(tmp_path: Path) -> None:
    database = Database()
    database.model.write([candle(0), candle(3, OTHER)], [gap(1, 2)], 0)
    database.error = DOWN
    async with buffering(database, tmp_path) as store:
        await store.write([candle(8), candle(4, OTHER)], [gap(6, 7, GapReason.VENUE)])
        await store.write([candle(9), candle(2, OTHER, revision=1)], [])
        database.error = None
        await drained(store)
        assert await store.gaps(STREAM) == [gap(1, 5), gap(6, 7, GapReason.VENUE)]
        assert await store.gaps(OTHER) == []


async def test_a_correction_of_long_ago_alone_makes_no_gap(tmp_path: Path) -> None:
    database = Database()
    database.model.write([candle(at) for at in range(5)], [], 0)
    database.error = DOWN
    async with buffering(database, tmp_path) as store:
        await store.write([candle(1, revision=1)], [])
        await store.write([candle(-50)], [])
        await store.write([candle(7)], [])
        database.error = None
        await drained(store)
        assert await store.gaps(STREAM) == [gap(5, 6)]


# ── the file ──


async def test_the_password_is_not_in_the_file(tmp_path: Path) -> None:
    database = Database()
    database.error = DOWN
    async with buffering(database, tmp_path) as store:
        await store.write([candle(0)], [])
        assert "s3cret" not in repr(store)
    for file in tmp_path.iterdir():
        assert b"s3cret" not in file.read_bytes()


async def test_it_shrinks_once_it_is_empty(tmp_path: Path) -> None:
    database = Database()
    async with buffering(database, tmp_path, batch=2_000) as store:
        empty = sum(file.stat().st_size for file in tmp_path.iterdir())
        database.error = DOWN
        for number in range(20):
            await store.write([candle(number * 2_000 + at) for at in range(2_000)], [])
        full = sum(file.stat().st_size for file in tmp_path.iterdir())
        database.error = None
        while store.begun.is_set():
            await store.drain(2_000)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= empty + 8_192 < full / 20


async def test_rows_for_another_database_are_not_given_to_this_one(tmp_path: Path) -> None:
    database = Database()
    database.error = DOWN
    async with buffering(database, tmp_path) as store:
        await store.write([candle(0)], [])
    other = Secret("postgresql://candle@elsewhere/market")
    with pytest.raises(
        ConfigError, match=r"1 rows in .* wait for postgresql://candle@db\.example/market, not for .*elsewhere"
    ):
        async with buffering(database, tmp_path, url=other):
            pass
    database.error = None
    async with buffering(database, tmp_path) as store:
        await drained(store)
    # An empty one is anybody's.
    async with buffering(database, tmp_path, url=other) as store:
        assert store.buffered == 0


async def test_two_cannot_use_one_file(tmp_path: Path) -> None:
    async with buffering(Database(), tmp_path):
        with pytest.raises(StoreUnavailable, match=r"another candleactors uses it; store\.buffer chooses"):
            async with buffering(Database(), tmp_path):
                pass


async def test_what_is_no_buffer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "buffer.sqlite"
    async with open_sqlite(path) as store:
        await store.write([candle(0)], [])
    with pytest.raises(ConfigError, match="is no buffer but the database of another program"):
        async with buffering(Database(), tmp_path):
            pass
    async with open_sqlite(path) as store:
        assert await store.candles(STREAM) == [candle(0)]
    path.write_bytes(b"no database at all, whatever it may be" * 100)
    with pytest.raises(StoreUnavailable, match="not a SQLite database"):
        async with buffering(Database(), tmp_path):
            pass
    path.unlink()
    async with buffering(Database(), tmp_path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(ConfigError, match="another version"):
        async with buffering(Database(), tmp_path):
            pass


@pytest.mark.parametrize("at", [2, 40, -3])
async def test_a_damaged_batch_is_reported_and_neither_read_nor_passed_over(tmp_path: Path, at: int) -> None:
    database, path = Database(), tmp_path / "buffer.sqlite"
    database.error = DOWN
    async with buffering(database, tmp_path) as store:
        await store.write([candle(0)], [])
        await store.write([candle(1)], [])
    connection = sqlite3.connect(path, isolation_level=None)
    (payload,) = connection.execute("SELECT payload FROM batch WHERE number = 1").fetchone()
    damaged = bytearray(payload)
    damaged[at] ^= 1
    connection.execute("UPDATE batch SET payload = ? WHERE number = 1", (bytes(damaged),))
    connection.close()
    database.error = None
    async with buffering(database, tmp_path) as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="a batch is damaged; stop the feed and move the file away"):
                await store.drain(BATCH)
        assert store.error is not None
        assert "damaged" in store.error
    assert database.written == []


async def test_a_file_that_cannot_be_written_refuses_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: who writes keeps the rows, as without a buffer."""
    real, pages = sqlite3.connect, [12]

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(*args, **kwargs)
        connection.execute(f"PRAGMA max_page_count = {pages[0]}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    many = [candle(at) for at in range(1, 1_000)]
    database = Database()
    async with buffering(database, tmp_path) as store:
        database.error = DOWN
        await store.write([candle(0)], [])
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                await store.write(many, [])
            assert store.buffered == 1
        pages[0] = 10_000
        await store.write(many, [])
        database.error = None
        await drained(store)
        assert database.written == [candle(0), *many]


async def test_a_disk_that_is_full_and_has_room_again(tmp_path: Path) -> None:
    # A limit on the size of any file this process writes behaves like a full disk in the middle of a transaction.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    database, accepted = Database(), list[object]()
    async with open_buffered(database, settings_for(tmp_path, batch=500)) as store:
        database.error = DOWN
        size = max(file.stat().st_size for file in tmp_path.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 300_000, limits[1]))
        try:
            refused = None
            while refused is None:
                batch = [candle(len(accepted) + at) for at in range(500)]
                try:
                    await store.write(batch, [])
                    accepted += batch
                except StoreUnavailable as error:
                    refused = str(error)
            assert "disk" in refused
            assert store.buffered == len(accepted)
            # The database may be back before there is room.
            database.error = None
            while store.begun.is_set():
                await store.drain(500)
            await store.write(batch, [])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert database.written == [*accepted, *batch]
        assert len(accepted) > 500


async def test_what_is_done_with_does_not_come_again_where_it_cannot_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk may refuse that too: the database gets everything all the same, and once."""
    monkeypatch.setattr("candleactors.stores.buffered.file._BUSY_TIMEOUT_S", 0.0)
    database, rows = Database(), [candle(at) for at in range(15)]
    async with buffering(database, tmp_path) as store:
        database.error = DOWN
        for row in rows[:14]:
            await store.write([row], [])
        database.error = None
        await store.drain(2)
        stranger = sqlite3.connect(tmp_path / "buffer.sqlite", isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")
        await drained(store)
        await store.write(rows[14:], [])
        assert database.written == rows
        stranger.close()
    async with buffering(database, tmp_path) as store:
        assert store.buffered == 0


async def test_it_is_closed_for_good(tmp_path: Path) -> None:
    async with buffering(Database(), tmp_path) as store:
        pass
    for call in (store.write([candle(0)], []), store.drain(1), store.standing(STREAM, 1), store.candles(STREAM)):
        with pytest.raises(LocalProtocolError, match="closed"):
            await call


# ── against a model ──

writes = st.builds(
    lambda candles, gaps: ("write", candles, gaps),
    st.lists(draws, max_size=4),
    st.lists(gap_draws, max_size=2),
)
acts = st.lists(
    writes
    | writes
    | st.sampled_from([("outage", False), ("outage", True), ("return",), ("stop",), ("look",)])
    | st.builds(lambda dies: ("drain", dies), st.booleans()),
    max_size=25,
)


def test_whatever_happens_the_database_comes_to_what_was_written() -> None:
    @given(acts=acts)
    @settings(max_examples=150, deadline=None)
    def check(acts: list[tuple[Any, ...]]) -> None:
        trio.run(_live, acts)

    check()


async def _live(acts: list[tuple[Any, ...]]) -> None:
    """Do `acts` and see that the database finally has what was written, as if it had always been there."""
    database, model = Database(), StoreModel()
    with TemporaryDirectory() as name:
        folder = Path(name)
        todo = [*acts, ("return",)]
        while todo:
            left: dict[str, bytes] = {}
            async with buffering(database, folder, start_wait_s=0) as store:
                while todo and (act := todo.pop(0))[0] != "stop":
                    match act:
                        case ("write", candles, gaps):
                            await store.write(candles, gaps, repaired_ms=0)
                            model.write(candles, gaps, 0)
                        case ("outage", commits_first):
                            database.error, database.commits_first = DOWN, commits_first
                        case ("return",):
                            database.error = None
                        case ("look",):
                            for stream in (STREAM, OTHER):
                                stood = await store.standing(stream, 3)
                                closed = [row for row in model.candles(stream) if row.closed]
                                assert not store.reachable or stood.candles == tuple(closed[-3:])
                        case ("drain", dies):
                            if dies:
                                left = {file.name: file.read_bytes() for file in folder.iterdir()}
                            try:
                                await store.drain(BATCH)
                            except StoreUnavailable:
                                assert database.error is not None
                            if dies:
                                break
                if not todo:
                    await drained(store)
            # Who died after the commit did not delete what was committed.
            for file in left:
                (folder / file).write_bytes(left[file])
    for stream in (STREAM, OTHER):
        assert database.model.candles(stream) == model.candles(stream)
        missing, expected = intervals(database.model.gaps(stream)), intervals(model.gaps(stream))
        assert missing | expected == missing
        # Streams do not leave out intervals as these do: those are gaps as well.
        have = {row.open_time_ms for row in model.candles(stream) if row.closed}
        assert {reason for at, reason in missing.items() - expected.items()} <= {GapReason.UNREPAIRED}
        assert not missing.keys() & have


def intervals(gaps: Sequence[Gap]) -> dict[int, GapReason]:
    return {
        at: each.reason
        for each in gaps
        for at in each.stream.timeframe.opens(each.first_open_ms, each.last_open_ms + 1)
    }

"""The SQLite store: conformance, its file, its versions, several processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from store_conformance import Opened, StoreConformance
from stored_candles import FAR_MS, STREAM, candle, gap

from candleactors.errors import ConfigError, StoreUnavailable
from candleactors.model import GapReason, GapSummary
from candleactors.stores.sqlite import open_sqlite


class TestSqliteConformance(StoreConformance[Path]):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path / "candles.sqlite"

    def open(self, place: Path, *, threaded: bool = True, read_only: bool = False, guest: bool = False) -> Opened:
        return open_sqlite(place, threaded=threaded, read_only=read_only, guest=guest, busy_timeout_s=30)

    def clear(self, place: Path) -> None:
        for file in place.parent.glob(f"{place.name}*"):
            file.unlink()

    def impatient(self, place: Path) -> Opened:
        return open_sqlite(place, busy_timeout_s=0)

    def seize(self, place: Path) -> Callable[[], None]:
        other = sqlite3.connect(place, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        return other.close

    def texts(self, place: Path) -> list[str | None]:
        other = sqlite3.connect(place)
        rows = other.execute("SELECT quote_volume FROM candles ORDER BY open_time_ms").fetchall()
        other.close()
        return [quote_volume for (quote_volume,) in rows]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "candles.sqlite"


async def test_it_leaves_the_file_and_its_lock(path: Path) -> None:
    async with open_sqlite(path) as store:
        await store.write([candle(0)], [gap(1, 2)])
    assert sorted(p.name for p in path.parent.iterdir()) == ["candles.sqlite", "candles.sqlite.lock"]


async def test_a_second_writer_is_refused_and_readers_are_not(path: Path) -> None:
    async with open_sqlite(path) as store:
        with pytest.raises(StoreUnavailable, match="another candleactors is writing"):
            async with open_sqlite(path):
                pass
        async with open_sqlite(path, read_only=True):
            await store.write([candle(0)], [])
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

"""The PostgreSQL store: conformance, its tables as others see them, several writers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
import trio
from postgres_server import Database
from store_conformance import Opened, StoreConformance
from stored_candles import OTHER, START_MS, STREAM, candle, gap

from candleactors.stores.postgres import Patience, PostgresStore, open_postgres

pytest_plugins = ["postgres_fixtures"]


class TestPostgresConformance(StoreConformance[Database]):
    @pytest.fixture
    def place(self, database: Database) -> Database:
        return database

    def open(self, place: Database, *, threaded: bool = True, read_only: bool = False, guest: bool = False) -> Opened:
        return open_postgres(place.url, threaded=threaded, read_only=read_only)

    def clear(self, place: Database) -> None:
        # Quicker than to make the tables again; there are none before the first time.
        if place.query("SELECT to_regclass('market_data.repair')") != [(None,)]:
            place.query(
                "; ".join(f"DELETE FROM market_data.{table}" for table in ("candle", "stream", "gap", "repair"))
            )

    def impatient(self, place: Database) -> Opened:
        return open_postgres(place.url, patience=Patience(lock_s=0))

    def seize(self, place: Database) -> Callable[[], None]:
        other = place.connect()
        other.execute("BEGIN; LOCK TABLE market_data.gap IN SHARE MODE")
        return other.close

    def texts(self, place: Database) -> list[str | None]:
        rows = place.query("SELECT quote_volume::text FROM market_data.candles ORDER BY open_time")
        return [quote_volume for (quote_volume,) in rows]


async def test_others_read_plain_names_and_exact_values(database: Database) -> None:
    row = candle(0, taker_buy_volume=Decimal("1.10"), trades=None)
    async with open_postgres(database.url) as store:
        await store.write([row, candle(1, closed=False)], [])
    with database.connect() as connection:
        cursor = connection.execute("SELECT * FROM market_data.candles ORDER BY open_time")
        found = [dict(zip((c.name for c in cursor.description or ()), values, strict=True)) for values in cursor]
        opens = datetime.fromtimestamp(row.open_time_ms / 1000, UTC)
        assert found[0] == {
            **{name: getattr(row, name) for name in ("venue", "symbol", "open", "high", "low", "close", "volume")},
            **{name: getattr(row, name) for name in ("quote_volume", "trades", "closed", "complete", "revision")},
            **{name: getattr(row, name) for name in ("taker_buy_volume", "taker_buy_quote_volume", "missing")},
            "timeframe": "1m",
            "source": "ws",
            "open_time": opens,
            "close_time": opens + timedelta(milliseconds=59_999),
            "received_at": opens + timedelta(minutes=1),
        }
        klines = connection.execute("SELECT * FROM market_data.klines")
        assert [column.name for column in klines.description or ()] == [
            *("venue", "symbol", "timeframe", "open_time", "open", "high", "low", "close", "volume", "close_time"),
            *("quote_volume", "number_of_trades", "taker_buy_base_volume", "taker_buy_quote_volume"),
        ]
        assert len(klines.fetchall()) == 1
        for statement in (
            "DELETE FROM market_data.candles",
            "UPDATE market_data.klines SET open = 1",
            "INSERT INTO market_data.klines (venue) VALUES ('x')",
        ):
            with pytest.raises(psycopg.errors.RaiseException, match="is for reading only"):
                connection.execute(statement)


async def test_a_question_about_a_time_looks_at_its_partition_alone(database: Database) -> None:
    async with open_postgres(database.url) as store:
        await store.write([candle(0), candle(44_640), candle(89_280)], [])
    plan = "\n".join(
        line
        for (line,) in database.query(
            "EXPLAIN SELECT * FROM market_data.klines WHERE symbol = 'BTCUSDT' AND venue = 'binance-spot' "
            "AND timeframe = '1m' AND open_time >= '2023-12-01Z' AND open_time < '2024-01-01Z'"
        )
    )
    assert "candle_2023_12" in plan
    assert "candle_2023_11" not in plan


async def test_there_is_a_partition_for_each_month_and_none_for_the_rest(database: Database) -> None:
    december_ms = 1_701_388_800_000  # 2023-12-01T00:00Z, whatever the time zone of the server
    edge = [candle(at) for at in ((december_ms - START_MS) // 60_000 - 1, (december_ms - START_MS) // 60_000)]
    async with open_postgres(database.url) as store:
        await store.write(edge, [])
        assert await store.candles(STREAM) == edge
    assert partitions_of(database) == {"candle_2023_11": 1, "candle_2023_12": 1}
    with pytest.raises(psycopg.errors.CheckViolation, match="no partition"):
        database.query(
            "INSERT INTO market_data.candle SELECT open_time + interval '1 year', close_time, received_at, trades, "
            "revision, missing, closed, complete, source, venue, symbol, timeframe, open, high, low, close, volume "
            "FROM market_data.candle"
        )


def partitions_of(database: Database) -> dict[str, int]:
    """Return how many rows each partition has."""
    names = database.query(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
        "WHERE inhparent = 'market_data.candle'::regclass ORDER BY relname"
    )
    return {name: database.query(f"SELECT count(*) FROM market_data.{name}")[0][0] for (name,) in names}


async def test_several_make_the_tables_and_the_partitions_at_once(database: Database) -> None:
    async def one(number: int) -> None:
        async with open_postgres(database.url) as store:
            await store.write([candle(at + number) for at in range(0, 500_000, 10_000)], [])

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(one, number)
    assert sum(partitions_of(database).values()) == 300
    assert len(partitions_of(database)) == 12


async def test_two_daemons_write_the_same_table(database: Database) -> None:
    """Both say something about every minute: one a gap first, the other one a candle; in opposite order, in batches."""
    minutes = list(range(400))

    async def tell_gaps(store: PostgresStore) -> None:
        for first in minutes[::10]:
            await store.write([candle(first + 9, OTHER)], [gap(first, first + 9), gap(first, first + 8, stream=OTHER)])

    async def tell_candles(store: PostgresStore) -> None:
        for first in reversed(minutes[::10]):
            rows = [candle(first + n, volume=Decimal(2), revision=1) for n in range(0, 10, 2)]
            await store.write([*rows, candle(first, OTHER, revision=1)], [])

    async def tell_old(store: PostgresStore) -> None:
        for first in minutes[::10]:
            await store.write([candle(first + n) for n in range(0, 10, 2)], [])

    async with (
        open_postgres(database.url) as one,
        open_postgres(database.url) as two,
        open_postgres(database.url) as three,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_gaps, one)
            nursery.start_soon(tell_candles, two)
            nursery.start_soon(tell_old, three)
        assert await one.candles(STREAM) == [candle(n, volume=Decimal(2), revision=1) for n in minutes[::2]]
        assert await one.gaps(STREAM) == [gap(n, n) for n in minutes[1::2]]
        assert await one.gaps(OTHER) == [gap(n + 1, n + 8, stream=OTHER) for n in minutes[::10]]
        assert [row.revision for row in await one.candles(OTHER)] == [1, 0] * 40


async def test_partitions_without_rows_are_dropped_and_made_again(database: Database) -> None:
    """By one process under the feet of another, which takes no notice."""
    november, december, january = candle(0), candle(44_640), candle(89_280)
    async with open_postgres(database.url) as store, open_postgres(database.url) as other:
        await store.write([november, december, january, candle(44_641, OTHER)], [])
        await other.prune(STREAM, january.open_time_ms, most=10)
        await other.reclaim()
        assert partitions_of(database) == {"candle_2023_12": 1, "candle_2024_01": 1}
        await other.prune(OTHER, january.open_time_ms, most=10)
        await other.reclaim()
        assert partitions_of(database) == {"candle_2024_01": 1}
        await store.write([november, december], [])
        await other.write([candle(1)], [])
        assert partitions_of(database) == {"candle_2023_11": 2, "candle_2023_12": 1, "candle_2024_01": 1}
        assert await store.candles(STREAM) == [november, candle(1), december, january]


async def test_a_reader_who_takes_long_is_not_waited_for(database: Database) -> None:
    """What dropping needs is had at once or not at all: whoever came later would wait behind it."""
    patience = Patience(lock_s=600, statement_s=600, answer_s=600)
    async with open_postgres(database.url, patience=patience) as store:
        await store.write([candle(0), candle(44_640)], [])
        with database.connect() as analyst:
            analyst.execute("BEGIN")
            assert analyst.execute("SELECT count(*) FROM market_data.candles").fetchone() == (2,)
            assert await store.prune(STREAM, candle(44_640).open_time_ms, most=10) == 1
            await store.reclaim()
            assert partitions_of(database) == {"candle_2023_11": 0, "candle_2023_12": 1}
            await store.write([candle(44_641)], [])
            analyst.execute("COMMIT")
        await store.reclaim()
        assert partitions_of(database) == {"candle_2023_12": 2}


async def test_a_table_that_is_not_partitioned_needs_no_partitions(database: Database) -> None:
    """As with TimescaleDB, whose hypertable is a plain table to everybody."""
    async with open_postgres(database.url):
        pass
    database.query(
        "DROP VIEW market_data.candles; DROP VIEW market_data.klines; ALTER TABLE market_data.candle RENAME TO old; "
        "CREATE TABLE market_data.candle (LIKE market_data.old INCLUDING ALL)"
    )
    async with open_postgres(database.url) as store:
        await store.write([candle(0), candle(0, revision=1)], [])
        await store.write([candle(0)], [])
        assert await store.candles(STREAM) == [candle(0, revision=1)]

"""The PostgreSQL store with TimescaleDB: conformance, and what becomes of chunks. Skipped where it is not installed."""

from __future__ import annotations

import pytest
from postgres_server import Database, Server
from stored_candles import STREAM, candle
from test_postgres import TestPostgresConformance as PostgresConformance

from candleactors.stores.postgres import open_postgres

pytest_plugins = ["postgres_fixtures"]

WEEK = 7 * 1_440
"""Minutes: a chunk is of one week."""


@pytest.fixture
def timescale(postgres_server: Server) -> Database:
    """An empty database with the extension."""
    if not postgres_server.has_timescale:
        pytest.skip("TimescaleDB is not installed in the PostgreSQL that is used")
    database = postgres_server.database()
    database.query("CREATE EXTENSION timescaledb")
    return database


class TestTimescaleConformance(PostgresConformance):
    @pytest.fixture
    def place(self, timescale: Database) -> Database:
        return timescale


def chunks(database: Database) -> list[bool]:
    """Return of each chunk whether it is compressed, the oldest first."""
    found = database.query(
        "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = 'candle' ORDER BY range_start"
    )
    return [compressed for (compressed,) in found]


def compress(database: Database) -> None:
    """Compress every chunk, as the policy would in time."""
    database.query("SELECT compress_chunk(c, true) FROM show_chunks('market_data.candle') AS c")


def count_since(database: Database, open_ms: int) -> int:
    """Return how many chunks there are that do not end before `open_ms`."""
    [(count,)] = database.query(
        f"SELECT count(*) FROM timescaledb_information.chunks WHERE range_end > to_timestamp({open_ms / 1000})"
    )
    return int(count)


async def test_candles_are_a_hypertable_that_compresses_itself(timescale: Database) -> None:
    async with open_postgres(timescale.url) as store:
        await store.write([candle(0), candle(WEEK)], [])
    assert chunks(timescale) == [False, False]
    jobs = timescale.query("SELECT proc_name, config->>'compress_after' FROM timescaledb_information.jobs")
    assert ("policy_compression", "30 days") in jobs


async def test_what_is_compressed_is_read_corrected_and_merged(timescale: Database) -> None:
    rows = [candle(at) for at in range(0, 3 * WEEK, 1_000)]
    async with open_postgres(timescale.url) as store:
        await store.write(rows, [])
        compress(timescale)
        assert all(chunks(timescale))
        assert await store.candles(STREAM) == rows
        assert len(await store.covered(STREAM)) == len(rows)
        await store.write([candle(0, revision=1), candle(1), candle(1_000)], [])
        (tally,) = (await store.merge([candle(2_000), candle(2)], corrects=True)).values()
        assert (tally.new, tally.unchanged) == (1, 1)
        expected = [candle(0, revision=1), candle(1), candle(2), *rows[1:]]
        assert await store.candles(STREAM) == expected
        # A lower revision changes nothing there either.
        await store.write([candle(0)], [])
        assert await store.candles(STREAM) == expected


@pytest.mark.parametrize("compressed", [False, True])
async def test_what_is_pruned_gives_its_chunks_back(timescale: Database, compressed: bool) -> None:
    rows = [candle(at) for at in range(0, 4 * WEEK, 1_000)]
    async with open_postgres(timescale.url) as store:
        await store.write(rows, [])
        if compressed:
            compress(timescale)
        pruned = 0
        while count := await store.prune(STREAM, rows[25].open_time_ms, most=10):
            pruned += count
        await store.reclaim()
        assert pruned == 25
        assert await store.candles(STREAM) == rows[25:]
        assert 0 < len(chunks(timescale)) == count_since(timescale, rows[25].open_time_ms)
        await store.write([candle(0)], [])
        assert await store.candles(STREAM) == [candle(0), *rows[25:]]

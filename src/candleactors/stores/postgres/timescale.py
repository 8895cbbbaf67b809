"""What is different where TimescaleDB is installed in the database: chunks and compression instead of partitions.

No policy of its own deletes anything: it would drop whole chunks, whatever timeframes are in them. What is pruned is
deleted row by row, as without it, and a chunk is dropped once it is empty.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg

from candleactors.stores.postgres.locks import hurry, take_turn

HYPERTABLE: Final = (
    """
    SELECT create_hypertable(
        'market_data.candle', 'open_time', chunk_time_interval => INTERVAL '7 days', create_default_indexes => false
    )
    """,
    """
    ALTER TABLE market_data.candle SET (
        timescaledb.compress,
        timescaledb.compress_segmentby = 'venue, symbol, timeframe',
        timescaledb.compress_orderby = 'open_time'
    )
    """,
    # What is corrected or repaired is hardly ever older.
    "SELECT add_compression_policy('market_data.candle', compress_after => INTERVAL '30 days')",
)
"""Makes an empty, plain table of candles a hypertable that compresses itself."""

_CHUNKS: Final = """
    SELECT range_start, range_end FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'market_data' AND hypertable_name = 'candle' ORDER BY range_start
"""
_ANY_ROW: Final = "SELECT FROM market_data.candle WHERE open_time >= %s AND open_time < %s LIMIT 1"
_DROP: Final = "SELECT drop_chunks('market_data.candle', newer_than => %s::timestamptz, older_than => %s::timestamptz)"


def drop_empty(connection: psycopg.Connection[Any]) -> None:
    """Drop the chunks without a row, as `partitions.drop_empty` does partitions."""
    for chunk in connection.execute(_CHUNKS).fetchall():
        try:
            with connection.transaction():
                take_turn(connection)
                hurry(connection)
                if connection.execute(_ANY_ROW, chunk).fetchone() is None:
                    connection.execute(_DROP, chunk)
        except psycopg.errors.LockNotAvailable:
            return
        except psycopg.errors.QueryCanceled:
            continue


def version(connection: psycopg.Connection[Any]) -> str | None:
    """Return the version of TimescaleDB in this database, ``None`` where it is not installed."""
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    return None if row is None else str(row[0])

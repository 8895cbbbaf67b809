"""What is different where TimescaleDB is installed in the database: chunks and compression instead of partitions.

No policy deletes anything here: it would drop whole chunks, whatever timeframes are in them.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg

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


def version(connection: psycopg.Connection[Any]) -> str | None:
    """Return the version of TimescaleDB in this database, ``None`` where it is not installed."""
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    return None if row is None else str(row[0])

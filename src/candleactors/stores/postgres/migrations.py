"""The tables of the PostgreSQL store, by version: each version is what its migration makes of the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import psycopg

from candleactors.errors import ConfigError
from candleactors.stores.postgres import timescale
from candleactors.stores.postgres.locks import take_turn

Migration: TypeAlias = Callable[[psycopg.Connection[Any]], Sequence[str]]
"""Returns the statements to run, in one transaction; they may depend on what is installed."""

_STREAM: Final = """
    venue text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    timeframe text COLLATE "C" NOT NULL
"""
# What has a fixed width comes first: four bytes a row less than in the order of the view.
_CANDLE: Final = f"""
    CREATE TABLE market_data.candle (
        open_time timestamptz NOT NULL,
        close_time timestamptz NOT NULL,
        received_at timestamptz NOT NULL,
        trades bigint,
        revision integer NOT NULL,
        missing integer NOT NULL,
        closed boolean NOT NULL,
        complete boolean NOT NULL,
        source text COLLATE "C" NOT NULL,
        {_STREAM},
        open numeric NOT NULL,
        high numeric NOT NULL,
        low numeric NOT NULL,
        close numeric NOT NULL,
        volume numeric NOT NULL,
        quote_volume numeric,
        taker_buy_volume numeric,
        taker_buy_quote_volume numeric,
        PRIMARY KEY (venue, symbol, timeframe, open_time)
    )
"""
_VIEWS: Final = (
    """
    CREATE VIEW market_data.candles AS
        SELECT venue, symbol, timeframe, open_time, close_time, open, high, low, close, volume, quote_volume, trades,
               taker_buy_volume, taker_buy_quote_volume, closed, complete, source, revision, received_at, missing
        FROM market_data.candle
    """,
    """
    CREATE VIEW market_data.klines AS
        SELECT venue, symbol, timeframe, open_time, open, high, low, close, volume, close_time, quote_volume,
               trades AS number_of_trades, taker_buy_volume AS taker_buy_base_volume, taker_buy_quote_volume
        FROM market_data.candle WHERE closed
    """,
    # Views as plain as these would pass writes on to the table.
    """
    CREATE FUNCTION market_data.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'market_data.% is for reading only', TG_TABLE_NAME; END $$
    """,
    *(
        f"CREATE TRIGGER read_only INSTEAD OF INSERT OR UPDATE OR DELETE ON market_data.{view} "
        "FOR EACH ROW EXECUTE FUNCTION market_data.refuse()"
        for view in ("candles", "klines")
    ),
)


def _first(connection: psycopg.Connection[Any]) -> Sequence[str]:
    with_timescale = timescale.version(connection) is not None
    return (
        "CREATE TABLE market_data.migration (version integer PRIMARY KEY, applied_at timestamptz DEFAULT now())",
        # The streams there are: nobody wants to look through all candles for that.
        f"CREATE TABLE market_data.stream ({_STREAM}, PRIMARY KEY (venue, symbol, timeframe))",
        *((_CANDLE, *timescale.HYPERTABLE) if with_timescale else (f"{_CANDLE} PARTITION BY RANGE (open_time)",)),
        f"""
        CREATE TABLE market_data.gap (
            {_STREAM},
            first_open timestamptz NOT NULL,
            last_open timestamptz NOT NULL,
            reason text NOT NULL,
            PRIMARY KEY (venue, symbol, timeframe, first_open)
        )
        """,
        f"""
        CREATE TABLE market_data.repair (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            {_STREAM},
            first_open timestamptz NOT NULL,
            last_open timestamptz NOT NULL,
            reason text NOT NULL,
            repaired_at timestamptz NOT NULL
        )
        """,
        "CREATE INDEX repair_by_time ON market_data.repair (repaired_at)",
        *_VIEWS,
    )


MIGRATIONS: tuple[Migration, ...] = (_first,)
"""To version 1, to version 2, and so on. What has been released is never changed."""


def prepare(connection: psycopg.Connection[Any], name: str) -> None:
    """Make the tables in a database that has none of them.

    Raises `ConfigError` if there are others in their place, or ours of another version: tables that hold candles are
    changed only when somebody asks for it.
    """
    if version(connection, name) == 0:
        upgrade(connection, name)
    require(connection, name)


def require(connection: psycopg.Connection[Any], name: str) -> None:
    """Raise `ConfigError` unless the database holds our tables, of this version."""
    found = version(connection, name)
    if found == 0:
        raise ConfigError(f"{name} holds no store yet; a feed that opens it makes one, or candleactors db upgrade")
    if found < len(MIGRATIONS):
        raise ConfigError(
            f"{name} was made by an older candleactors (schema {found}, this one needs {len(MIGRATIONS)}); "
            "run candleactors db upgrade"
        )


def upgrade(connection: psycopg.Connection[Any], name: str) -> tuple[int, int]:
    """Bring the tables up to date, each migration in a transaction of its own; return the versions before and after.

    Raises `ConfigError` if there are others in their place, or ours of a newer version.
    """
    before = found = version(connection, name)
    while found < len(MIGRATIONS):
        with connection.transaction():
            take_turn(connection)
            # Another process may have been faster.
            found = version(connection, name)
            for migration in MIGRATIONS[found : found + 1]:
                _apply(connection, migration, found + 1)
        found = version(connection, name)
    return before, found


def version(connection: psycopg.Connection[Any], name: str) -> int:
    """Return the version of the tables, 0 where there are none.

    Raises `ConfigError` if there are others in their place, or ours of a newer version.
    """
    # In one statement: another process may be making them.
    ours, any_table = _row(
        connection,
        "SELECT to_regclass('market_data.migration') IS NOT NULL, "
        "EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('market_data'))",
    )
    if not ours:
        if any_table:
            raise ConfigError(f"{name} has a schema market_data of another program")
        return 0
    found = int(_one(connection, "SELECT coalesce(max(version), 0) FROM market_data.migration"))
    if found > len(MIGRATIONS):
        raise ConfigError(
            f"{name} was made by a newer candleactors (schema {found}, this one reads up to {len(MIGRATIONS)}); upgrade"
        )
    return found


def _apply(connection: psycopg.Connection[Any], migration: Migration, number: int) -> None:
    # Whoever made the schema for us may not have let us make one.
    if _one(connection, "SELECT to_regnamespace('market_data') IS NULL"):
        connection.execute("CREATE SCHEMA market_data")
    for statement in migration(connection):
        connection.execute(statement)
    connection.execute("INSERT INTO market_data.migration (version) VALUES (%s)", [number])


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    return _row(connection, query)[0]


def _row(connection: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(query).fetchone()
    assert row is not None, query
    return row

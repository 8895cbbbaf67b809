"""What ``candleactors db`` does to a PostgreSQL store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from candleactors.errors import StoreUnavailable
from candleactors.settings import shown_url
from candleactors.stores.condition import Condition
from candleactors.stores.postgres import migrations, partitions, timescale
from candleactors.stores.postgres.connection import Patience, connect, parameters_of
from candleactors.stores.postgres.trouble import explain, without

_PATIENCE = Patience(lock_s=60.0, statement_s=24 * 3600.0)
"""A migration may have to rewrite every row, and has to wait until a feed is between two writes."""


def condition(url: str) -> Condition:
    """Return how the store at `url` is, without changing it.

    Blocks. Raises `StoreUnavailable` where the server cannot be reached or refuses, and `ConfigError` where the URL is
    wrong or the tables are not ours or of a newer version.
    """
    with _connected(url, writable=False) as (connection, name):
        found = migrations.version(connection, name)
        with_timescale = timescale.version(connection)
        parts = [f"PostgreSQL {_server(connection)}"]
        if found and partitions.needed(connection):
            parts.append("partitions by month")
        elif with_timescale:
            parts.append(f"TimescaleDB {with_timescale}")
        return Condition(", ".join(parts), found, len(migrations.MIGRATIONS))


def upgrade(url: str) -> tuple[int, int]:
    """Make the tables of the store at `url`, or bring them up to date; return the versions before and after.

    Blocks. Raises like `condition`; each version is a transaction, so those before one that failed stay.
    """
    with _connected(url, writable=True) as (connection, name):
        return migrations.upgrade(connection, name)


@contextmanager
def _connected(url: str, *, writable: bool) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    parameters = parameters_of(url)
    name = shown_url(url)
    try:
        connection = connect(parameters, _PATIENCE, writable=writable)
        try:
            yield connection, name
        finally:
            connection.close()
    except psycopg.Error as error:
        problem = explain(error)
        if problem is None:
            raise
        raise StoreUnavailable(f"{name}: {without(parameters.get('password'), problem)}") from error


def _server(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    return str(row[0]).partition(" ")[0]

"""The store that the settings name: a SQLite file or a PostgreSQL database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from candleactors.errors import ConfigError
from candleactors.settings import StoreSettings
from candleactors.stores import sqlite
from candleactors.stores.base import Archive, Store
from candleactors.stores.buffered import Outage, open_buffered
from candleactors.stores.condition import Condition


@asynccontextmanager
async def open_store(
    settings: StoreSettings,
    *,
    threaded: bool = True,
    read_only: bool = False,
    guest: bool = False,
    wait_s: float | None = None,
) -> AsyncIterator[Archive]:
    """Open the store of `settings` for the body of ``async with``; made if there is none, unless `read_only`.

    `threaded=False` works inline and blocks the event loop. A `guest` writes beside the one writer that a file has; a
    database has any number. `wait_s` is how long a call waits for the lock of another process. Raises
    `StoreUnavailable` where it cannot be opened, and `ConfigError` where it is no store or not one of this version, or
    where psycopg is not installed and needed.
    """
    if settings.url is None:
        wait_s = 2.0 if wait_s is None else wait_s
        opened = sqlite.open_sqlite(
            settings.path, threaded=threaded, read_only=read_only, guest=guest, busy_timeout_s=wait_s
        )
        async with opened as file:
            yield file
        return
    try:
        from candleactors.stores.postgres import Patience, open_postgres
    except ImportError as error:
        raise _no_psycopg(error) from None
    patience = Patience() if wait_s is None else Patience(lock_s=wait_s)
    async with open_postgres(settings.url, threaded=threaded, read_only=read_only, patience=patience) as database:
        yield database


@asynccontextmanager
async def open_feed_store(
    settings: StoreSettings, *, on_outage: Callable[[Outage], None], threaded: bool = True
) -> AsyncIterator[Store]:
    """Open the store of `settings` for a feed, which goes on while a database cannot be reached; see `open_buffered`.

    A file, or a database without a buffer, has to be there. Raises like `open_store`.
    """
    if settings.url is None or not settings.max_buffered:
        async with open_store(settings, threaded=threaded) as store:
            yield store
        return
    try:
        from candleactors.stores.postgres import PostgresStore
    except ImportError as error:
        raise _no_psycopg(error) from None
    remote = PostgresStore(settings.url, threaded=threaded)
    async with open_buffered(remote, settings, on_outage=on_outage, threaded=threaded) as buffered:
        yield buffered


def condition(settings: StoreSettings) -> Condition:
    """Return how the store of `settings` is, without changing it. Blocks; raises like `open_store`."""
    if settings.url is None:
        return sqlite.condition(settings.path)
    try:
        from candleactors.stores.postgres import administration
    except ImportError as error:
        raise _no_psycopg(error) from None
    return administration.condition(settings.url)


async def upgrade(settings: StoreSettings) -> tuple[int, int]:
    """Make the tables of the store of `settings`, or bring them up to date; return the versions before and after.

    Blocks; raises like `open_store`.
    """
    if settings.url is None:
        before = sqlite.condition(settings.path).version if settings.path.exists() else 0
        async with open_store(settings, threaded=False, guest=True):
            return before, sqlite.condition(settings.path).version
    try:
        from candleactors.stores.postgres import administration
    except ImportError as error:
        raise _no_psycopg(error) from None
    await trio.lowlevel.checkpoint()
    return administration.upgrade(settings.url)


def _no_psycopg(error: ImportError) -> Exception:
    """Return what to raise where the PostgreSQL store cannot be imported."""
    if isinstance(error, ModuleNotFoundError) and error.name != "psycopg":
        return error
    return ConfigError("PostgreSQL needs psycopg with its libpq: pip install 'candleactors[postgres]'", key="store.url")

"""The embedded store: candles in one SQLite file."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import trio

from candleactors.core.stretches import Stretch, runs
from candleactors.errors import LocalProtocolError
from candleactors.model import Candle, Gap, GapSummary, Stream
from candleactors.stores.base import Standing
from candleactors.stores.condition import Condition
from candleactors.stores.merging import Tally
from candleactors.stores.sqlite import schema, writing
from candleactors.stores.sqlite.connection import Connection, WriterLock
from candleactors.stores.sqlite.gaps import select_gaps, summary
from candleactors.stores.sqlite.pruning import prune

T = TypeVar("T")

_CLOSE_TIMEOUT_S: Final = 10.0
_CHECKPOINT_PAGES: Final = 8_000
"""32 MiB. A batch of 1,000 streams touches thousands of pages; a checkpoint after each cost a third more time."""
_TAKEN: Final = "another candleactors is writing to this store"
_FIRST_MS: Final = -(1 << 63)
_LAST_MS: Final = (1 << 63) - 1


@asynccontextmanager
async def open_sqlite(
    path: Path, *, threaded: bool = True, read_only: bool = False, guest: bool = False, busy_timeout_s: float = 2.0
) -> AsyncIterator[SqliteStore]:
    """Open the store at `path` for the body of ``async with``; see `SqliteStore.open`."""
    store = await SqliteStore.open(
        path, threaded=threaded, read_only=read_only, guest=guest, busy_timeout_s=busy_timeout_s
    )
    try:
        yield store
    finally:
        await store.aclose()


def condition(path: Path) -> Condition:
    """Return how the store at `path` is, without changing it.

    Blocks. Raises `StoreUnavailable` where there is no file or it cannot be read, and `ConfigError` where it is not a
    store or is one of a newer version.
    """

    def look(connection: sqlite3.Connection) -> Condition:
        found = schema.version(connection, str(path))
        return Condition(f"SQLite {sqlite3.sqlite_version}", found, schema.VERSION)

    connection = Connection(path, lambda *_: None, writable=False, busy_timeout_s=_CLOSE_TIMEOUT_S)
    try:
        return connection.perform(look)
    finally:
        connection.close()


class SqliteStore:
    """A `candleactors.stores.base.Store` in one SQLite file.

    One connection writes, another reads, so that a long query never delays the writer; each is used by one call at a
    time and is opened anew after any failure. Any number of other processes may read meanwhile (`read_only`), but only
    one may be the writer: it holds a lock on ``<path>.lock``. A `guest` writes beside it, in short transactions for
    which the writer waits. Calls block a worker thread, not the event loop. A cancelled call waits until its thread is
    done, at most about `busy_timeout_s`; a cancelled `write` has written all or nothing.
    """

    def __init__(self, path: Path, *, threaded: bool, read_only: bool, busy_timeout_s: float) -> None:
        self.path = path
        self._threaded = threaded
        self._reader = Connection(path, schema.require, writable=False, busy_timeout_s=busy_timeout_s)
        self._writer = None if read_only else Connection(path, _prepare, writable=True, busy_timeout_s=busy_timeout_s)
        self._lock: WriterLock | None = None
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        threaded: bool = True,
        read_only: bool = False,
        guest: bool = False,
        busy_timeout_s: float = 2.0,
    ) -> SqliteStore:
        """Return the store at `path`, created if there is none; the caller owns it and calls `aclose`.

        `threaded=False` works inline and blocks the event loop: for tests in virtual time, and for commands. A `guest`
        does not take the writer's lock. `busy_timeout_s` is how long a call waits for another process's lock. Raises
        `StoreUnavailable` where the file cannot be opened, is damaged or has another writer, and `ConfigError` where it
        is not a store or is one of a newer version.
        """
        store = cls(path, threaded=threaded, read_only=read_only, busy_timeout_s=busy_timeout_s)
        try:
            if store._writer is not None:
                store._lock = None if guest else WriterLock(path, _TAKEN)
                await store._run(store._writer, lambda connection: None)
            await store._run(store._reader, lambda connection: None)
        except BaseException:
            await store.aclose()
            raise
        return store

    async def write(self, candles: Sequence[Candle], gaps: Sequence[Gap], *, repaired_ms: int | None = None) -> None:
        """Upsert in one transaction; see `Store.write`. Precedence: closed, then revision, then complete, then time."""
        if self._writer is None:
            raise LocalProtocolError("the store was opened for reading only")
        await self._run(
            self._writer, functools.partial(writing.write, candles=candles, gaps=gaps, repaired_ms=repaired_ms)
        )

    async def merge(
        self, candles: Sequence[Candle], *, corrects: bool, repaired_ms: int | None = None
    ) -> dict[Stream, Tally]:
        """Merge closed candles in one transaction, none twice; return what became of them, see `merging.merged`.

        Merging the same candles again changes nothing. Every candle that is new takes its interval out of the gaps,
        which is noted as in `write`.
        """
        if self._writer is None:
            raise LocalProtocolError("the store was opened for reading only")
        return await self._run(
            self._writer, functools.partial(writing.merge, candles=candles, corrects=corrects, repaired_ms=repaired_ms)
        )

    async def tails(self, starts_ms: Mapping[Stream, int]) -> dict[Stream, list[Candle]]:
        """Return the closed candles of each stream that open at or after its start, or else its newest one."""
        wanted = dict(starts_ms)

        def query(connection: sqlite3.Connection) -> dict[Stream, list[Candle]]:
            found = {}
            for stream, start_ms in wanted.items():
                key = schema.stream_key(stream)
                rows = connection.execute(f"{schema.SELECT_RANGE} ASC", (*key, start_ms, _LAST_MS)).fetchall()
                candles = [candle for candle in (schema.to_candle(stream, row) for row in rows) if candle.closed]
                if not candles:
                    rows = connection.execute(schema.SELECT_LATEST, (*key, 1)).fetchall()
                    candles = [schema.to_candle(stream, row) for row in rows]
                if candles:
                    found[stream] = candles
            return found

        return await self._run(self._reader, query)

    async def candles(
        self,
        stream: Stream,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int | None = None,
        *,
        newest: bool = False,
    ) -> list[Candle]:
        """Return the candles opening in [`start_ms`, `end_ms`], ascending, at most `limit`; see `Store.candles`."""
        if limit is not None and limit < 0:
            raise ValueError(f"limit must not be negative, not {limit}")
        start = _FIRST_MS if start_ms is None else max(start_ms, _FIRST_MS)
        end = _LAST_MS if end_ms is None else min(end_ms, _LAST_MS)
        statement = f"{schema.SELECT_RANGE} {'DESC' if newest else 'ASC'} LIMIT ?"
        parameters = (*schema.stream_key(stream), start, end, -1 if limit is None else min(limit, _LAST_MS))

        def query(connection: sqlite3.Connection) -> list[Candle]:
            rows = connection.execute(statement, parameters).fetchall()
            if newest:
                rows.reverse()
            return [schema.to_candle(stream, row) for row in rows]

        return await self._run(self._reader, query)

    async def standing(self, stream: Stream, count: int) -> Standing:
        """Return the gaps of `stream` and its newest closed candles, `count` at most."""

        def query(connection: sqlite3.Connection) -> Standing:
            gaps = select_gaps(connection, stream)
            rows = connection.execute(schema.SELECT_LATEST, (*schema.stream_key(stream), count)).fetchall()
            return Standing(tuple(gaps), tuple(schema.to_candle(stream, row) for row in reversed(rows)))

        return await self._run(self._reader, query)

    async def gaps(self, stream: Stream) -> list[Gap]:
        """Return the gaps of `stream` that no candle has filled, ascending and disjoint."""
        return await self._run(self._reader, functools.partial(select_gaps, stream=stream))

    async def covered(
        self, stream: Stream, start_ms: int | None = None, end_ms: int | None = None, *, complete: bool = False
    ) -> list[Stretch]:
        """Return where closed candles open in [`start_ms`, `end_ms`] without a hole; see `Store.covered`."""
        start = _FIRST_MS if start_ms is None else max(start_ms, _FIRST_MS)
        end = _LAST_MS if end_ms is None else min(end_ms, _LAST_MS)
        parameters = (*schema.stream_key(stream), start, end, int(complete))
        return await self._run(
            self._reader,
            lambda connection: list(runs(connection.execute(schema.SELECT_EDGES, parameters))),
        )

    async def gap_summary(self, since_ms: int) -> GapSummary:
        """Return how many gaps are open and what was repaired since `since_ms`; see `Store.gap_summary`."""
        return await self._run(self._reader, functools.partial(summary, since_ms=since_ms))

    async def streams(self) -> list[Stream]:
        """Return every stream the store knows, sorted by name and length of the timeframe."""

        def query(connection: sqlite3.Connection) -> list[Stream]:
            rows = connection.execute("SELECT venue, symbol, timeframe FROM stream").fetchall()
            return [schema.to_stream(row) for row in rows]

        found = await self._run(self._reader, query)
        return sorted(found, key=lambda stream: (stream.venue, stream.symbol, stream.timeframe.nominal_ms))

    async def prune(self, stream: Stream, before_ms: int, *, most: int) -> int:
        """Delete what `stream` has from before `before_ms`, `most` candles at a time; see `Store.prune`."""
        if self._writer is None:
            raise LocalProtocolError("the store was opened for reading only")
        before_ms = min(max(before_ms, _FIRST_MS), _LAST_MS)
        return await self._run(self._writer, functools.partial(prune, stream=stream, before_ms=before_ms, most=most))

    async def reclaim(self) -> None:
        """Do nothing: the pages that are free are used again, and the file stays as long as it is."""
        self._check_open()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Fold the write-ahead log into the file, close it and let the lock go; idempotent, also when cancelled."""
        if self._closed:
            return
        self._closed = True
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_TIMEOUT_S):
            # The writer last: whoever closes last checkpoints, and a read-only connection cannot.
            for connection in (self._reader, self._writer):
                if connection is not None:
                    await self._in_thread(connection, connection.close)
        if self._lock is not None:
            self._lock.release()

    def _check_open(self) -> None:
        if self._closed:
            raise LocalProtocolError("the store is closed")

    async def _run(self, connection: Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check_open()
        return await self._in_thread(connection, functools.partial(connection.perform, work))

    async def _in_thread(self, connection: Connection, call: Callable[[], T]) -> T:
        if self._threaded:
            return await trio.to_thread.run_sync(call, limiter=connection.limiter)
        await trio.lowlevel.checkpoint()
        return call()


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    schema.prepare(connection, path)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    connection.execute("PRAGMA journal_size_limit = 67108864")

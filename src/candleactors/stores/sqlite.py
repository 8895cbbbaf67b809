"""The embedded store: one SQLite file.

Durability: the file is in WAL mode with ``synchronous=NORMAL``. What `SqliteStore.write` has returned for survives the
death of the process at any instant, ``kill -9`` included: the write-ahead log is in the system's hands by then. A power
cut may take the last transactions, whole ones and in order, and leaves the file sound; the feed fetches what is missing
at its next start. ``FULL`` would wait for the disk on every commit to save that.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import operator
import os
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import trio

from candleactors.errors import LocalProtocolError, StoreUnavailable
from candleactors.model import Candle, Gap, GapSummary, Stream
from candleactors.stores import schema
from candleactors.stores.condition import Condition
from candleactors.stores.merging import Tally, merged
from candleactors.stores.remembered_gaps import select_gaps, summary, write_gaps

T = TypeVar("T")

_CLOSE_TIMEOUT_S: Final = 10.0
_CHECKPOINT_PAGES: Final = 8_000
"""32 MiB. A batch of 1,000 streams touches thousands of pages; a checkpoint after each cost a third more time."""
_MOST_PARAMETERS: Final = 500
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

    connection = _Connection(path, writable=False, busy_timeout_s=_CLOSE_TIMEOUT_S, any_version=True)
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
        self._reader = _Connection(path, writable=False, busy_timeout_s=busy_timeout_s)
        self._writer = None if read_only else _Connection(path, writable=True, busy_timeout_s=busy_timeout_s)
        self._lock: _WriterLock | None = None
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
                store._lock = None if guest else _WriterLock(path)
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
        await self._run(self._writer, functools.partial(_write, candles=candles, gaps=gaps, repaired_ms=repaired_ms))

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
            self._writer, functools.partial(_merge, candles=candles, corrects=corrects, repaired_ms=repaired_ms)
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
                    rows = connection.execute(schema.SELECT_LATEST, key).fetchall()
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

    async def gaps(self, stream: Stream) -> list[Gap]:
        """Return the gaps of `stream` that no candle has filled, ascending and disjoint."""
        return await self._run(self._reader, functools.partial(select_gaps, stream=stream))

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

    async def _run(self, connection: _Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise LocalProtocolError("the store is closed")
        return await self._in_thread(connection, functools.partial(connection.perform, work))

    async def _in_thread(self, connection: _Connection, call: Callable[[], T]) -> T:
        if self._threaded:
            return await trio.to_thread.run_sync(call, limiter=connection.limiter)
        await trio.lowlevel.checkpoint()
        return call()


class _Connection:
    """A connection that opens when it is needed and is thrown away after any failure."""

    def __init__(self, path: Path, *, writable: bool, busy_timeout_s: float, any_version: bool = False) -> None:
        self.limiter = trio.CapacityLimiter(1)
        self._path = path
        self._writable = writable
        self._any_version = any_version
        self._busy_timeout_s = busy_timeout_s
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def perform(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` returns; raises `StoreUnavailable` for every failure of the medium."""
        try:
            return work(self._open())
        except BaseException as error:
            # Closing rolls back: no failure of any kind leaves the connection inside a transaction.
            self.close()
            problem = _explain(error)
            if problem is None:
                raise
            raise StoreUnavailable(f"{self._path}: {problem}") from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # What cannot be folded into the file now stays in the log beside it and is read from there.
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            if self._identity != _identity(self._path):
                raise _Replaced
            return self._connection
        mode = "rwc" if self._writable else "ro"
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        self._connection = connection
        if self._writable:
            schema.prepare(connection, str(self._path))
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute("PRAGMA journal_size_limit = 67108864")
        elif not self._any_version:
            schema.require(connection, str(self._path))
        self._identity = _identity(self._path)
        return connection


class _Replaced(Exception):
    """The file under an open connection is another one now, or none: what is written would be lost."""


class _WriterLock:
    """An advisory lock on ``<path>.lock`` that dies with its process; the empty file stays."""

    def __init__(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        try:
            self._fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreUnavailable(f"{path}: cannot create {lock.name} beside it: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise StoreUnavailable(f"{path}: another candleactors is writing to this store") from error

    def release(self) -> None:
        os.close(self._fd)


def _write(
    connection: sqlite3.Connection, candles: Sequence[Candle], gaps: Sequence[Gap], repaired_ms: int | None
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    _upsert(connection, candles, gaps, repaired_ms)
    connection.execute("COMMIT")


def _upsert(
    connection: sqlite3.Connection, candles: Sequence[Candle], gaps: Sequence[Gap], repaired_ms: int | None
) -> None:
    ids = _stream_ids(connection, {*map(schema.stream_key, candles), *map(schema.stream_key, gaps)})
    rows = [schema.to_row(ids[schema.stream_key(candle)], candle) for candle in candles]
    # Neighbours share pages. The sort is stable, so that the later write of one interval stays the later.
    rows.sort(key=operator.itemgetter(0, 1))
    connection.executemany(schema.UPSERT, rows)
    if repaired_ms is None:
        repaired_ms = max((candle.received_ms for candle in candles), default=0)
    write_gaps(connection, ids, candles, gaps, repaired_ms)


def _merge(
    connection: sqlite3.Connection, candles: Sequence[Candle], corrects: bool, repaired_ms: int | None
) -> dict[Stream, Tally]:
    by_stream: defaultdict[Stream, list[Candle]] = defaultdict(list)
    for candle in candles:
        by_stream[candle.stream].append(candle)
    connection.execute("BEGIN IMMEDIATE")
    tallies: dict[Stream, Tally] = {}
    written: list[Candle] = []
    for stream, group in by_stream.items():
        stored = _select_some(connection, stream, [candle.open_time_ms for candle in group])
        tally = tallies[stream] = Tally()
        for candle in group:
            outcome, merger = merged(stored.get(candle.open_time_ms), candle, corrects=corrects)
            tally.count(outcome)
            if merger is not None:
                written.append(merger)
    if written:
        _upsert(connection, written, (), repaired_ms)
    connection.execute("COMMIT")
    return tallies


def _select_some(connection: sqlite3.Connection, stream: Stream, open_times_ms: list[int]) -> dict[int, Candle]:
    found = {}
    for first in range(0, len(open_times_ms), _MOST_PARAMETERS):
        wanted = open_times_ms[first : first + _MOST_PARAMETERS]
        statement = schema.SELECT_SOME.format(", ".join("?" * len(wanted)))
        for row in connection.execute(statement, (*schema.stream_key(stream), *wanted)):
            found[row[0]] = schema.to_candle(stream, row)
    return found


def _stream_ids(connection: sqlite3.Connection, keys: Iterable[schema.Key]) -> dict[schema.Key, int]:
    ids = {}
    for key in keys:
        row = connection.execute(
            "SELECT id FROM stream WHERE venue = ? AND symbol = ? AND timeframe = ?", key
        ).fetchone()
        if row is None:
            row = connection.execute(
                "INSERT INTO stream (venue, symbol, timeframe) VALUES (?, ?, ?) RETURNING id", key
            ).fetchone()
        ids[key] = row[0]
    return ids


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _explain(error: BaseException) -> str | None:
    """Return what a user can do about `error`, or ``None`` where the medium is not to blame."""
    if isinstance(error, _Replaced):
        return "the file was moved, deleted or replaced while in use"
    if not isinstance(error, sqlite3.OperationalError) and type(error) is not sqlite3.DatabaseError:
        return None
    name: str = getattr(error, "sqlite_errorname", "")
    for prefix, problem in _PROBLEMS.items():
        if name.startswith(prefix):
            return f"{problem} ({error})"
    return str(error)


_PROBLEMS: Final = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_BUSY": "another process holds the lock for too long",
    "SQLITE_READONLY": "the file or its folder cannot be written",
    "SQLITE_CANTOPEN": "cannot be opened; it needs an existing folder with the permission to write",
    "SQLITE_IOERR": "reading or writing failed; the disk may be full or failing",
    "SQLITE_CORRUPT": "the file is damaged; move it away, candles are fetched again",
    "SQLITE_NOTADB": "not a SQLite database",
}

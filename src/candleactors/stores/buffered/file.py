"""The buffer file: batches that wait on disk, oldest first."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import trio
from attrs import frozen

from candleactors.errors import ConfigError, LocalProtocolError, StoreUnavailable
from candleactors.stores.buffered.batch import Batch, DamagedBatch, decode, encode, joined
from candleactors.stores.sqlite.connection import Connection, WriterLock

T = TypeVar("T")

VERSION: Final = 1
"""Of the file and of what a batch is written as; kept in ``PRAGMA user_version``."""
APPLICATION_ID: Final = 0x63616265
"""Kept in ``PRAGMA application_id``, so that nobody's other database is taken for a buffer."""
_BUSY_TIMEOUT_S: Final = 2.0
_CLOSE_TIMEOUT_S: Final = 10.0
_TABLES: Final = (
    # AUTOINCREMENT: numbers that were used are not used again.
    "CREATE TABLE batch (number INTEGER PRIMARY KEY AUTOINCREMENT, rows INTEGER NOT NULL, payload BLOB NOT NULL)",
    "CREATE TABLE meant_for (place TEXT NOT NULL)",
)


@frozen
class Run:
    """Successive batches as one; `last` is the number of the last one."""

    batch: Batch
    last: int


class BufferFile:
    """Batches in a file that one process has open, written through to the disk.

    Calls block a worker thread, not the event loop, one at a time. Methods raise `StoreUnavailable` where the
    file cannot be read or written, and then did nothing.
    """

    def __init__(self, path: Path, place: str, *, threaded: bool) -> None:
        """See `open`."""
        self.path = path
        self.rows = 0
        """How many rows wait, those that are being appended included."""
        self._place = place
        self._threaded = threaded
        self._connection = Connection(path, self._prepare, writable=True, busy_timeout_s=_BUSY_TIMEOUT_S)
        self._lock: WriterLock | None = None
        self._taken_out = 0  # number of the last batch that is done with, whether or not it could be deleted
        self._deleted = 0
        self._closed = False

    @classmethod
    async def open(cls, path: Path, place: str, *, threaded: bool = True) -> BufferFile:
        """Return the buffer at `path`, made if there is none, of rows for the store at `place`; the caller closes it.

        Raises `StoreUnavailable` where it cannot be opened, is damaged or in use, and `ConfigError` where it is not a
        buffer, of another version, or holds rows for another store.
        """
        buffer = cls(path, place, threaded=threaded)
        try:
            buffer._lock = WriterLock(path, "another candleactors uses it; store.buffer chooses another file")
            buffer.rows = await buffer._run(_waiting)
        except BaseException:
            await buffer.aclose()
            raise
        return buffer

    async def append(self, batch: Batch) -> None:
        """Put `batch` behind all others; it survives even a power cut."""
        self.rows += batch.rows
        try:
            await self._run(lambda connection: _append(connection, batch))
        except BaseException:
            self.rows -= batch.rows
            raise

    async def oldest(self, most: int, after: int = 0) -> Run | None:
        """Return the oldest batches behind number `after`, as one: of `most` rows, or one batch; ``None`` at the end.

        The last of them alone may have gaps, see `joined`.
        """
        start = max(self._taken_out, after)
        return await self._run(lambda connection: _oldest(connection, start, most))

    async def discard(self, run: Run) -> None:
        """Take out the batches of `run`, the oldest ones; where that leaves none, give back the space.

        What cannot be deleted now does not come again as long as the process lives, and is deleted later.
        """
        self._taken_out = run.last
        self.rows -= run.batch.rows
        with contextlib.suppress(StoreUnavailable):
            await self._run(self._delete)

    async def aclose(self) -> None:
        """Close the file and let its lock go; idempotent, also when cancelled."""
        if self._closed:
            return
        self._closed = True
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_TIMEOUT_S):
            if self._deleted < self._taken_out:
                with contextlib.suppress(StoreUnavailable):
                    await self._in_thread(lambda: self._connection.perform(self._delete))
            await self._in_thread(self._connection.close)
        if self._lock is not None:
            self._lock.release()

    def _prepare(self, connection: sqlite3.Connection, path: str) -> None:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not application_id and not objects:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
        elif application_id != APPLICATION_ID:
            raise ConfigError(f"{path} is no buffer but the database of another program", key="store.buffer")
        elif version != VERSION:
            raise ConfigError(f"{path} was written by another version of candleactors", key="store.buffer")
        # Through to the disk with each batch, as the database would.
        connection.execute("PRAGMA synchronous = FULL")
        self._dedicate(connection, path)

    def _delete(self, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM batch WHERE number <= ?", (self._taken_out,))
        self._deleted = self._taken_out
        if not connection.execute("SELECT 1 FROM batch LIMIT 1").fetchone():
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _dedicate(self, connection: sqlite3.Connection, path: str) -> None:
        """Note whose rows will wait here; raise `ConfigError` where those of another store still do."""
        found = [place for (place,) in connection.execute("SELECT place FROM meant_for")]
        if found == [self._place]:
            return
        if found and (waiting := _waiting(connection)):
            raise ConfigError(
                f"{waiting} rows in {path} wait for {found[0]}, not for {self._place}: run a feed with that store "
                "until they are written, or move the file away",
                key="store.buffer",
            )
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM meant_for")
        connection.execute("INSERT INTO meant_for VALUES (?)", (self._place,))
        connection.execute("COMMIT")

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise LocalProtocolError("the buffer is closed")
        return await self._in_thread(lambda: self._connection.perform(work))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        if self._threaded:
            return await trio.to_thread.run_sync(call, limiter=self._connection.limiter)
        await trio.lowlevel.checkpoint()
        return call()


def _waiting(connection: sqlite3.Connection) -> int:
    (rows,) = connection.execute("SELECT coalesce(sum(rows), 0) FROM batch").fetchone()
    return int(rows)


def _append(connection: sqlite3.Connection, batch: Batch) -> None:
    connection.execute("INSERT INTO batch (rows, payload) VALUES (?, ?)", (batch.rows, encode(batch)))


def _oldest(connection: sqlite3.Connection, after: int, most: int) -> Run | None:
    batches: list[Batch] = []
    last = rows = 0
    for number, count, payload in connection.execute(
        "SELECT number, rows, payload FROM batch WHERE number > ? ORDER BY number", (after,)
    ):
        if batches and (rows + count > most or batches[-1].gaps):
            break
        try:
            batches.append(decode(payload))
        except DamagedBatch as error:
            raise sqlite3.DatabaseError(
                f"a batch is damaged; stop the feed and move the file away, candles are fetched again ({error})"
            ) from error
        last, rows = number, rows + count
    return Run(joined(batches), last) if batches else None

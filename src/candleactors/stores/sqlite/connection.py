"""A connection to a SQLite file that mends itself, and the lock of the file's one writer."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import trio

from candleactors.errors import StoreUnavailable

T = TypeVar("T")


class Connection:
    """A connection that opens when it is needed and is thrown away after any failure."""

    def __init__(
        self, path: Path, prepare: Callable[[sqlite3.Connection, str], None], *, writable: bool, busy_timeout_s: float
    ) -> None:
        """`prepare` is given every new connection, with the path for messages: it makes or checks the tables."""
        self.limiter = trio.CapacityLimiter(1)
        self._path = path
        self._prepare = prepare
        self._writable = writable
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
        """Let the connection go, undoing what was not committed; the next call opens another."""
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
        self._prepare(connection, str(self._path))
        self._identity = _identity(self._path)
        return connection


class _Replaced(Exception):
    """The file under an open connection is another one now, or none: what is written would be lost."""


class WriterLock:
    """An advisory lock on ``<path>.lock`` that dies with its process; the empty file stays."""

    def __init__(self, path: Path, taken: str) -> None:
        """Raises `StoreUnavailable` where another writer has it, which says `taken`."""
        lock = path.with_name(path.name + ".lock")
        try:
            self._fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreUnavailable(f"{path}: cannot create {lock.name} beside it: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise StoreUnavailable(f"{path}: {taken}") from error

    def release(self) -> None:
        """Let another writer have it."""
        os.close(self._fd)


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

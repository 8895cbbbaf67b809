"""Connections to PostgreSQL that open when they are needed and are thrown away after any failure."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import psycopg
import trio
from attrs import define, field, frozen
from psycopg import conninfo
from psycopg.types.numeric import Int8BinaryLoader

from candleactors.errors import ConfigError, StoreRefused, StoreUnavailable
from candleactors.stores.postgres import migrations, partitions, rows
from candleactors.stores.postgres.trouble import explain, is_refusal, without

T = TypeVar("T")

_DEFAULTS: Final = {
    "application_name": "candleactors",
    "client_encoding": "UTF8",
    # A server that vanished without a word is noticed within about ten seconds, whatever the connection waits for.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
_CONNECT_TIMEOUT_S: Final = 5


@frozen
class Patience:
    """How long a connection waits for what, in seconds."""

    lock_s: float = 5.0
    """For a lock that another session holds."""
    statement_s: float = 30.0
    """For one statement, as the server counts."""
    answer_s: float = 90.0
    """For a whole call, as we count: whatever happens to the server, a call ends."""


@define
class Session:
    """An open connection and what is known to be in its database. Used by one call at a time."""

    connection: psycopg.Connection[Any]
    partitioned: bool
    """Whether candles lie in partitions, which somebody has to make, and not in a hypertable."""
    months: set[int] = field(factory=set)
    """Months that have a partition, as `partitions` counts them."""
    streams: set[tuple[str, str, str]] = field(factory=set)
    """Streams that are in the list of streams."""


class Link:
    """A session of the store at `url`, opened at its first use and again after any failure.

    It is used by one call at a time. With threads, calls block a worker thread. A cancelled call returns at once and
    its connection is broken off, so that the server undoes what was not yet committed; the next call opens another.
    """

    def __init__(self, url: str, name: str, patience: Patience, *, writable: bool, threaded: bool) -> None:
        """`name` is what messages call the store. Raises `ConfigError` for a URL that PostgreSQL does not take."""
        self._parameters = parameters_of(url)
        self._name = name
        self._patience = patience
        self._writable = writable
        self._threaded = threaded
        self._limiter = trio.CapacityLimiter(1)
        self._guard = threading.Lock()
        self._session: Session | None = None
        self._call: _Call | None = None

    async def run(self, work: Callable[[Session], T]) -> T:
        """Return what `work` returns; raises `StoreUnavailable` for every failure of the server."""
        if not self._threaded:
            await trio.lowlevel.checkpoint()
            return self._perform(work, _Call())
        call = _Call()
        with trio.move_on_after(self._patience.answer_s):
            try:
                return await trio.to_thread.run_sync(
                    self._perform, work, call, limiter=self._limiter, abandon_on_cancel=True
                )
            except trio.Cancelled:
                self._abandon(call)
                raise
        raise StoreUnavailable(f"{self._name}: no answer within {self._patience.answer_s:g} s")

    async def aclose(self) -> None:
        """Close the session once the call under way has ended; blocks a worker thread."""
        if self._threaded:
            await trio.to_thread.run_sync(self.close, limiter=self._limiter, abandon_on_cancel=True)
        else:
            await trio.lowlevel.checkpoint()
            self.close()

    def close(self) -> None:
        """Close the session, if there is one."""
        with self._guard:
            session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(psycopg.Error):
                session.connection.close()

    def _perform(self, work: Callable[[Session], T], call: _Call) -> T:
        with self._guard:
            self._call = call
        try:
            return self._attempt(work, call)
        except BaseException as error:
            # Closing undoes: no failure of any kind leaves the connection inside a transaction.
            self.close()
            problem = explain(error)
            if problem is None:
                raise
            problem = without(self._parameters.get("password"), problem)
            kind = StoreRefused if is_refusal(error) else StoreUnavailable
            raise kind(f"{self._name}: {problem}") from error
        finally:
            with self._guard:
                self._call = None
            if call.abandoned:
                self.close()

    def _attempt(self, work: Callable[[Session], T], call: _Call) -> T:
        used_before = self._session is not None
        session = self._open(call)
        try:
            return work(session)
        except psycopg.Error:
            # The server may have been started anew since the last question. What may have been written is for the
            # caller to write again.
            if self._writable or not used_before or not session.connection.broken or call.abandoned:
                raise
        self.close()
        return work(self._open(call))

    def _abandon(self, call: _Call) -> None:
        """Break off the connection of `call`, if it is under way: its thread ends then, and nobody waits for it."""
        with self._guard:
            call.abandoned = True
            if self._call is call and self._session is not None:
                # Another thread may not touch the connection itself.
                with (
                    contextlib.suppress(OSError, psycopg.Error),
                    socket.socket(fileno=os.dup(self._session.connection.fileno())) as wire,
                ):
                    wire.shutdown(socket.SHUT_RDWR)

    def _open(self, call: _Call) -> Session:
        if self._session is not None:
            return self._session
        connection = connect(self._parameters, self._patience, writable=self._writable)
        try:
            if self._writable:
                migrations.prepare(connection, self._name)
                connection.execute(rows.INCOMING)
            else:
                migrations.require(connection, self._name)
            session = Session(connection, partitions.needed(connection))
            with self._guard:
                if call.abandoned:
                    raise _Abandoned
                self._session = session
        except BaseException:
            connection.close()
            raise
        return session


@define(eq=False)
class _Call:
    """One use of a link. `abandoned`: nobody waits for its result any more."""

    abandoned: bool = False


class _Abandoned(Exception):
    """A call was cancelled while its connection was being made."""


def connect(parameters: Mapping[str, Any], patience: Patience, *, writable: bool) -> psycopg.Connection[Any]:
    """Return a connection in which every statement is a transaction, unless one is begun; the caller closes it.

    Raises `psycopg.Error`.
    """
    connection = psycopg.connect(**parameters, autocommit=True)
    try:
        options = {
            "lock_timeout": max(1, round(patience.lock_s * 1000)),
            "statement_timeout": max(1, round(patience.statement_s * 1000)),
            "idle_in_transaction_session_timeout": max(1, round(patience.statement_s * 1000)),
            "TimeZone": "UTC",
            "default_transaction_read_only": "off" if writable else "on",
        }
        if connection.info.server_version >= 140_000:
            # What a call that was broken off was doing is undone within a second, and its locks with it.
            options["client_connection_check_interval"] = 1000
        settings = ", ".join(["set_config(%s, %s, false)"] * len(options))
        connection.execute(f"SELECT {settings}", [str(part) for option in options.items() for part in option])
    except BaseException:
        connection.close()
        raise
    # In binary results a timestamptz is an int of microseconds since 2000, see `rows`.
    connection.adapters.register_loader("timestamptz", Int8BinaryLoader)
    return connection


def parameters_of(url: str) -> dict[str, Any]:
    """Return what to connect to `url` with; raises `ConfigError` for a URL that PostgreSQL does not take."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # What the parser says quotes parts of the URL.
        raise ConfigError("PostgreSQL does not understand this URL", key="store.url") from None
    return {"connect_timeout": _CONNECT_TIMEOUT_S, **_DEFAULTS, **given}

"""The store in a PostgreSQL database, for several feeds and for whoever else wants to read candles."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import trio

from candleactors.core.stretches import Stretch, runs
from candleactors.errors import LocalProtocolError
from candleactors.model import Candle, Gap, GapSummary, Stream
from candleactors.settings import shown_url
from candleactors.stores.base import Standing
from candleactors.stores.merging import Tally, merged
from candleactors.stores.postgres import partitions, rows
from candleactors.stores.postgres.connection import Link, Patience, Session
from candleactors.stores.postgres.gaps import select_gaps, summary, write_gaps
from candleactors.stores.postgres.locks import take_turn
from candleactors.stores.postgres.pruning import prune, reclaim

T = TypeVar("T")

_CLOSE_TIMEOUT_S: Final = 10.0
_FIRST_MS: Final = -(1 << 63)
_LAST_MS: Final = (1 << 63) - 1


@asynccontextmanager
async def open_postgres(
    url: str, *, threaded: bool = True, read_only: bool = False, patience: Patience | None = None
) -> AsyncIterator[PostgresStore]:
    """Open the store at `url` for the body of ``async with``; see `PostgresStore.open`."""
    store = await PostgresStore.open(url, threaded=threaded, read_only=read_only, patience=patience)
    try:
        yield store
    finally:
        await store.aclose()


class PostgresStore:
    """A `candleactors.stores.base.Store` in the schema ``market_data`` of a PostgreSQL database.

    One connection writes, another reads, so that a long query never delays the writer; each is used by one call at a
    time and is opened anew after any failure. Any number of other stores may write to the same database: what a row
    gives way to is decided there, and writers take turns. Calls block a worker thread, not the event loop. A cancelled
    call returns at once and its connection is thrown away; a cancelled `write` has written all or nothing, or will in a
    moment.
    """

    def __init__(
        self, url: str, *, threaded: bool = True, read_only: bool = False, patience: Patience | None = None
    ) -> None:
        """See `open`, which also connects; this does not, and raises `ConfigError` where the URL is wrong."""
        patience = patience or Patience()
        self.name = shown_url(url)
        """What to call the store: its URL without the password."""
        self._reader = Link(url, self.name, patience, writable=False, threaded=threaded)
        self._writer = None if read_only else Link(url, self.name, patience, writable=True, threaded=threaded)
        self._closed = False

    @classmethod
    async def open(
        cls, url: str, *, threaded: bool = True, read_only: bool = False, patience: Patience | None = None
    ) -> PostgresStore:
        """Return the store at `url`, its tables made if the database has none; the caller owns it and calls `aclose`.

        `threaded=False` works inline and blocks the event loop: for tests in virtual time, and for commands. `patience`
        says how long calls wait. Raises `StoreUnavailable` where the server cannot be reached or refuses, and
        `ConfigError` where the URL is wrong or the tables are not of this version.
        """
        store = cls(url, threaded=threaded, read_only=read_only, patience=patience)
        try:
            for link in (store._writer, store._reader):
                if link is not None:
                    await link.run(lambda session: None)
        except BaseException:
            await store.aclose()
            raise
        return store

    async def write(self, candles: Sequence[Candle], gaps: Sequence[Gap], *, repaired_ms: int | None = None) -> None:
        """Upsert in one transaction; see `Store.write`. Precedence: closed, then revision, then complete, then time."""
        await self._write(functools.partial(_write, candles=candles, gaps=gaps, repaired_ms=repaired_ms))

    async def merge(
        self, candles: Sequence[Candle], *, corrects: bool, repaired_ms: int | None = None
    ) -> dict[Stream, Tally]:
        """Merge closed candles in one transaction, none twice; see `Archive.merge`."""
        return await self._write(functools.partial(_merge, candles=candles, corrects=corrects, repaired_ms=repaired_ms))

    async def tails(self, starts_ms: Mapping[Stream, int]) -> dict[Stream, list[Candle]]:
        """Return the closed candles of each stream that open at or after its start, or else its newest one."""
        return await self._read(functools.partial(_tails, starts_ms=dict(starts_ms)))

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
        start = rows.instant(_FIRST_MS if start_ms is None else start_ms)
        end = rows.instant(_LAST_MS if end_ms is None else end_ms)
        statement = f"{rows.SELECT_RANGE} {'DESC' if newest else 'ASC'} LIMIT %s"
        parameters = (*rows.name_of(stream), start, end, None if limit is None else min(limit, _LAST_MS))

        def query(session: Session) -> list[Candle]:
            found = session.connection.execute(statement, parameters, binary=True).fetchall()
            if newest:
                found.reverse()
            return [rows.to_candle(stream, row) for row in found]

        return await self._read(query)

    async def standing(self, stream: Stream, count: int) -> Standing:
        """Return the gaps of `stream` and its newest closed candles, `count` at most."""

        def query(session: Session) -> Standing:
            gaps = select_gaps(session.connection, stream)
            parameters = (*rows.name_of(stream), count)
            found = session.connection.execute(rows.SELECT_NEWEST, parameters, binary=True).fetchall()
            return Standing(tuple(gaps), tuple(rows.to_candle(stream, row) for row in reversed(found)))

        return await self._read(query)

    async def gaps(self, stream: Stream) -> list[Gap]:
        """Return the gaps of `stream` that no candle has filled, ascending and disjoint."""
        return await self._read(lambda session: select_gaps(session.connection, stream))

    async def covered(
        self, stream: Stream, start_ms: int | None = None, end_ms: int | None = None, *, complete: bool = False
    ) -> list[Stretch]:
        """Return where closed candles open in [`start_ms`, `end_ms`] without a hole; see `Store.covered`."""
        start = rows.instant(_FIRST_MS if start_ms is None else start_ms)
        end = rows.instant(_LAST_MS if end_ms is None else end_ms)
        parameters = (*rows.name_of(stream), start, end, complete)

        def query(session: Session) -> list[Stretch]:
            found = session.connection.execute(rows.SELECT_EDGES, parameters, binary=True)
            return list(runs((rows.at_ms(opens), rows.at_ms(ends), *edges) for opens, ends, *edges in found))

        return await self._read(query)

    async def gap_summary(self, since_ms: int) -> GapSummary:
        """Return how many gaps are open and what was repaired since `since_ms`; see `Store.gap_summary`."""
        return await self._read(lambda session: summary(session.connection, since_ms))

    async def streams(self) -> list[Stream]:
        """Return every stream the store knows, sorted by name and length of the timeframe."""

        def query(session: Session) -> list[Stream]:
            found = session.connection.execute("SELECT venue, symbol, timeframe FROM market_data.stream").fetchall()
            return [rows.to_stream(row) for row in found]

        found = await self._read(query)
        return sorted(found, key=lambda stream: (stream.venue, stream.symbol, stream.timeframe.nominal_ms))

    async def prune(self, stream: Stream, before_ms: int, *, most: int) -> int:
        """Delete what `stream` has from before `before_ms`, `most` candles at a time; see `Store.prune`."""
        return await self._write(functools.partial(prune, stream=stream, before_ms=before_ms, most=most))

    async def reclaim(self) -> None:
        """Drop the partitions, or the chunks of a hypertable, in which no row is left; see `Store.reclaim`."""
        await self._write(reclaim)

    async def aclose(self) -> None:
        """Close both connections; idempotent, also when cancelled."""
        if self._closed:
            return
        self._closed = True
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_TIMEOUT_S):
            for link in (self._reader, self._writer):
                if link is not None:
                    await link.aclose()

    async def _read(self, work: Callable[[Session], T]) -> T:
        self._check_open()
        return await self._reader.run(work)

    async def _write(self, work: Callable[[Session], T]) -> T:
        self._check_open()
        if self._writer is None:
            raise LocalProtocolError("the store was opened for reading only")
        return await self._writer.run(work)

    def _check_open(self) -> None:
        if self._closed:
            raise LocalProtocolError("the store is closed")


def _write(session: Session, candles: Sequence[Candle], gaps: Sequence[Gap], repaired_ms: int | None) -> None:
    if not candles and not gaps:
        return

    def write() -> None:
        with session.connection.transaction():
            # Before our turn: the encoding of one writer takes place while another one's rows are compared.
            _bring(session, candles)
            take_turn(session.connection)
            _upsert(session, candles, gaps, repaired_ms)

    _with_room(session, candles, write)
    _note_streams(session, candles, gaps)


def _with_room(session: Session, candles: Sequence[Candle], write: Callable[[], T]) -> T:
    """Return what `write` returns, a transaction that writes `candles`; see `partitions.with_room`."""
    if not session.partitioned:
        return write()
    opens_ms = (candle.open_time_ms for candle in candles)
    return partitions.with_room(session.connection, session.months, opens_ms, write)


def _bring(session: Session, candles: Sequence[Candle]) -> None:
    """Send `candles` to where nobody but this session sees them until the transaction ends."""
    if candles:
        with session.connection.cursor() as cursor, cursor.copy(rows.COPY) as copy:
            copy.set_types(rows.COPY_TYPES)
            for row in rows.to_rows(candles):
                copy.write_row(row)


def _upsert(session: Session, candles: Sequence[Candle], gaps: Sequence[Gap], repaired_ms: int | None) -> None:
    """Write `gaps` and `candles`, which were brought."""
    connection = session.connection
    new = sorted(_names(candles, gaps) - session.streams)
    with connection.cursor() as cursor:
        if new:
            cursor.executemany("INSERT INTO market_data.stream VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", new)
        if candles:
            cursor.execute(rows.UPSERT)
    if repaired_ms is None:
        repaired_ms = max((candle.received_ms for candle in candles), default=0)
    write_gaps(connection, candles, gaps, repaired_ms)


def _note_streams(session: Session, candles: Sequence[Candle], gaps: Sequence[Gap]) -> None:
    """Remember which streams are listed, now that the transaction that listed them is committed."""
    session.streams |= _names(candles, gaps)


def _names(candles: Sequence[Candle], gaps: Sequence[Gap]) -> set[rows.Name]:
    names = {(candle.venue, candle.symbol, candle.timeframe.text) for candle in candles}
    return names | {rows.name_of(gap.stream) for gap in gaps}


def _merge(session: Session, candles: Sequence[Candle], corrects: bool, repaired_ms: int | None) -> dict[Stream, Tally]:
    merge = functools.partial(_merge_at_once, session, candles, corrects, repaired_ms)
    tallies, written = _with_room(session, candles, merge)
    _note_streams(session, written, ())
    return tallies


def _merge_at_once(
    session: Session, candles: Sequence[Candle], corrects: bool, repaired_ms: int | None
) -> tuple[dict[Stream, Tally], list[Candle]]:
    by_stream: defaultdict[Stream, list[Candle]] = defaultdict(list)
    for candle in candles:
        by_stream[candle.stream].append(candle)
    tallies: dict[Stream, Tally] = {}
    written: list[Candle] = []
    with session.connection.transaction():
        take_turn(session.connection)
        for stream, group in by_stream.items():
            stored = _select_some(session, stream, group)
            tally = tallies[stream] = Tally()
            for candle in group:
                outcome, merger = merged(stored.get(candle.open_time_ms), candle, corrects=corrects)
                tally.count(outcome)
                if merger is not None:
                    written.append(merger)
        if written:
            _bring(session, written)
            _upsert(session, written, (), repaired_ms)
    return tallies, written


def _select_some(session: Session, stream: Stream, like: Sequence[Candle]) -> dict[int, Candle]:
    """Return the stored candles of the intervals of `like`, by open time."""
    opens = [rows.instant(candle.open_time_ms) for candle in like]
    found = session.connection.execute(rows.SELECT_SOME, (*rows.name_of(stream), opens), binary=True)
    stored = [rows.to_candle(stream, row) for row in found]
    return {candle.open_time_ms: candle for candle in stored}


def _tails(session: Session, starts_ms: dict[Stream, int]) -> dict[Stream, list[Candle]]:
    found: dict[Stream, list[Candle]] = {}
    for statement in (rows.SELECT_TAILS, rows.SELECT_LATEST):
        wanted = [stream for stream in starts_ms if stream not in found]
        if not wanted:
            break
        names = [list(column) for column in zip(*map(rows.name_of, wanted), strict=True)]
        starts = [rows.instant(starts_ms[stream]) for stream in wanted]
        for number, *row in session.connection.execute(statement, (*names, starts), binary=True):
            stream = wanted[number - 1]
            found.setdefault(stream, []).append(rows.to_candle(stream, tuple(row)))
    return {stream: found[stream] for stream in starts_ms if stream in found}

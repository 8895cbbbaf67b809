"""The buffered store: writes to a database, or to a file while the database takes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import trio
from attrs import define, field, frozen

from candleactors.core.stretches import Stretch
from candleactors.errors import LocalProtocolError, StoreRefused, StoreUnavailable
from candleactors.model import Candle, Gap, GapSummary, Stream
from candleactors.settings import StoreSettings
from candleactors.stores.base import Archive, Standing
from candleactors.stores.buffered.batch import Batch
from candleactors.stores.buffered.file import BufferFile
from candleactors.stores.buffered.recent import Recent
from candleactors.stores.gaps import passed_over
from candleactors.stores.merging import Tally

T = TypeVar("T")

_READERS_WAIT_S: Final = 10.0
"""How long who reads waits until what is on disk is in the database."""
_FAR_MS: Final = 1 << 53


@frozen
class Outage:
    """How an outage stands: `error` says why the database takes nothing, ``None`` if it takes rows again.

    `buffered` rows wait on disk, `drained` have gone on to the database since it began; with neither an error nor rows
    that wait, it is over.
    """

    error: str | None
    buffered: int
    drained: int


@asynccontextmanager
async def open_buffered(
    remote: Archive,
    settings: StoreSettings,
    *,
    on_outage: Callable[[Outage], None] = lambda outage: None,
    threaded: bool = True,
) -> AsyncIterator[BufferedStore]:
    """Open a buffered store around `remote`, which it closes, for the body of ``async with``.

    The database need not be there; where it is, and does not let us in, `StoreRefused` is raised. Raises `ConfigError`
    where its tables are not of this version, and like `BufferFile.open` where the file cannot be used.
    """
    try:
        file = await BufferFile.open(settings.buffer, settings.place, threaded=threaded)
        store = BufferedStore(remote, file, settings, on_outage)
    except BaseException:
        await remote.aclose()
        raise
    try:
        await store.look()
        yield store
    finally:
        await store.aclose()


@define(eq=False)
class _Trouble:
    """An outage: it began at `since_s`, and is over once everything is in the database."""

    since_s: float
    error: StoreUnavailable | None = None
    """Why the database takes nothing; ``None``: it does, or nobody has tried yet."""
    down_s: float = 0.0
    """Since when it takes nothing."""
    drained: int = 0
    back: trio.Event = field(factory=trio.Event)
    """Set once it takes rows again; another event each time that it ceases to."""
    over: trio.Event = field(factory=trio.Event)
    joined: set[Stream] = field(factory=set)
    """Streams whose rows follow on what the database has, or on a gap."""


class BufferedStore:
    """A `candleactors.stores.base.Store` that writes to `remote` and, while that takes nothing, to a file.

    What is in the file goes on in order, by `drain`, which somebody calls as long as there is an outage; until the last
    of it has gone, whatever is written goes behind it. A write fails only where the file takes nothing either, or holds
    `max_buffered` rows. Reading says everything that was written, or fails: while rows wait on disk it waits a moment
    for them, and raises `StoreUnavailable` then. Only where a stream stands is said at any time, see `standing`.
    """

    def __init__(
        self, remote: Archive, file: BufferFile, settings: StoreSettings, on_outage: Callable[[Outage], None]
    ) -> None:
        """Takes both over. `on_outage` is told whenever an outage begins, goes on, or ends."""
        self.drained = 0
        """Rows that went from the file to the database so far."""
        self.outages = 0
        """How often the database ceased to take rows, and has begun again since or not."""
        self.capacity = settings.max_buffered
        """Rows that the file may hold."""
        self._remote = remote
        self._file = file
        self._settings = settings
        self._on_outage = on_outage
        self._recent: Recent | None = None
        self._begun = trio.Event()
        self._trouble: _Trouble | None = None
        self._closed = False
        if file.rows:
            self._trouble = _Trouble(trio.current_time())
            self._begun.set()
            self._tell()

    # -- how it is --------------------------------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Rows that wait on disk."""
        return self._file.rows

    @property
    def begun(self) -> trio.Event:
        """Set as long as there is an outage, and something for `drain` to do; another event after each."""
        return self._begun

    @property
    def error(self) -> str | None:
        """Why the database does not have everything yet; ``None`` if it does."""
        if self._trouble is None:
            return None
        if self._trouble.error is not None:
            return str(self._trouble.error)
        return f"{self.buffered} rows on disk are yet to be written to the database"

    @property
    def reachable(self) -> bool:
        """Whether the database did what it was last asked to."""
        return self._trouble is None or self._trouble.error is None

    def outage_s(self) -> float | None:
        """Return for how many seconds there has been an outage; ``None`` if there is none."""
        return None if self._trouble is None else trio.current_time() - self._trouble.since_s

    # -- writing ----------------------------------------------------------------------------------------------------

    async def write(self, candles: Sequence[Candle], gaps: Sequence[Gap], *, repaired_ms: int | None = None) -> None:
        """Upsert in one transaction, or have it done later; see `Store.write`."""
        self._check_open()
        batch = Batch(candles, gaps, repaired_ms)
        if self._trouble is None:
            try:
                await self._remote.write(candles, gaps, repaired_ms=repaired_ms)
            except StoreUnavailable as error:
                self._failed(error)
            else:
                return
        if not batch.rows:
            await trio.lowlevel.checkpoint()
            return
        if self.buffered + batch.rows > self.capacity:
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable(f"{self._file.path}: no room for more than {self.capacity} rows; {self.error}")
        await self._file.append(batch)
        if self._recent is not None:
            self._recent.add(batch)

    async def look(self) -> None:
        """Look whether the database is there; without it there is an outage. Raises `StoreRefused`, `ConfigError`."""
        try:
            await self._remote.write([], [])
        except StoreRefused:
            raise
        except StoreUnavailable as error:
            self._failed(error)

    async def drain(self, most: int) -> int:
        """Write the oldest batches of the file to the database, in one transaction; return of how many rows.

        That is of `most` rows, or one batch. With none left, the database is merely looked at. Then, or with the last
        batch, the outage is over. Raises `StoreUnavailable` where the database takes nothing or the file cannot be
        read.
        """
        self._check_open()
        trouble = self._trouble
        if trouble is None:
            await trio.lowlevel.checkpoint()
            return 0
        try:
            run = await self._file.oldest(most)
            if run is None or trouble.error is not None:
                # It may be empty yet, and only writing makes the tables.
                await self._remote.write([], [])
            if run is not None:
                batch = run.batch
                gaps = [*await self._passed_over(batch, trouble), *batch.gaps]
                await self._remote.write(batch.candles, gaps, repaired_ms=batch.repaired_ms)
        except StoreUnavailable as error:
            self._failed(error)
            raise
        if trouble.error is not None:
            trouble.error = None
            trouble.back.set()
            if self.buffered:
                self._tell()
        if run is None:
            rows = 0
        else:
            rows = run.batch.rows
            trouble.drained += rows
            self.drained += rows
            await self._file.discard(run)
        if not self.buffered:
            self._end()
        return rows

    async def _passed_over(self, batch: Batch, trouble: _Trouble) -> list[Gap]:
        """Return a gap for each stream of which `batch` begins later than the database ends.

        A stream that began without the database did not know where it stood there, and left a hole.
        """
        opens: defaultdict[Stream, list[int]] = defaultdict(list)
        for candle in batch.candles:
            opens[candle.stream].append(candle.open_time_ms)
        for gap in batch.gaps:
            opens[gap.stream].append(gap.first_open_ms)
        unknown = [stream for stream in opens if stream not in trouble.joined]
        found = []
        newest = await self._remote.tails(dict.fromkeys(unknown, _FAR_MS)) if unknown else {}
        for stream in unknown:
            last_ms = newest[stream][-1].open_time_ms if stream in newest else None
            hole = None if last_ms is None else passed_over(stream, last_ms, opens[stream])
            if hole is not None or last_ms is None:
                # What follows on a gap follows too.
                last_ms = (await self._remote.standing(stream, 1)).last_ms
                hole = None if last_ms is None else passed_over(stream, last_ms, opens[stream])
            if hole is not None:
                found.append(hole)
            if last_ms is None or max(opens[stream]) > last_ms:
                trouble.joined.add(stream)
        return found

    def _failed(self, error: StoreUnavailable) -> None:
        trouble = self._trouble or self._begin()
        if trouble.error is None:
            trouble.down_s, trouble.back = trio.current_time(), trio.Event()
            self.outages += 1
        trouble.error = error
        self._tell()

    def _begin(self) -> _Trouble:
        self._trouble = _Trouble(trio.current_time())
        self._begun.set()
        return self._trouble

    def _end(self) -> None:
        trouble, self._trouble, self._recent = self._trouble, None, None
        self._begun = trio.Event()
        if trouble is not None:
            trouble.over.set()
            self._on_outage(Outage(None, 0, trouble.drained))

    def _tell(self) -> None:
        assert self._trouble is not None
        error = None if self._trouble.error is None else str(self._trouble.error)
        self._on_outage(Outage(error, self.buffered, self._trouble.drained))

    # -- reading ----------------------------------------------------------------------------------------------------

    async def standing(self, stream: Stream, count: int) -> Standing:
        """Return the gaps of `stream` and its newest closed candles, `count` at most, those on disk included.

        A database that takes nothing is waited for, up to `start_wait_s` from when that began. Then what is on disk is
        all there is to say: the stream begins without what the database has. Raises `StoreUnavailable` where the
        database is there and does not answer this.
        """
        self._check_open()
        failed = False
        while True:
            trouble = self._trouble
            if trouble is not None and trouble.error is not None:
                until_s = trouble.down_s + self._settings.start_wait_s
                with trio.move_on_at(until_s):
                    await trouble.back.wait()
                if not trouble.back.is_set():
                    return (await self._buffered()).upon(Standing(), stream, count)
                continue
            # In this order: what goes on to the database meanwhile is seen twice, which is harmless.
            recent = await self._buffered() if self.buffered else None
            try:
                stored = await self._remote.standing(stream, count)
            except StoreUnavailable as error:
                if failed:
                    raise
                failed = True
                self._failed(error)
                continue
            return stored if recent is None else recent.upon(stored, stream, count)

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
        await self._settled()
        return await self._remote.candles(stream, start_ms, end_ms, limit, newest=newest)

    async def tails(self, starts_ms: Mapping[Stream, int]) -> dict[Stream, list[Candle]]:
        """Return the closed candles of each stream that open at or after its start, or else its newest one."""
        await self._settled()
        return await self._remote.tails(starts_ms)

    async def gaps(self, stream: Stream) -> list[Gap]:
        """Return the gaps of `stream` that no candle has filled, ascending and disjoint."""
        await self._settled()
        return await self._remote.gaps(stream)

    async def covered(
        self, stream: Stream, start_ms: int | None = None, end_ms: int | None = None, *, complete: bool = False
    ) -> list[Stretch]:
        """Return where closed candles open without an interval between them; see `Store.covered`."""
        await self._settled()
        return await self._remote.covered(stream, start_ms, end_ms, complete=complete)

    async def gap_summary(self, since_ms: int) -> GapSummary:
        """Return how many gaps are open and what was repaired since `since_ms`; see `Store.gap_summary`."""
        await self._settled()
        return await self._remote.gap_summary(since_ms)

    async def streams(self) -> list[Stream]:
        """Return every stream the store knows, sorted by name and length of the timeframe."""
        await self._settled()
        return await self._remote.streams()

    async def prune(self, stream: Stream, before_ms: int, *, most: int) -> int:
        """Delete what `stream` has from before `before_ms`, in one transaction; see `Store.prune`."""
        await self._settled()
        return await self._remote.prune(stream, before_ms, most=most)

    async def reclaim(self) -> None:
        """Give back the space of what was pruned; see `Store.reclaim`."""
        await self._settled()
        await self._remote.reclaim()

    async def merge(
        self, candles: Sequence[Candle], *, corrects: bool, repaired_ms: int | None = None
    ) -> dict[Stream, Tally]:
        """Merge closed candles in one transaction, none twice; see `Archive.merge`. It is not buffered."""
        await self._settled()
        return await self._remote.merge(candles, corrects=corrects, repaired_ms=repaired_ms)

    async def aclose(self) -> None:
        """Close the file and the database; idempotent, also when cancelled. What waits on disk stays there."""
        if not self._closed:
            self._closed = True
            await self._file.aclose()
            await self._remote.aclose()

    async def _buffered(self) -> Recent:
        """Return what the file says of where streams stand, kept true from then on until the outage is over."""
        if self._recent is not None:
            return self._recent
        recent, last = Recent(), 0
        while (run := await self._file.oldest(self._settings.batch, last)) is not None:
            recent.add(run.batch)
            last = run.last
        if self._trouble is not None:
            self._recent = recent
        return recent

    async def _settled(self) -> None:
        """Return once the database has everything; raise `StoreUnavailable` where that takes too long."""
        self._check_open()
        trouble = self._trouble
        if trouble is None:
            return
        if trouble.error is None:
            with trio.move_on_after(_READERS_WAIT_S):
                await trouble.over.wait()
        await trio.lowlevel.checkpoint()
        if not trouble.over.is_set():
            waiting = f"; {self.buffered} rows wait on disk" if self.buffered and trouble.error else ""
            raise StoreUnavailable(f"{self.error}{waiting}")

    def _check_open(self) -> None:
        if self._closed:
            raise LocalProtocolError("the store is closed")

"""The disk: a real SQLite store that outlives simulated processes, and misbehaves when told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from candleactors.core.stretches import Stretch
from candleactors.errors import StoreUnavailable
from candleactors.model import Candle, Gap, GapSummary, Stream
from candleactors.stores.base import Standing
from candleactors.stores.sqlite import SqliteStore

_SLOW_S = 3.0


class Disk:
    """Opens the same file for one simulated process after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._troubles: dict[str, float] = {}

    async def open(self) -> ProcessStore:
        """Return the store of a new process, which owns it."""
        return ProcessStore(await SqliteStore.open(self._path, threaded=False), self)

    def trouble(self, kind: str, duration_s: float) -> None:
        """Misbehave from now on; see `candleactors.simulation.acts.StoreTrouble`."""
        self._troubles[kind] = max(trio.current_time() + duration_s, self._troubles.get(kind, 0.0))

    def has(self, kind: str) -> bool:
        """Whether this trouble is going on."""
        return self._troubles.get(kind, 0.0) > trio.current_time()


class ProcessStore:
    """What one simulated process sees of the disk; a `candleactors.stores.base.Store`.

    Once the process is dead it writes and reads nothing any more: what its tasks still do before they are gone would
    not have happened. Calls run inline, so a process dies between transactions; what SQLite makes of a death within
    one is tested with real processes.
    """

    def __init__(self, store: SqliteStore, disk: Disk) -> None:
        self.dead = False
        self.refused = False
        """Whether the last write was refused: what was to be written is still in the process."""
        self._store = store
        self._disk = disk

    async def write(self, candles: Sequence[Candle], gaps: Sequence[Gap], *, repaired_ms: int | None = None) -> None:
        """See `Store.write`."""
        if self._disk.has("slow"):
            await trio.sleep(_SLOW_S)
        self.refused = True
        self._check("full", "the disk is full")
        await self._store.write(candles, gaps, repaired_ms=repaired_ms)
        self.refused = False
        self._check("unsure", "writing failed")

    async def candles(
        self,
        stream: Stream,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int | None = None,
        *,
        newest: bool = False,
    ) -> list[Candle]:
        """See `Store.candles`."""
        self._check("unreadable", "the disk does not answer")
        return await self._store.candles(stream, start_ms, end_ms, limit, newest=newest)

    async def tails(self, starts_ms: Mapping[Stream, int]) -> dict[Stream, list[Candle]]:
        """See `Store.tails`."""
        self._check("unreadable", "the disk does not answer")
        return await self._store.tails(starts_ms)

    async def standing(self, stream: Stream, count: int) -> Standing:
        """See `Store.standing`."""
        self._check("unreadable", "the disk does not answer")
        return await self._store.standing(stream, count)

    async def gaps(self, stream: Stream) -> list[Gap]:
        """See `Store.gaps`."""
        self._check("unreadable", "the disk does not answer")
        return await self._store.gaps(stream)

    async def covered(
        self, stream: Stream, start_ms: int | None = None, end_ms: int | None = None, *, complete: bool = False
    ) -> list[Stretch]:
        """See `Store.covered`."""
        self._check("unreadable", "the disk does not answer")
        return await self._store.covered(stream, start_ms, end_ms, complete=complete)

    async def gap_summary(self, since_ms: int) -> GapSummary:
        """See `Store.gap_summary`."""
        self._check("unreadable", "the disk does not answer")
        return await self._store.gap_summary(since_ms)

    async def streams(self) -> list[Stream]:
        """See `Store.streams`."""
        self._check("unreadable", "the disk does not answer")
        return await self._store.streams()

    async def prune(self, stream: Stream, before_ms: int, *, most: int) -> int:
        """See `Store.prune`."""
        self._check("full", "the disk is full")
        return await self._store.prune(stream, before_ms, most=most)

    async def reclaim(self) -> None:
        """See `Store.reclaim`."""
        self._check("full", "the disk is full")
        await self._store.reclaim()

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._store.aclose()

    def _check(self, kind: str, problem: str) -> None:
        if self.dead:
            raise StoreUnavailable("the process is dead")
        if self._disk.has(kind):
            raise StoreUnavailable(problem)

"""A database that goes away and comes back, for tests of what is done meanwhile; and a buffered store around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from store_model import StoreModel

from candleactors.core.stretches import Stretch
from candleactors.errors import StoreUnavailable
from candleactors.model import Candle, Gap, GapSummary, Stream
from candleactors.settings import StoreSettings
from candleactors.stores.base import Standing
from candleactors.stores.buffered import BufferedStore, Outage, open_buffered
from candleactors.stores.merging import Tally
from candleactors.validators import Secret

URL = "postgresql://candle:s3cret@db.example/market"
BATCH = 6


def settings_for(folder: Path, **changes: Any) -> StoreSettings:
    return StoreSettings(**{"url": Secret(URL), "buffer": folder / "buffer.sqlite", "batch": BATCH, **changes})


DOWN = StoreUnavailable("postgresql://candle@db.example/market: the connection broke")


class Database:
    """A database that outlives those who use it, goes away and comes back; and fails after it has committed."""

    def __init__(self) -> None:
        self.model = StoreModel()
        self.error: StoreUnavailable | None = None
        self.commits_first = False
        self.written: list[Candle | Gap] = []
        """Rows of all writes, in order."""
        self.asked = 0

    async def write(self, candles: Sequence[Candle], gaps: Sequence[Gap], *, repaired_ms: int | None = None) -> None:
        await self._check(lambda: None if not self.commits_first else self._take(candles, gaps))
        self._take(candles, gaps)

    def _take(self, candles: Sequence[Candle], gaps: Sequence[Gap]) -> None:
        self.written += [*candles, *gaps]
        self.model.write(candles, gaps, 0)

    async def candles(
        self,
        stream: Stream,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int | None = None,
        *,
        newest: bool = False,
    ) -> list[Candle]:
        await self._check()
        return self.model.candles(stream)

    async def tails(self, starts_ms: Mapping[Stream, int]) -> dict[Stream, list[Candle]]:
        await self._check()
        found = {stream: self.model.tail(stream, start_ms) for stream, start_ms in starts_ms.items()}
        return {stream: candles for stream, candles in found.items() if candles}

    async def standing(self, stream: Stream, count: int) -> Standing:
        await self._check()
        closed = [row for row in self.model.candles(stream) if row.closed]
        return Standing(tuple(self.model.gaps(stream)), tuple(closed[-count:]))

    async def gaps(self, stream: Stream) -> list[Gap]:
        await self._check()
        return self.model.gaps(stream)

    async def gap_summary(self, since_ms: int) -> GapSummary:
        await self._check()
        return self.model.summary(since_ms)

    async def streams(self) -> list[Stream]:
        raise NotImplementedError

    async def covered(
        self, stream: Stream, start_ms: int | None = None, end_ms: int | None = None, *, complete: bool = False
    ) -> list[Stretch]:
        raise NotImplementedError

    async def prune(self, stream: Stream, before_ms: int, *, most: int) -> int:
        raise NotImplementedError

    async def reclaim(self) -> None:
        raise NotImplementedError

    async def merge(
        self, candles: Sequence[Candle], *, corrects: bool, repaired_ms: int | None = None
    ) -> dict[Stream, Tally]:
        raise NotImplementedError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _check(self, before: Callable[[], None] = lambda: None) -> None:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        if self.error is not None:
            before()
            raise self.error


@asynccontextmanager
async def buffering(
    database: Database, folder: Path, told: list[Outage] | None = None, **changes: Any
) -> AsyncIterator[BufferedStore]:
    on_outage = (lambda outage: None) if told is None else told.append
    async with open_buffered(database, settings_for(folder, **changes), on_outage=on_outage, threaded=False) as store:
        yield store


def state(store: BufferedStore) -> tuple[object, ...]:
    return store.error, store.outage_s(), store.buffered


async def drained(store: BufferedStore) -> None:
    while store.begun.is_set():
        await store.drain(BATCH)

"""The store drain: has what waits on disk go on to the database, as soon as that takes rows again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from candleactors.actors.child import ChildContext
from candleactors.actors.waiting import wait_any
from candleactors.core.backoff import Backoff
from candleactors.core.pace import Pace
from candleactors.errors import StoreUnavailable
from candleactors.settings import StoreSettings
from candleactors.stores.buffered import BufferedStore

MOST_S: Final = 5.0
"""Longest wait between two looks whether the database is back: one costs it next to nothing."""


class StoreDrain:
    """Drains a `BufferedStore` for as long as there is an outage, the oldest rows first, at the pace of the settings.

    It stops after the store writer, and leaves on disk what the database does not take then: the next feed begins with
    that.
    """

    def __init__(
        self,
        store: BufferedStore,
        settings: StoreSettings,
        backoff: Backoff,
        *,
        on_drained: Callable[[], None],
        on_left: Callable[[int], None],
    ) -> None:
        """`on_drained` is called each time the last row has gone from the disk to the database; `on_left` is told at a
        stop how many rows stay on disk, if any do."""
        self._on_drained = on_drained
        self._on_left = on_left
        self._store = store
        self._settings = settings
        self._backoff = backoff
        self._pace = Pace(settings.max_rows_per_s)

    async def run(self, context: ChildContext) -> None:
        """Drain until asked to stop, and then as long as the database takes rows."""
        context.started()
        stopping = context.stopping
        while not stopping.is_set():
            await wait_any(self._store.begun, stopping)
            if not stopping.is_set():
                wait_s = await self._drain()
                await wait_any(stopping, until_s=trio.current_time() + wait_s)
        while self._store.buffered and self._store.reachable:
            await self._drain()
        if self._store.buffered:
            self._on_left(self._store.buffered)

    async def _drain(self) -> float:
        """Drain once; return how long to wait before the next time."""
        try:
            rows = await self._store.drain(self._pace.most(self._settings.batch))
        except StoreUnavailable:
            return min(self._backoff.failed(), MOST_S)
        self._backoff.reset()
        if rows and not self._store.buffered:
            self._on_drained()
        now_s = trio.current_time()
        self._pace.note(now_s, rows)
        return self._pace.wait_s(now_s)

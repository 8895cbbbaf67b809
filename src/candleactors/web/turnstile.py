"""A turnstile: lets many tasks do a little each without keeping others from running.

Trio runs every task that can run before any of them runs again. Five hundred readers that are all sent something at
the end of a minute would thus hold up whoever brings the next candle, for as long as all of them take together.
"""

from __future__ import annotations

import trio


class Turnstile:
    """Lets `at_once` of its waiting tasks through, then everybody else have a turn, then the next ones."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._waiting = trio.lowlevel.ParkingLot()
        self._somebody = trio.Event()

    async def run(self) -> None:
        """Let tasks through, until cancelled."""
        while True:
            if not self._waiting:
                self._somebody = trio.Event()
                await self._somebody.wait()
            self._waiting.unpark(count=self._at_once)
            await trio.lowlevel.checkpoint()

    async def turn(self) -> None:
        """Return when it is the caller's turn, first come, first served. A checkpoint."""
        self._somebody.set()
        await self._waiting.park()

"""Waiting for the first of several events."""

from __future__ import annotations

import math

import trio


async def wait_any(*events: trio.Event, until_s: float = math.inf) -> None:
    """Return once one of `events` is set, or at `until_s` on Trio's clock. A checkpoint."""
    with trio.move_on_at(until_s):
        async with trio.open_nursery() as nursery:

            async def watch(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            for event in events:
                nursery.start_soon(watch, event)

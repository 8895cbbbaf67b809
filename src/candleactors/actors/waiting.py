"""Small tools of structured concurrency."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise what a nursery's group holds by itself where it is one exception only: the reader of a log wants that."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from error.__cause__

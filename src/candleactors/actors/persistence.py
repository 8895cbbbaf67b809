"""Persistence: what fails for the moment is tried again, a bounded number of times."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from candleactors.core.backoff import Backoff
from candleactors.errors import RemoteProtocolError, TransientError

T = TypeVar("T")

TRIES: Final = 8
"""With the usual waits about a minute. The wait that a venue asks for comes on top: its budget rests meanwhile."""


async def persistently(
    attempt: Callable[[], Awaitable[T]],
    backoff: Backoff,
    on_trouble: Callable[[TransientError | RemoteProtocolError], None],
) -> T:
    """Return what `attempt` does, repeated after a growing wait as long as time may cure what is wrong with it.

    The last of `TRIES` failures is raised, all else at once.
    """
    backoff.reset()
    for _ in range(TRIES - 1):
        try:
            return await attempt()
        except (TransientError, RemoteProtocolError) as error:
            on_trouble(error)
            await trio.sleep(backoff.failed())
    try:
        return await attempt()
    except (TransientError, RemoteProtocolError) as error:
        on_trouble(error)
        raise

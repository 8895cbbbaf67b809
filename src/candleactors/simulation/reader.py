"""Readers: subscribers who go on from where they were, whatever happens to the feed, and dawdle when told."""

from __future__ import annotations

import trio

from candleactors.actors.subscription import Subscription
from candleactors.errors import FeedClosed, StoreUnavailable, SubscriberLagged
from candleactors.feed import Feed
from candleactors.model import Cursor, Stream
from candleactors.simulation.judge import Judge
from candleactors.simulation.plan import Audience
from candleactors.simulation.trace import Trace

_AGAIN_S = 1.0


class Reader:
    """One reader over all lives of the feed. What it was given is what `judge` says."""

    def __init__(self, name: str, judge: Judge, trace: Trace, audience: Audience) -> None:
        self.judge = judge
        self.cut_off = 0
        """How often it fell too far behind."""
        self.name = name
        self._trace = trace
        self._audience = audience
        self._cursor: Cursor | None = None
        self._asleep_until_s = 0.0
        self._subscription: Subscription | None = None
        self._scope = trio.CancelScope()
        self._dead = False

    async def read(self, feed: Feed) -> None:
        """Read one life of the feed to its end, or to `die`."""
        self._dead = False
        with trio.CancelScope() as self._scope:
            while not await self._read_on(feed):
                pass

    def reads(self, stream: Stream) -> bool:
        """Whether it is given `stream`."""
        return self._audience.streams is None or str(stream) in self._audience.streams

    def die(self) -> None:
        """Be given nothing more in this life: the process in which it reads is dead."""
        self._dead = True
        if self._cursor is None and self._subscription is not None:
            self._cursor = self._subscription.cursor  # before it moves on, past what nobody will have been given
        self._scope.cancel()

    def dawdle(self, duration_s: float) -> None:
        """Read nothing for so long."""
        self._asleep_until_s = max(self._asleep_until_s, trio.current_time() + duration_s)

    def wake(self) -> None:
        """Read on from the next event."""
        self._asleep_until_s = 0.0

    async def _read_on(self, feed: Feed) -> bool:
        """Read until the feed ends; return ``False`` where the reader has to resume."""
        if self._cursor is not None:
            self.judge.resume(self._cursor)
        try:
            subscription = feed.candles(self._audience.streams, forming=self._audience.forming, after=self._cursor)
        except FeedClosed:
            return True
        self._subscription = subscription
        try:
            async for event in subscription:
                if self._dead:
                    break
                self._trace.event(self.name, event)
                self.judge.take(event)
                self._cursor = None
                if self._asleep_until_s > trio.current_time():
                    await trio.sleep_until(self._asleep_until_s)
        except SubscriberLagged as lagged:
            self.cut_off += 1
            self._cursor = lagged.cursor
            return False
        except StoreUnavailable:
            self._cursor = self._cursor or subscription.cursor
            await trio.sleep(_AGAIN_S)
            return False
        finally:
            # Also when cancelled: what was read is what the reader knows in its next life.
            if self._cursor is None:
                self._cursor = subscription.cursor
            self._subscription = None
            subscription.close()
        return True

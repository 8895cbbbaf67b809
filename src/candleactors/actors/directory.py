"""The directory: what a venue calls the streams that users name in the unified spelling."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import trio
from attrs import frozen

from candleactors.actors.child import ChildContext
from candleactors.actors.interest import Interest
from candleactors.actors.rest import VenueRest
from candleactors.actors.waiting import wait_any
from candleactors.core.backoff import Backoff
from candleactors.errors import CandleactorsError, InvalidSymbol, RemoteProtocolError, TransientError
from candleactors.model import Stream
from candleactors.transport.clock import Clock
from candleactors.venues.listing import Listing
from candleactors.venues.unified import is_unified

FRESH_S = 3600.0
"""A symbol that is not in a list older than this may have come since: the venue is asked again."""


@frozen
class _Wait:
    priority: int
    expires_at_s: float


class Directory:
    """Asks one venue for its list once somebody names a symbol of it in the unified spelling.

    Until the answer is there, what was to be watched waits here. The object outlives the actor, which does the asking.
    """

    def __init__(
        self,
        venue: str,
        *,
        rest: VenueRest,
        interest: Interest,
        clock: Clock,
        backoff: Backoff,
        on_trouble: Callable[[CandleactorsError], None],
        on_unknown: Callable[[Stream, str], None],
        on_spelled: Callable[[Stream, Stream], None],
    ) -> None:
        """`on_unknown` is told of streams that waited in vain, and why; `on_spelled` of what the others are called."""
        self._venue = venue
        self._rest = rest
        self._interest = interest
        self._clock = clock
        self._backoff = backoff
        self._on_trouble = on_trouble
        self._on_unknown = on_unknown
        self._on_spelled = on_spelled
        self._listing: Listing | None = None
        self._read_at_s = -math.inf
        self._waiting: dict[tuple[str, Stream], _Wait] = {}
        self._asked: dict[Stream, None] = {}  # wanted in the venue's spelling, by readers
        self._news = trio.Event()
        self._read = trio.Event()

    async def run(self, context: ChildContext) -> None:
        """Read the venue's list whenever something waits for it, until asked to stop."""
        context.started()
        while not context.stopping.is_set():
            if not (self._waiting or self._asked):
                self._news = trio.Event()
                await wait_any(self._news, context.stopping)
                continue
            try:
                listing = await self._rest.listing()
            except (TransientError, RemoteProtocolError) as error:
                self._on_trouble(error)
                await wait_any(context.stopping, until_s=trio.current_time() + self._backoff.failed())
            else:
                self._backoff.reset()
                self._listing, self._read_at_s = listing, self._clock.monotonic_s()
                self._settle(listing)
                self._read.set()
                self._read = trio.Event()

    def spelled(self, stream: Stream) -> Stream | None:
        """Return `stream` in the venue's own spelling, ``None`` while that is not known.

        Raises `InvalidSymbol` where the venue has no such symbol.
        """
        if not is_unified(stream.symbol):
            return stream
        if self._listing is None:
            return None
        instrument = self._listing.find(stream.symbol)
        if instrument is not None:
            return Stream(stream.venue, instrument.symbol, stream.timeframe)
        if self._clock.monotonic_s() >= self._read_at_s + FRESH_S:
            return None
        raise self._unknown(stream, self._listing)

    def watch(self, owner: str, streams: Iterable[Stream], priority: int, expires_after_s: float | None) -> None:
        """Let `owner` watch `streams` as soon as it is known what the venue calls them."""
        expires_at_s = math.inf if expires_after_s is None else self._clock.monotonic_s() + expires_after_s
        self._waiting.update(((owner, stream), _Wait(priority, expires_at_s)) for stream in streams)
        self._news.set()

    def unwatch(self, owner: str, streams: Iterable[Stream] | None) -> None:
        """Undo `watch`: of all that waits for `owner` where `streams` is ``None``."""
        chosen = None if streams is None else frozenset(streams)
        for key in [key for key in self._waiting if key[0] == owner and (chosen is None or key[1] in chosen)]:
            del self._waiting[key]

    def ask(self, stream: Stream) -> None:
        """Have `on_spelled` told what the venue calls `stream` as soon as that is known."""
        self._asked[stream] = None
        self._news.set()

    async def learn(self, stream: Stream) -> Stream:
        """Return `stream` in the venue's own spelling, waiting until it is known; raises `InvalidSymbol`."""
        while (own := self.spelled(stream)) is None:
            self.ask(stream)
            await self._read.wait()
        return own

    def _settle(self, listing: Listing) -> None:
        waiting, self._waiting = self._waiting, {}
        asked, self._asked = self._asked, {}
        now_s = self._clock.monotonic_s()
        for stream in dict.fromkeys((*asked, *(stream for _, stream in waiting))):
            instrument = listing.find(stream.symbol)
            if instrument is None:
                self._on_unknown(stream, str(self._unknown(stream, listing)))
                continue
            own = Stream(stream.venue, instrument.symbol, stream.timeframe)
            self._on_spelled(stream, own)
            for (owner, wanted), wait in waiting.items():
                if wanted == stream and wait.expires_at_s > now_s:
                    left_s = None if wait.expires_at_s == math.inf else wait.expires_at_s - now_s
                    self._interest.watch(owner, (own,), priority=wait.priority, expires_after_s=left_s)

    def _unknown(self, stream: Stream, listing: Listing) -> InvalidSymbol:
        return InvalidSymbol(
            f'"{stream.symbol}" is not a symbol of {self._venue}', nearest=listing.nearest(stream.symbol)
        )

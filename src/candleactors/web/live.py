"""Live candles over HTTP: one reader's connection, as server-sent events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import msgspec
import trio
from attrs import frozen

from candleactors.actors.subscription import Subscription
from candleactors.errors import FeedClosed, StoreUnavailable, SubscriberLagged
from candleactors.feed import Feed
from candleactors.model import Candle, Cursor, Event, Stream
from candleactors.settings import SubscriberSettings, WebSettings
from candleactors.web import events
from candleactors.web.asgi import Receive, Scope, Send
from candleactors.web.errors import ApiError
from candleactors.web.event_id import EventIds
from candleactors.web.events import EventEncoder
from candleactors.web.turnstile import Turnstile

HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy such as nginx would hold events back
)
_RETRY_MS: Final = 2_000
_EVENTS_A_SEND: Final = 256
"""What a client that stops reading holds in our memory is one send, beside what waits for it."""
_STORE_AGAIN_S: Final = 1.0
_AT_ONCE: Final = 20
"""Readers served before the feed has its turn: together they take some milliseconds."""
_STATE_S: Final = 1.0
_MOST_STATES: Final = 10_000


@frozen
class Reading:
    """What a reader asked for: streams in the venue's own spelling, and where to go on, if anywhere."""

    streams: tuple[Stream, ...]
    after: Cursor | None


class LiveReaders:
    """Everybody who reads live candles of one feed over HTTP. Ends them all when the server stops."""

    def __init__(self, feed: Feed, settings: WebSettings) -> None:
        self.stopping = trio.Event()
        """To be set when the server stops: every connection then ends by itself."""
        self.count = 0
        """How many there are."""
        self._feed = feed
        self._settings = settings
        self._limits = SubscriberSettings(max_pending=settings.max_pending, conflate_s=settings.conflate_s)
        self._encode = EventEncoder()
        self._turnstile = Turnstile(_AT_ONCE)
        self._states: dict[Stream, tuple[float, msgspec.Raw]] = {}
        self._number = 0

    async def run(self) -> None:
        """Have readers served, until cancelled."""
        await self._turnstile.run()

    async def turn(self) -> None:
        """Return when a reader that has something to send may do so."""
        await self._turnstile.turn()

    def admit(self) -> None:
        """Raise `ApiError` where there is no room for another one."""
        if self.count >= self._settings.max_clients:
            raise ApiError(503, "too_many_clients", f"{self.count} clients read live candles already", retry_after_s=5)

    def reader(self, reading: Reading) -> LiveReader:
        """Return the answer to one request, an ASGI application."""
        return LiveReader(self, reading)

    @contextmanager
    def attend(self, reading: Reading) -> Iterator[Subscription]:
        """Subscribe a reader, and watch its streams on its behalf until a while after it has gone.

        Subscribed first: nothing that watching brings is missed.
        """
        self._number += 1
        owner = f"sse:{self._number}"
        self.count += 1
        try:
            subscription = self._feed.candles(reading.streams, forming=True, after=reading.after, limits=self._limits)
            try:
                self._feed.watch(reading.streams, owner=owner)
                yield subscription
            finally:
                subscription.close()
                with suppress(FeedClosed):
                    self._let_go(owner, reading.streams)
        finally:
            self.count -= 1

    def connected(self, reading: Reading) -> bytes:
        """Return the first event of a connection."""
        return events.connected(
            self._states_of(reading.streams),
            resumed=reading.after is not None,
            heartbeat_s=self._settings.heartbeat_s,
            time_ms=self._feed.now_ms(),
        )

    def heartbeat(self, reading: Reading) -> bytes:
        """Return a heartbeat."""
        return events.heartbeat(self._states_of(reading.streams), time_ms=self._feed.now_ms())

    @property
    def heartbeat_s(self) -> float:
        """Seconds between two heartbeats."""
        return self._settings.heartbeat_s

    def encode(self, events_: Iterable[Event], ids: EventIds) -> Iterator[bytes]:
        """Yield what is to be sent for some events of a subscription, in pieces of bounded size."""
        parts: list[bytes] = []
        for count, event in enumerate(events_, 1):
            body, stream, open_ms = self._encode(event)
            if stream is not None:
                parts.append(b"id: %s\n" % ids.advance(stream, open_ms).encode())
            parts.append(body)
            if count % _EVENTS_A_SEND == 0:
                yield b"".join(parts)
                parts = []
        if parts:
            yield b"".join(parts)

    def _states_of(self, streams: tuple[Stream, ...]) -> list[msgspec.Raw]:
        """Return how streams are, or were a moment ago: what one reader was told is good enough for the next."""
        now_s = trio.current_time()
        known, old = self._states, (-math.inf, msgspec.Raw(b""))
        if stale := [stream for stream in streams if known.get(stream, old)[0] < now_s - _STATE_S]:
            if len(known) > _MOST_STATES:
                known.clear()
                stale = list(streams)
            for stream, status in zip(stale, self._feed.streams(stale), strict=True):
                known[stream] = (now_s, events.state(status))
        return [known[stream][1] for stream in streams]

    def _let_go(self, owner: str, streams: tuple[Stream, ...]) -> None:
        if self._settings.linger_s > 0:
            self._feed.watch(streams, owner=owner, expires_after_s=self._settings.linger_s)
        else:
            self._feed.unwatch(owner=owner)


class LiveReader:
    """One connection, as an ASGI application: sends until the reader goes, falls behind, or the feed stops."""

    def __init__(self, readers: LiveReaders, reading: Reading) -> None:
        self._readers = readers
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request. Ends without an error whatever becomes of the reader."""
        await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
            nursery.start_soon(_until_set, self._readers.stopping, nursery.cancel_scope)
            with self._readers.attend(self._reading) as subscription:
                # Who comes back owes nothing more than it said, until it has been given what it missed.
                ids = EventIds(self._reading.streams, self._reading.after or subscription.cursor)
                retry = b"retry: %d\nid: %s\n" % (_RETRY_MS, ids.text().encode())
                await self._say(send, retry + self._readers.connected(self._reading))
                # Beside what is read: a time-out around each read would cost as much as the read.
                nursery.start_soon(self._beat, send)
                await self._serve(subscription, ids, send)
            nursery.cancel_scope.cancel()
        # To a client that has gone this is nothing; one that is sent away is told that there is no more to come.
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _serve(self, subscription: Subscription, ids: EventIds, send: Send) -> None:
        while True:
            try:
                batch = await subscription.batch()
            except SubscriberLagged as lag:
                await self._say(send, events.lagged(str(lag)))
                return
            except StoreUnavailable:
                # What was missed cannot be read now. The heartbeats go on meanwhile.
                await trio.sleep(_STORE_AGAIN_S)
                continue
            except FeedClosed:
                return
            await self._readers.turn()
            for piece in self._readers.encode(batch, ids):
                await _send(send, piece)
            if any(not isinstance(event, Candle) or event.closed for event in batch):
                ids.rebase(subscription.cursor)

    async def _beat(self, send: Send) -> None:
        while True:
            await trio.sleep(self._readers.heartbeat_s)
            await self._say(send, self._readers.heartbeat(self._reading))

    async def _say(self, send: Send, what: bytes) -> None:
        await self._readers.turn()
        await _send(send, what)


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    message: dict[str, Any] = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()
    scope.cancel()


async def _until_set(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()

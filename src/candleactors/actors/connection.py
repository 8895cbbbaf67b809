"""The connection: one WebSocket, its subscriptions, and what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio
from attrs import frozen

from candleactors.actors.budget import MessageBudget, VenueBudget
from candleactors.actors.child import ChildContext
from candleactors.actors.interest import Interest
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.messages import Batch, SequencerMessage
from candleactors.actors.shard import ConnectionReport, Shard
from candleactors.actors.waiting import unwrapped, wait_any
from candleactors.core.subscriptions import Request, RequestKind, SubscriptionBook
from candleactors.errors import LocalProtocolError, MalformedMessage, RemoteProtocolError, StaleStream, TransientError
from candleactors.model import Stream
from candleactors.settings import HealthSettings, VenueSettings
from candleactors.transport.clock import Clock
from candleactors.transport.websocket import WebSocket
from candleactors.venues.base import Acked, Codec, Listed, Refused, Reply

GOING_AWAY = 1001


@frozen
class Rejections:
    """A batch held messages that are not valid; `first` is an example."""

    shard_id: int
    count: int
    first: MalformedMessage


@frozen
class ConnectionDeps:
    """What every connection of a venue works with."""

    codec: Codec
    venue: VenueSettings
    health: HealthSettings
    clock: Clock
    interest: Interest
    budget: VenueBudget
    sequencer: Mailbox[SequencerMessage]
    open_websocket: Callable[[], AbstractAsyncContextManager[WebSocket]]
    on_closing_soon: Callable[[int], None]
    """Called with the shard's id when the venue announces the end of its connection."""
    on_rejections: Callable[[Rejections], None]


class Connection:
    """One life of a shard's connection: from the handshake to the end, whatever ends it.

    It starts from the registry's plan, knows nothing of earlier lives, and raises what ended it: `Disconnected`,
    `ConnectFailed`, or `StaleStream` where the venue stopped listening.
    """

    def __init__(self, shard: Shard, deps: ConnectionDeps, websocket: WebSocket) -> None:
        rules = deps.codec.rules
        self._shard = shard
        self._deps = deps
        self._websocket = websocket
        self._book = SubscriptionBook(
            deps.venue.names_per_request or rules.max_names_per_request, deps.venue.ack_timeout_s
        )
        self._messages = MessageBudget(deps.venue.messages_per_s or rules.messages_per_s)
        self._streams: dict[str, Stream] = {}
        self.connected_at_s = deps.clock.monotonic_s()
        self._last_message_s: float | None = None
        self._rejected = 0
        self._pings = 0
        self._work = trio.Event()

    async def live(self, stopping: trio.Event) -> None:
        """Serve until asked to stop; then close in order. Raises what ended the connection otherwise."""
        with unwrapped():
            async with trio.open_nursery() as nursery:
                for task in (self._follow_plan, self._receive, self._subscribe, self._probe, self._audit):
                    nursery.start_soon(task)
                await stopping.wait()
                await self._websocket.close(GOING_AWAY)
                nursery.cancel_scope.cancel()

    @property
    def settled(self) -> bool:
        """See `LiveConnection.settled`."""
        return self._book.settled

    @property
    def flowing(self) -> bool:
        """See `LiveConnection.flowing`."""
        return self._book.settled and self._book.flowing_share >= 1.0

    def report(self) -> ConnectionReport:
        """See `LiveConnection.report`."""
        return ConnectionReport(
            connected_at_s=self.connected_at_s,
            last_message_s=self._last_message_s,
            messages=self._websocket.messages_received,
            rejected=self._rejected,
            subscriptions=self._book.status(),
        )

    def silent(self) -> dict[str, float]:
        """See `LiveConnection.silent`."""
        health = self._deps.health
        return self._book.silent(self._deps.clock.monotonic_s(), health.stale_after_s, health.first_data_s)

    def unheard(self) -> tuple[str, ...]:
        """See `LiveConnection.unheard`."""
        return self._book.unheard

    def resubscribe(self, names: tuple[str, ...]) -> None:
        """See `LiveConnection.resubscribe`."""
        self._book.resubscribe(names)
        self._work.set()

    async def _follow_plan(self) -> None:
        """Keep the book aimed at what the registry's plan says this shard carries."""
        interest, codec = self._deps.interest, self._deps.codec
        venue = codec.rules.venue
        while True:
            version = interest.version(venue)
            streams = {codec.stream_name(stream): stream for stream in interest.plan(venue).streams_of(self._shard.id)}
            if streams.keys() != self._streams.keys():
                self._streams = streams
                self._book.aim(streams)
                self._work.set()
            await interest.newer(venue, version)

    async def _receive(self) -> None:
        codec, clock, book = self._deps.codec, self._deps.clock, self._book
        while True:
            frames = await self._websocket.receive()
            received_ms = clock.wall_ms()
            now_s = self._last_message_s = clock.monotonic_s()
            decoded = codec.decode(frames, self._streams, received_ms)
            if decoded.open:
                book.on_data(decoded.open, now_s)
            if decoded.closed:
                book.on_data([name for name, _ in decoded.closed], now_s)
            for reply in decoded.replies:
                self._on_reply(reply, now_s)
            if decoded.rejected:
                self._rejected += len(decoded.rejected)
                self._deps.on_rejections(Rejections(self._shard.id, len(decoded.rejected), decoded.rejected[0]))
            if decoded.closing_soon:
                self._deps.on_closing_soon(self._shard.id)
            if decoded.open or decoded.closed or decoded.rejected:
                await self._deps.sequencer.put(Batch(decoded, received_ms))

    def _on_reply(self, reply: Reply, now_s: float) -> None:
        if isinstance(reply, Acked):
            self._book.on_acked(reply.request_id, now_s)
        elif isinstance(reply, Refused):
            self._book.on_refused(reply.request_id, reply.code, reply.message, now_s)
            self._park_refused()
        elif isinstance(reply, Listed):
            self._book.on_listed(reply.request_id, reply.names, now_s)
        self._work.set()

    async def _subscribe(self) -> None:
        """Send what the book wants sent, at the pace the venue allows, and notice what stays unanswered."""
        clock, book = self._deps.clock, self._book
        while True:
            self._work = trio.Event()
            if book.on_tick(clock.monotonic_s()):
                raise StaleStream("requests go unanswered on a live connection")
            self._park_refused()
            while book.has_work:
                self._count_pongs()
                await self._messages.send_slot()
                request = book.next_request(clock.monotonic_s())
                if request is not None:
                    await self._websocket.send(self._frame(request))
            await wait_any(self._work, until_s=book.next_deadline() or math.inf)

    def _frame(self, request: Request) -> bytes:
        codec = self._deps.codec
        if request.kind is RequestKind.SUBSCRIBE:
            return codec.subscribe(request.id, request.names)
        if request.kind is RequestKind.UNSUBSCRIBE:
            return codec.unsubscribe(request.id, request.names)
        frame = codec.list_subscriptions(request.id)
        if frame is None:
            raise LocalProtocolError(f"{codec.rules.venue} cannot list subscriptions and was asked to")
        return frame

    def _park_refused(self) -> None:
        """Take what the venue refuses out of service, so that one bad symbol never troubles the others.

        A name that is merely never answered stays in the plan: REST delivers it, the next connection tries again.
        """
        for refusal in self._book.take_refusals():
            stream = self._streams.get(refusal.name)
            if stream is not None and refusal.code is not None:
                self._deps.interest.park(stream, f"subscription refused: {refusal.message}")

    def _count_pongs(self) -> None:
        """Pongs count against the venue's limit like our own messages."""
        seen = self._websocket.pings_seen
        if seen > self._pings:
            self._messages.note_pong(seen - self._pings)
            self._pings = seen

    async def _probe(self) -> None:
        """Ping a connection on which nothing at all arrives: half-open sockets say nothing for ever."""
        idle_s = self._deps.health.idle_s
        while True:
            # An instant, not a duration: what rounding leaves of a duration may be too short to ever pass.
            due_s = self._websocket.last_byte_s + idle_s
            if trio.current_time() < due_s:
                await trio.sleep_until(due_s)
            else:
                await self._messages.send_slot()
                await self._websocket.probe(idle_s)

    async def _audit(self) -> None:
        """Compare with the venue's own list of subscriptions now and then, where it has one."""
        if self._deps.codec.list_subscriptions(0) is None:
            return
        while True:
            await trio.sleep(self._deps.health.audit_interval_s)
            self._book.audit()
            self._work.set()


async def run_connection(shard: Shard, deps: ConnectionDeps, context: ChildContext) -> None:
    """Be the connection of `shard`, as the body of a child. See `Connection`.

    Passes through the venue's connect budget first, whatever started it.
    """
    await deps.budget.connect()
    try:
        async with deps.open_websocket() as websocket:
            shard.generation += 1
            connection = Connection(shard, deps, websocket)
            shard.connection = connection
            context.started()
            await connection.live(context.stopping)
    except (TransientError, RemoteProtocolError) as error:
        shard.last_disconnect = str(error)
        raise
    finally:
        shard.connection = None

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
from candleactors.actors.traffic import Reason, Traffic, ended_by
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
    traffic: Traffic
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
        self._session = deps.codec.session()
        self._book = SubscriptionBook(
            deps.venue.names_per_request or rules.max_names_per_request, deps.venue.ack_timeout_s
        )
        self._messages = MessageBudget(
            deps.venue.messages_per_s or rules.messages_per_s, rules.names_per_connection, rules.names_window_s
        )
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
                for task in (self._follow_plan, self._receive, self._subscribe, self._keep_alive, self._audit):
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
            bytes=self._websocket.bytes_received,
            rejected=self._rejected,
            subscriptions=self._book.status(),
        )

    def heard(self) -> dict[str, float | None]:
        """See `LiveConnection.heard`."""
        return self._book.heard()

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
        session, clock, book = self._session, self._deps.clock, self._book
        while True:
            frames = await self._websocket.receive()
            received_ms = clock.wall_ms()
            now_s = self._last_message_s = clock.monotonic_s()
            decoded = session.decode(frames, self._streams, received_ms)
            if decoded.open:
                book.on_data(decoded.open, now_s)
            if decoded.closed:
                book.on_data([name for name, _ in decoded.closed], now_s)
            if decoded.alive:
                book.on_data(decoded.alive, now_s)
            for reply in decoded.replies:
                self._on_reply(reply, now_s)
            if decoded.rejected:
                self._rejected += len(decoded.rejected)
                self._deps.on_rejections(Rejections(self._shard.id, len(decoded.rejected), decoded.rejected[0]))
            if decoded.closing_soon:
                self._deps.on_closing_soon(self._shard.id)
            if decoded.open or decoded.closed or decoded.alive or decoded.rejected:
                await self._deps.sequencer.put(Batch(decoded, received_ms))

    def _on_reply(self, reply: Reply, now_s: float) -> None:
        if isinstance(reply, Acked):
            self._book.on_acked(reply.request_id, now_s, reply.names)
        elif isinstance(reply, Refused):
            self._book.on_refused(
                reply.request_id,
                reply.code,
                reply.message,
                now_s,
                names=reply.names,
                voids=reply.voids,
                passing=reply.passing,
            )
            self._park_refused()
        elif isinstance(reply, Listed):
            self._book.on_listed(reply.request_id, reply.names, now_s)
        self._work.set()

    async def _subscribe(self) -> None:
        """Send what the book wants sent, at the pace the venue allows, and notice what stays unanswered."""
        clock, book = self._deps.clock, self._book
        for frame in self._session.opening():
            await self._messages.send_slot()
            await self._websocket.send(frame)
        while True:
            self._work = trio.Event()
            if book.on_tick(clock.monotonic_s()):
                raise StaleStream("requests go unanswered on a live connection")
            self._park_refused()
            while book.has_work:
                self._count_pongs()
                await self._messages.send_slot()
                await self._messages.names_slot()
                request = book.next_request(clock.monotonic_s(), self._messages.names_left)
                if request is not None:
                    await self._request(request)
            await wait_any(self._work, until_s=book.next_deadline() or math.inf)

    async def _request(self, request: Request) -> None:
        session = self._session
        if request.kind is RequestKind.LIST:
            frame = session.list_subscriptions(request.id)
            if frame is None:
                raise LocalProtocolError(f"{self._deps.codec.rules.venue} cannot list subscriptions and was asked to")
        elif request.kind is RequestKind.SUBSCRIBE:
            frame = session.subscribe(request.id, request.names)
        else:
            frame = session.unsubscribe(request.id, request.names)
        self._messages.note_names(len(request.names))
        if frame is not None:
            await self._websocket.send(frame)
        else:
            self._book.on_acked(request.id, self._deps.clock.monotonic_s())

    def _park_refused(self) -> None:
        """Have what the venue refuses taken out of service, so that one bad symbol never troubles the others.

        A name that is merely never answered stays in the plan: REST delivers it, the next connection tries again.
        """
        for refusal in self._book.take_refusals():
            stream = self._streams.get(refusal.name)
            if stream is not None and refusal.code is not None:
                self._deps.interest.refuse(stream, f"subscription refused: {refusal.message}")

    def _count_pongs(self) -> None:
        """Pongs count against the venue's limit like our own messages."""
        seen = self._websocket.pings_seen
        if seen > self._pings:
            self._messages.note_pong(seen - self._pings)
            self._pings = seen

    async def _keep_alive(self) -> None:
        """Send what the venue wants to hear now and then, and ping a connection on which nothing at all arrives.

        Half-open sockets say nothing for ever.
        """
        idle_s, keepalive, websocket = self._deps.health.idle_s, self._deps.codec.rules.keepalive, self._websocket
        if keepalive is not None and keepalive.only_idle:
            idle_s = min(idle_s, keepalive.interval_s)
        always_s = math.inf if keepalive is None or keepalive.only_idle else keepalive.interval_s
        said_s = self.connected_at_s
        while True:
            # Instants, not durations: what rounding leaves of a duration may be too short to ever pass.
            idle_at_s, say_at_s = websocket.last_byte_s + idle_s, said_s + always_s
            now_s = trio.current_time()
            if now_s < min(idle_at_s, say_at_s):
                await trio.sleep_until(min(idle_at_s, say_at_s))
                continue
            await self._messages.send_slot()
            said_s, ping = now_s, self._session.ping()
            if now_s >= idle_at_s:
                await websocket.probe(self._deps.health.idle_s, ping)
            elif ping is not None:
                await websocket.send(ping)

    async def _audit(self) -> None:
        """Compare with the venue's own list of subscriptions now and then, where it has one."""
        if not self._deps.codec.rules.lists_subscriptions:
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
    # Stopped without being at fault, it goes with others, unless somebody says otherwise.
    reason, shard.reason = shard.reason, Reason.RESTART
    opened: WebSocket | None = None
    try:
        async with deps.open_websocket() as websocket:
            opened = websocket
            deps.traffic.connected(reason, websocket)
            shard.generation += 1
            connection = Connection(shard, deps, websocket)
            shard.connection = connection
            context.started()
            await connection.live(context.stopping)
    except Exception as error:
        if isinstance(error, (TransientError, RemoteProtocolError)):
            shard.last_disconnect = str(error)
        if not context.stopping.is_set():
            shard.reason = ended_by(error)
        if opened is None:
            deps.traffic.failed(reason)
        elif shard.reason is Reason.BROKEN and trio.current_time() - opened.last_byte_s >= deps.health.idle_s:
            shard.reason = Reason.TIMEOUT
        raise
    finally:
        shard.connection = None
        if opened is not None:
            deps.traffic.ended(opened)

"""One WebSocket connection of the simulated venue."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from heapq import heappop, heappush
from typing import Protocol

import trio
from attrs import evolve, frozen
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import RemoteProtocolError

from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Close, Granted, Keepalive, Refusal, Request, Session
from candleactors.sim.faults import Fault, FaultKind
from candleactors.sim.rules import Rules
from candleactors.sim.sockets import close
from candleactors.sim.wire import text_frame

_READ_BYTES = 1 << 16
_NEVER_S = float("inf")


class Venue(Protocol):
    """What a connection needs of its simulator."""

    @property
    def rules(self) -> Rules: ...

    @property
    def counters(self) -> Counters: ...

    def now_ms(self) -> int: ...

    def window(self, kind: FaultKind) -> Fault | None:
        """Return the fault of this kind that is going on for the whole venue."""
        ...

    def jitter(self) -> float:
        """Return a number in [0, 1) from the simulator's seed."""
        ...

    def subscribe(self, connection: Connection, name: str) -> None: ...

    def unsubscribe(self, connection: Connection, name: str) -> None: ...


@frozen
class _Window:
    fault: Fault
    until_s: float


class Connection:
    """One accepted WebSocket: reads control messages, writes pushes, pings, and enforces the venue's limits.

    Once accepted, `serve` runs it to its end and owns the stream. All other methods are synchronous and never block:
    what they send goes into a buffer, and a client that lets it grow beyond the rules is dropped.
    """

    def __init__(self, venue: Venue, stream: trio.abc.Stream, number: int, session: Session) -> None:
        self.number = number
        self.session = session
        self.half_open = False
        self._venue = venue
        self._rules = venue.rules
        self._idleness = venue.rules.idleness
        self._stream = stream
        self._ws = WSConnection(ConnectionType.SERVER)
        self._scope = trio.CancelScope()
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._wake = trio.Event()
        self._closing = False
        self._closed = trio.Event()
        self._finished = False
        self._reset = False
        self._windows: dict[FaultKind, _Window] = {}
        self._silent: dict[str, float] = {}
        self._later: list[tuple[float, int, bytes]] = []
        self._later_changed = trio.Event()
        self._later_count = 0
        self._in_order_until_s = 0.0
        self._arrivals: deque[float] = deque()
        lifetime_s = self._rules.lifetime_s
        self._ends_s = _NEVER_S if lifetime_s is None else trio.current_time() + lifetime_s
        self._ends_changed = trio.Event()
        self._pings: deque[tuple[bytes, float]] = deque()
        self._heard_s = trio.current_time()
        self._partial = ""
        self._how: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names subscribed, in order."""
        return tuple(self.session.names)

    @property
    def passes(self) -> bool:
        """Whether anything sent now would reach the client: neither closing nor half-open."""
        return not (self._closing or self.half_open)

    @property
    def ending(self) -> str:
        """How the connection ended: by whom, and the code if there was a close frame."""
        return self._how or "with the simulator"

    def accept(self, headers: list[tuple[bytes, bytes]], target: bytes) -> None:
        """Accept the upgrade request with these `headers`; raises `RemoteProtocolError` where it is no proper one."""
        self._ws.initiate_upgrade_connection(headers, target)
        for _ in self._ws.events():
            pass
        self._write(self._ws.send(AcceptConnection()))

    async def break_off_handshake(self) -> None:
        """Write half of what `accept` answered and nothing more. Does not close the stream."""
        answer = b"".join(self._buffer)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_all(answer[: len(answer) // 2])

    async def serve(self, early: bytes) -> None:
        """Serve the accepted connection to its end and close the stream. `early` is what the client sent already."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write_out)
                    nursery.start_soon(self._release_delayed)
                    nursery.start_soon(self._keep_time)
                    nursery.start_soon(self._linger)
                    for text in self.session.greeting(self._venue.now_ms()):
                        self.say(text)
                    for name in self.names:
                        self._venue.subscribe(self, name)
                    self._check_stream_count()
                    await self._read(early)
                    self._scope.cancel()
        finally:
            for name in self.names:
                self._venue.unsubscribe(self, name)
            await close(self._stream, reset=self._reset)

    def push(self, stream: str, frame: bytes, *, closing: bool) -> None:
        """Send one frame of `stream`, through whatever faults are going on."""
        if self._closing or self.half_open:
            return None
        now_s = trio.current_time()
        if self._silent and self._silent.get(stream, 0.0) > now_s:
            return self._counters.push_hit(FaultKind.STREAM_SILENCE)
        if not self._windows and self._in_order_until_s <= now_s:
            self._pushed(closing)
            return self._write(frame)
        return self._push_faultily(frame, now_s, closing=closing)

    def say(self, text: str, *, delay_s: float = 0.0) -> None:
        """Send a text message that is no push: a reply or a notice."""
        if self.passes:
            self._send(text_frame(text.encode()), trio.current_time() + delay_s)

    def send_frame(self, frame: bytes) -> None:
        """Send raw bytes, valid or not."""
        if self.passes:
            self._write(frame)

    def shut_down(self, after_s: float) -> None:
        """End the connection after `after_s` as at the end of its life; where the venue gives notice, with notice."""
        notice = self.session.farewell(self._venue.now_ms())
        if notice is not None:
            self.say(notice)
        self._ends_s = min(self._ends_s, trio.current_time() + after_s)
        self._ends_changed.set()

    def pause(self, fault: Fault) -> None:
        """Say that the venue pauses, push nothing for a while, and say that it goes on."""
        notices = self.session.maintenance()
        if notices is not None:
            begins, ends = notices
            self.say(begins)
            self.open_window(evolve(fault, kind=FaultKind.SILENCE))
            self.say(ends, delay_s=fault.duration_s)

    def ping(self) -> None:
        """Send a ping frame with a payload, and expect its pong."""
        if self.passes:
            payload = str(self._venue.now_ms() + len(self._pings)).encode()
            self._pings.append((payload, trio.current_time()))
            self._write(self._ws.send(Ping(payload)))

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and end the connection when the client has answered, or after a while."""
        if self.passes:
            self._ended(f"by the venue with {code} {reason}".rstrip())
            self._write(self._ws.send(CloseConnection(code, reason)))
            self._closing = True
            self._closed.set()

    def drop(self, why: str = "by the venue without a close frame") -> None:
        """End the connection at once without a close frame; what was not yet written is lost."""
        self._ended(why)
        self._scope.cancel()

    def finish(self) -> None:
        """End the connection without a close frame once everything is written."""
        self._ended("by the venue without a close frame")
        self._closing = self._finished = True
        self._closed.set()
        self._wake.set()

    def break_off(self) -> None:
        """Write half a frame, then reset the connection."""
        if self.passes:
            frame = text_frame(b'{"e":"kline","E":0}')
            self._write(frame[: len(frame) // 2])
            self._reset = True
            self._ended("by the venue with a reset")
            self.finish()

    def open_window(self, fault: Fault, stream: str | None = None) -> None:
        """Let `fault` act on this connection for its duration."""
        until_s = trio.current_time() + fault.duration_s
        self._counters.tell("fault", fault.kind, self._name, stream or "", f"for {fault.duration_s:g} s")
        if fault.kind is FaultKind.STREAM_SILENCE:
            if stream is not None:
                self._silent[stream] = until_s
        else:
            self._windows[fault.kind] = _Window(fault, until_s)

    @property
    def _counters(self) -> Counters:
        return self._venue.counters

    @property
    def _name(self) -> str:
        return f"connection {self.number}"

    def _ended(self, how: str) -> None:
        """Remember what ended the connection first; whatever follows is only its consequence."""
        self._how = self._how or how

    def _active(self, kind: FaultKind, now_s: float) -> Fault | None:
        window = self._windows.get(kind)
        if window is None:
            return None
        if window.until_s <= now_s:
            del self._windows[kind]
            return None
        return window.fault

    def _push_faultily(self, frame: bytes, now_s: float, *, closing: bool) -> None:
        if self._active(FaultKind.SILENCE, now_s):
            return self._counters.push_hit(FaultKind.SILENCE)
        if closing and self._active(FaultKind.LOST_CLOSE, now_s):
            return self._counters.push_hit(FaultKind.LOST_CLOSE)
        self._pushed(closing)
        at_s = max(now_s, self._in_order_until_s)
        if closing and (late := self._active(FaultKind.LATE_CLOSE, now_s)):
            self._counters.push_hit(FaultKind.LATE_CLOSE)
            return self._send(frame, at_s + late.delay_s)
        if delay := self._active(FaultKind.DELAY, now_s):
            self._counters.push_hit(FaultKind.DELAY)
            at_s = self._in_order_until_s = max(now_s + delay.delay_s, self._in_order_until_s)
        if self._active(FaultKind.DUPLICATE, now_s):
            self._counters.push_hit(FaultKind.DUPLICATE)
            self._send(frame, at_s)
        if reorder := self._active(FaultKind.REORDER, now_s):
            self._counters.push_hit(FaultKind.REORDER)
            at_s += self._venue.jitter() * reorder.delay_s
        return self._send(frame, at_s)

    def _pushed(self, closing: bool) -> None:
        self._counters.pushed += 1
        self._counters.closes_pushed += closing

    def _send(self, frame: bytes, at_s: float) -> None:
        if at_s <= trio.current_time() and not self._later:
            self._write(frame)
        else:
            self._later_count += 1
            heappush(self._later, (at_s, self._later_count, frame))
            self._later_changed.set()

    def _write(self, data: bytes) -> None:
        if self._buffered > self._rules.send_buffer_bytes:
            if not self._scope.cancel_called:
                self._counters.slow_clients += 1
                self.drop("by the venue, unread")
            return
        if self._idleness is not None and self._idleness.sent:
            self._heard_s = trio.current_time()
        self._buffer.append(data)
        self._buffered += len(data)
        self._wake.set()

    async def _write_out(self) -> None:
        while not (self._finished and not self._buffer):
            await self._wake.wait()
            self._wake = trio.Event()
            data = b"".join(self._buffer)
            self._buffer.clear()
            if data:
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    break
                self._buffered -= len(data)
        self._ended("by the client without a close frame")
        self._scope.cancel()

    async def _release_delayed(self) -> None:
        while True:
            wait_s = self._later[0][0] - trio.current_time() if self._later else _NEVER_S
            if wait_s > 0:
                with trio.move_on_after(wait_s):
                    await self._later_changed.wait()
                self._later_changed = trio.Event()
            while self._later and self._later[0][0] <= trio.current_time():
                _, _, frame = heappop(self._later)
                self.send_frame(frame)

    async def _keep_time(self) -> None:
        """Ping, expect pongs, and end the connection when it is idle and at the end of its life."""
        rules = self._rules
        ping_s = _NEVER_S if rules.ping_s is None else rules.ping_s
        next_ping_s = trio.current_time() + ping_s
        while not (self._closing or self.half_open):
            dead_s = self._pings[0][1] + rules.pong_timeout_s if self._pings else _NEVER_S
            with trio.move_on_at(min(next_ping_s, dead_s, self._ends_s, self._idle_s())):
                await self._ends_changed.wait()
            self._ends_changed = trio.Event()
            now_s = trio.current_time()
            if now_s >= self._ends_s:
                self._end()
            elif self._pings and self._pings[0][1] + rules.pong_timeout_s <= now_s:
                self._counters.violation("pong_timeout", self._name)
                self.close(1008, "Pong timeout")
            elif now_s >= self._idle_s():
                self._end_idle()
            elif now_s >= next_ping_s:
                next_ping_s += ping_s
                self.ping()

    def _idle_s(self) -> float:
        """Return when the connection has been idle for too long, by what is known now."""
        idleness = self._idleness
        if idleness is None or (idleness.unless_subscribed and self.session.names):
            return _NEVER_S
        return self._heard_s + idleness.after_s

    def _end_idle(self) -> None:
        if not self.half_open:  # else it cannot hear the client
            self._counters.violation("idle", self._name)
        close = None if self._idleness is None else self._idleness.close
        if close is None:
            self.drop()
        else:
            self._close(close)

    def _end(self) -> None:
        if self._rules.lifetime_close is None:
            self.finish()
        else:
            self.close(self._rules.lifetime_close)

    async def _linger(self) -> None:
        """Do not wait for ever for the client's half of a closing handshake, nor for a client that does not read."""
        await self._closed.wait()
        await trio.sleep(self._rules.close_grace_s)
        self._scope.cancel()

    async def _read(self, early: bytes) -> None:
        data = early or await self._receive()
        while data:
            if not (self.half_open or self._finished):
                try:
                    self._ws.receive_data(data)
                    for event in self._ws.events():
                        self._handle(event)
                except RemoteProtocolError as problem:
                    self.close(1002, str(problem)[:100])
            data = await self._receive()
        self._ended("by the client without a close frame")

    async def _receive(self) -> bytes:
        """Return the next bytes; none once the client has closed or vanished."""
        try:
            return bytes(await self._stream.receive_some(_READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def _handle(self, event: object) -> None:
        if self._idleness is not None and self._idleness.received:
            self._heard_s = trio.current_time()
        match event:
            case CloseConnection():
                if not self._closing:
                    self._ended(f"by the client with {int(event.code)}")
                    self._write(self._ws.send(event.response()))
                self.finish()
            case _ if self._closing:
                pass
            case Ping():
                if self._within_message_rate():
                    self._write(self._ws.send(event.response()))
            case Pong():
                if self._within_message_rate():
                    self._take_pong(bytes(event.payload))
            case TextMessage() | BytesMessage():
                text = event.data if isinstance(event, TextMessage) else event.data.decode("utf-8", "replace")
                self._partial += text
                if len(self._partial) > self._rules.max_message_bytes:
                    self.close(1009, "Message too big")
                elif event.message_finished:
                    whole, self._partial = self._partial, ""
                    if self._within_message_rate():
                        self._control(whole)

    def _within_message_rate(self) -> bool:
        if self._rules.messages_per_s is None:
            return True
        now_s = trio.current_time()
        arrivals = self._arrivals
        while arrivals and arrivals[0] <= now_s - 1.0:
            arrivals.popleft()
        arrivals.append(now_s)
        if len(arrivals) <= self._rules.messages_per_s:
            return True
        self._counters.violation("message_rate", self._name)
        self.close(1008, "Too many requests")
        return False

    def _take_pong(self, payload: bytes) -> None:
        if any(sent == payload for sent, _ in self._pings):
            while self._pings.popleft()[0] != payload:
                pass

    def _control(self, text: str) -> None:
        request = self.session.parse(text, self._venue.now_ms())
        if isinstance(request, Keepalive):
            for reply in request.replies:
                self.say(reply)
            return
        asked = f"id {request.id}" if isinstance(request, Refusal) else request.words
        if isinstance(request, Request) and request.subscribes and self._venue.window(FaultKind.REFUSE_SUBSCRIBE):
            self._counters.fault(FaultKind.REFUSE_SUBSCRIBE, self._name)
            request = self.session.refuse(request)
        if isinstance(request, Refusal):
            self._counters.tell("control", self._name, asked, "->", request.why)
            for reply in request.replies:
                self.say(reply)
            if request.close is not None:
                self._close(request.close)
            return
        granted = self.session.grant(request)
        self._counters.tell("control", self._name, asked, "->", self._reply(request, granted))
        for name in granted.unsubscribed:
            self._venue.unsubscribe(self, name)
        if self._idleness is not None:
            self._ends_changed.set()
        if granted.subscribed and self._venue.window(FaultKind.ACK_WITHOUT_DATA):
            self._counters.fault(FaultKind.ACK_WITHOUT_DATA, self._name)
            return
        for name in granted.subscribed:
            self._venue.subscribe(self, name)
        self._check_stream_count()

    def _reply(self, request: Request, granted: Granted) -> str:
        """Reply, as far as faults allow, and return in words what became of the reply."""
        if request.subscribes and self._venue.window(FaultKind.LOST_ACK):
            self._counters.fault(FaultKind.LOST_ACK, self._name)
            return "no reply"
        late = self._venue.window(FaultKind.LATE_ACK)
        if late is not None:
            self._counters.fault(FaultKind.LATE_ACK, self._name)
        for reply in granted.replies:
            self.say(reply, delay_s=late.delay_s if late else 0.0)
        return f"{granted.words} in {late.delay_s:g} s" if late else granted.words

    def _check_stream_count(self) -> None:
        most = self._rules.max_streams
        if most is not None and len(self.session.names) > most:
            self._counters.violation("streams", self._name)
            self._close(self._rules.max_streams_close)

    def _close(self, close: Close) -> None:
        self.close(close.code, close.reason)

"""The pusher: which channel is due, what it says, and to whom."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from candleactors.model import SECOND_MS
from candleactors.sim.candles import Row
from candleactors.sim.dialect import Channel, Session
from candleactors.sim.rules import Rules
from candleactors.sim.wire import text_frame


class Subscriber(Protocol):
    """A connection as the pusher sees it."""

    @property
    def session(self) -> Session:
        """What puts candles into words for it."""
        ...

    def push(self, stream: str, frame: bytes, *, closing: bool) -> None:
        """Take one complete frame of `stream`. Must not block."""
        ...


class _Stream:
    """A channel with its subscribers, in the order in which they came, each with when it was last pushed something."""

    def __init__(self, channel: Channel, now_ms: int) -> None:
        self.channel = channel
        self.series = channel.series
        self.open_ms = self.series.floor(now_ms)
        self.boundary_ms = self.series.next_open(self.open_ms)
        self.of_a_second = self.series.timeframe.nominal_ms == SECOND_MS
        self.pushed: tuple[int, int, int] | None = None
        self.pushed_ms = now_ms
        self.previous_ms: int | None = None
        self.previous_again = 0
        self.subscribers: dict[Subscriber, int] = {}

    def delisted(self, now_ms: int) -> bool:
        delisted_ms = self.series.tape.delisted_ms
        return delisted_ms is not None and delisted_ms <= now_ms

    def state(self, row: Row) -> tuple[int, int, int]:
        """Return what changes whenever `row` does."""
        return row.open_ms, row.bar.trades, self.series.tape.revision

    def send(self, row: Row, event_ms: int, *, closed: bool, closing: bool) -> None:
        self.pushed_ms = event_ms
        frames: dict[Hashable, bytes] = {}
        for subscriber in list(self.subscribers):
            session = subscriber.session
            framing = session.framing(self.channel.name)
            frame = frames.get(framing)
            if frame is None:
                message = session.kline(self.channel, row, event_ms, closed=closed)
                frame = frames[framing] = text_frame(message.encode())
            self.tell(subscriber, frame, event_ms, closing=closing)

    def tell(self, subscriber: Subscriber, frame: bytes, now_ms: int, *, closing: bool = False) -> None:
        self.subscribers[subscriber] = now_ms
        subscriber.push(self.channel.name, frame, closing=closing)


class Pusher:
    """All channels somebody is subscribed to. Synchronous: told the time, it pushes what is due.

    A running candle is pushed on the venue's cadence if it changed; the last push of a closed one goes out shortly
    after its boundary, before anything of the next candle. What else is pushed, `Rules` say.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._repeat_ms = _milliseconds(rules.repeat_s)
        self._heartbeat_ms = _milliseconds(rules.heartbeat_s)
        self._streams: dict[Channel, _Stream] = {}
        self._next_push_ms = 0
        self._next_second_push_ms = 0

    @property
    def idle(self) -> bool:
        """Whether nobody is subscribed to anything that is ever pushed."""
        return not self._streams

    def add(self, subscriber: Subscriber, name: str, now_ms: int) -> None:
        """Subscribe. Nothing ever comes of a name that is no channel to the subscriber; nor of a delisted symbol.

        A symbol that is not listed yet is silent until it is.
        """
        channel = subscriber.session.channel(name)
        if channel is None:
            return
        if self.idle:
            self._set_out(now_ms)
        stream = self._streams.get(channel)
        if stream is None:
            stream = self._streams[channel] = _Stream(channel, now_ms)
        stream.subscribers[subscriber] = now_ms
        snapshot = subscriber.session.snapshot(channel, now_ms)
        if snapshot is not None:
            stream.tell(subscriber, text_frame(snapshot.encode()), now_ms)

    def remove(self, subscriber: Subscriber, name: str) -> None:
        """Unsubscribe, if subscribed."""
        channel = subscriber.session.channel(name)
        stream = None if channel is None else self._streams.get(channel)
        if stream is not None:
            stream.subscribers.pop(subscriber, None)
            if not stream.subscribers:
                del self._streams[stream.channel]

    def next_due_ms(self, now_ms: int) -> int:
        """Return when to call `push_due` next; there must be a subscriber."""
        due = min(stream.boundary_ms for stream in self._streams.values()) + self._rules.close_lag_ms
        if self._next_push_ms > now_ms + self._rules.push_ms:
            self._set_out(now_ms)  # the clock was set back
        if any(stream.of_a_second for stream in self._streams.values()):
            due = min(due, self._next_second_push_ms)
        if self._heartbeat_ms is not None:
            oldest_ms = min(min(stream.subscribers.values()) for stream in self._streams.values())
            due = min(due, oldest_ms + self._heartbeat_ms)
        return min(due, self._next_push_ms)

    def push_due(self, now_ms: int) -> None:
        """Push everything that is due at `now_ms`."""
        minutes = now_ms >= self._next_push_ms
        seconds = now_ms >= self._next_second_push_ms
        if minutes:
            self._next_push_ms = _next_multiple(now_ms, self._rules.push_ms)
        if seconds:
            self._next_second_push_ms = _next_multiple(now_ms, self._rules.second_push_ms)
        for stream in list(self._streams.values()):
            if stream.delisted(now_ms):
                del self._streams[stream.channel]
                continue
            if now_ms >= stream.boundary_ms:
                if now_ms >= stream.boundary_ms + self._rules.close_lag_ms:
                    self._close(stream, now_ms)
            elif seconds if stream.of_a_second else minutes:
                self._update(stream, now_ms)
            if self._heartbeat_ms is not None:
                self._beat(stream, now_ms - self._heartbeat_ms, now_ms)

    def _set_out(self, now_ms: int) -> None:
        self._next_push_ms = _next_multiple(now_ms, self._rules.push_ms)
        self._next_second_push_ms = _next_multiple(now_ms, self._rules.second_push_ms)

    def _update(self, stream: _Stream, now_ms: int) -> None:
        row = stream.series.row(stream.open_ms, now_ms)
        if row is None:
            return
        state = stream.state(row)
        news = row.bar.trades > 0 and state != stream.pushed
        if news or (self._repeat_ms is not None and now_ms - stream.pushed_ms >= self._repeat_ms):
            stream.pushed = state
            stream.send(row, now_ms, closed=False, closing=False)
            self._push_previous(stream, now_ms)

    def _close(self, stream: _Stream, now_ms: int) -> None:
        while now_ms >= stream.boundary_ms + self._rules.close_lag_ms:
            row = stream.series.row(stream.open_ms, now_ms)
            if row is not None and row.close_ms == stream.boundary_ms - 1 and self._ends_with_a_push(stream, row):
                stream.send(row, now_ms, closed=True, closing=True)
            stream.previous_ms, stream.open_ms = stream.open_ms, stream.boundary_ms
            stream.previous_again = self._rules.previous_again
            stream.boundary_ms = stream.series.next_open(stream.open_ms)

    def _ends_with_a_push(self, stream: _Stream, row: Row) -> bool:
        if not (row.bar.trades or self._rules.flat_pushes):
            return False
        return self._rules.closing_push or stream.state(row) != stream.pushed

    def _push_previous(self, stream: _Stream, now_ms: int) -> None:
        if stream.previous_again and stream.previous_ms is not None:
            stream.previous_again -= 1
            row = stream.series.row(stream.previous_ms, now_ms)
            if row is not None and (row.bar.trades or self._rules.flat_pushes):
                stream.send(row, now_ms, closed=True, closing=False)

    def _beat(self, stream: _Stream, before_ms: int, now_ms: int) -> None:
        """Push heartbeats to all who were last pushed something at `before_ms` or earlier."""
        for subscriber, last_ms in list(stream.subscribers.items()):
            if last_ms <= before_ms:
                stream.subscribers[subscriber] = now_ms
                heartbeat = subscriber.session.heartbeat(stream.channel, now_ms)
                if heartbeat is not None:
                    stream.tell(subscriber, text_frame(heartbeat.encode()), now_ms)


def _next_multiple(now_ms: int, of_ms: int) -> int:
    return now_ms - now_ms % of_ms + of_ms


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)

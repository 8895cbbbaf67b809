"""The pusher: which stream is due, what it says, and to whom."""

from __future__ import annotations

from typing import Protocol

from candleactors.model import SECOND_MS
from candleactors.sim.candles import Row, Series
from candleactors.sim.market import Market
from candleactors.sim.rules import Rules
from candleactors.sim.wire import Decimals, combined, kline, text_frame


class Subscriber(Protocol):
    """A connection as the pusher sees it."""

    @property
    def combined(self) -> bool:
        """Whether it wants the wrapper of combined streams."""
        ...

    def push(self, stream: str, frame: bytes, *, closing: bool) -> None:
        """Take one complete frame of `stream`. Must not block."""
        ...


class _Channel:
    """One kline stream with its subscribers, in the order in which they came."""

    def __init__(self, name: str, series: Series, decimals: Decimals, now_ms: int) -> None:
        self.name = name
        self.symbol = series.tape.spec.symbol
        self.series = series
        self.decimals = decimals
        self.open_ms = series.floor(now_ms)
        self.boundary_ms = series.next_open(self.open_ms)
        self.of_a_second = series.timeframe.nominal_ms == SECOND_MS
        self.pushed: tuple[int, int, int] | None = None
        self.subscribers: dict[Subscriber, None] = {}

    def delisted(self, now_ms: int) -> bool:
        delisted_ms = self.series.tape.delisted_ms
        return delisted_ms is not None and delisted_ms <= now_ms

    def send(self, row: Row, event_ms: int, *, closed: bool) -> None:
        payload = kline(self.symbol, self.series.timeframe.text, row, self.decimals, event_ms, closed=closed)
        raw = wrapped = None
        for subscriber in list(self.subscribers):
            if subscriber.combined:
                wrapped = wrapped or text_frame(combined(self.name, payload).encode())
                subscriber.push(self.name, wrapped, closing=closed)
            else:
                raw = raw or text_frame(payload.encode())
                subscriber.push(self.name, raw, closing=closed)


class Pusher:
    """All kline streams somebody is subscribed to. Synchronous: told the time, it pushes what is due.

    A running candle is pushed on the venue's cadence if it changed; a closed one exactly once, shortly after its
    boundary, before anything of the next candle.
    """

    def __init__(self, market: Market, rules: Rules) -> None:
        self._market = market
        self._rules = rules
        self._channels: dict[str, _Channel] = {}
        self._symbols: dict[str, str] = {}
        self._decimals: dict[str, Decimals] = {}
        for symbol, spec in market.specs.items():
            if spec.futures if rules.futures else spec.spot:
                self._symbols[symbol.lower()] = symbol
                self._decimals[symbol] = Decimals(spec, futures=rules.futures)
        self._timeframes = {timeframe.text: timeframe for timeframe in rules.timeframes}
        self._next_push_ms = 0
        self._next_second_push_ms = 0

    @property
    def idle(self) -> bool:
        """Whether nobody is subscribed to anything that is ever pushed."""
        return not self._channels

    def add(self, subscriber: Subscriber, name: str, now_ms: int) -> None:
        """Subscribe. A name that no symbol has is accepted, and nothing ever comes of it; nor of a delisted one.

        A symbol that is not listed yet is silent until it is.
        """
        if self.idle:
            self._set_out(now_ms)
        channel = self._channels.get(name)
        if channel is None:
            series = self._series(name)
            if series is None:
                return
            channel = _Channel(name, series, self._decimals[series.tape.spec.symbol], now_ms)
            self._channels[name] = channel
        channel.subscribers[subscriber] = None

    def remove(self, subscriber: Subscriber, name: str) -> None:
        """Unsubscribe, if subscribed."""
        channel = self._channels.get(name)
        if channel is not None:
            channel.subscribers.pop(subscriber, None)
            if not channel.subscribers:
                del self._channels[name]

    def next_due_ms(self, now_ms: int) -> int:
        """Return when to call `push_due` next; there must be a subscriber."""
        due = min(channel.boundary_ms for channel in self._channels.values()) + self._rules.close_lag_ms
        if self._next_push_ms > now_ms + self._rules.push_ms:
            self._set_out(now_ms)  # the clock was set back
        if any(channel.of_a_second for channel in self._channels.values()):
            due = min(due, self._next_second_push_ms)
        return min(due, self._next_push_ms)

    def push_due(self, now_ms: int) -> None:
        """Push everything that is due at `now_ms`."""
        minutes = now_ms >= self._next_push_ms
        seconds = now_ms >= self._next_second_push_ms
        if minutes:
            self._next_push_ms = _next_multiple(now_ms, self._rules.push_ms)
        if seconds:
            self._next_second_push_ms = _next_multiple(now_ms, self._rules.second_push_ms)
        for channel in list(self._channels.values()):
            if channel.delisted(now_ms):
                del self._channels[channel.name]
            elif now_ms >= channel.boundary_ms:
                if now_ms >= channel.boundary_ms + self._rules.close_lag_ms:
                    self._close(channel, now_ms)
            elif seconds if channel.of_a_second else minutes:
                self._update(channel, now_ms)

    def _set_out(self, now_ms: int) -> None:
        self._next_push_ms = _next_multiple(now_ms, self._rules.push_ms)
        self._next_second_push_ms = _next_multiple(now_ms, self._rules.second_push_ms)

    def _update(self, channel: _Channel, now_ms: int) -> None:
        row = channel.series.row(channel.open_ms, now_ms)
        if row is None or not row.bar.trades:
            return
        state = (row.open_ms, row.bar.trades, channel.series.tape.revision)
        if state != channel.pushed:
            channel.pushed = state
            channel.send(row, now_ms, closed=False)

    def _close(self, channel: _Channel, now_ms: int) -> None:
        while now_ms >= channel.boundary_ms + self._rules.close_lag_ms:
            row = channel.series.row(channel.open_ms, now_ms)
            if row is not None and row.close_ms == channel.boundary_ms - 1:
                channel.send(row, now_ms, closed=True)
            channel.open_ms = channel.boundary_ms
            channel.boundary_ms = channel.series.next_open(channel.open_ms)

    def _series(self, name: str) -> Series | None:
        text, _, kind = name.partition("@")
        symbol = self._symbols.get(text)
        timeframe = self._timeframes.get(kind.removeprefix("kline_")) if kind.startswith("kline_") else None
        if symbol is None or timeframe is None:
            return None
        return self._market.series(symbol, timeframe)


def _next_multiple(now_ms: int, of_ms: int) -> int:
    return now_ms - now_ms % of_ms + of_ms

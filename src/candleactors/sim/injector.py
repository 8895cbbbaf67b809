"""The injector: makes faults happen to connections, to the venue and to its market."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import trio

from candleactors.model import MINUTE_MS
from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Dialect
from candleactors.sim.faults import CONNECTION_WINDOWS, VENUE_WINDOWS, Fault, FaultKind, FaultScript
from candleactors.sim.market import Market
from candleactors.sim.websocket import Connection
from candleactors.sim.wire import text_frame


class Injector:
    """Knows which faults are going on for the whole venue, and hands the others to their victims."""

    def __init__(
        self,
        market: Market,
        dialect: Dialect,
        counters: Counters,
        rng: Random,
        now_ms: Callable[[], int],
        connections: Callable[[], list[Connection]],
    ) -> None:
        self._market = market
        self._dialect = dialect
        self._counters = counters
        self._rng = rng
        self._now_ms = now_ms
        self._connections = connections
        self._windows: dict[FaultKind, tuple[Fault, float]] = {}

    def window(self, kind: FaultKind) -> Fault | None:
        """Return the fault of this kind that is going on for the whole venue."""
        known = self._windows.get(kind)
        if known is None:
            return None
        fault, until_s = known
        if until_s <= trio.current_time():
            del self._windows[kind]
            return None
        return fault

    def inject(self, fault: Fault) -> None:
        """Let `fault` happen now."""
        if fault.kind in VENUE_WINDOWS:
            self._windows[fault.kind] = (fault, trio.current_time() + fault.duration_s)
        elif fault.kind is FaultKind.HALT:
            now_ms = self._now_ms()
            symbol = None if fault.symbol is None else self._dialect.market_symbol(fault.symbol)
            self._market.halt(symbol, now_ms + 1, now_ms + 1 + int(fault.duration_s * 1000))
            self._counters.fault(fault.kind, f"{fault.symbol or 'all symbols'} for {fault.duration_s:g} s")
        elif fault.kind is FaultKind.CORRECTION:
            self._correct(fault)
        elif fault.kind is FaultKind.DELIST:
            self._delist(fault)
        else:
            for connection in self._victims(fault):
                self._hit(connection, fault)

    async def play(self, script: FaultScript) -> None:
        """Inject every fault of `script` at its time, counted from now."""
        start_s = trio.current_time()
        for fault in script.timeline():
            await trio.sleep_until(start_s + fault.at_s)
            self.inject(fault)

    def _victims(self, fault: Fault) -> list[Connection]:
        connections = self._connections()
        return connections if fault.everyone or not connections else [self._rng.choice(connections)]

    def _hit(self, connection: Connection, fault: Fault) -> None:
        if not connection.passes and fault.kind is not FaultKind.DROP:
            return
        if fault.kind in CONNECTION_WINDOWS:
            stream = fault.stream
            if fault.kind is FaultKind.STREAM_SILENCE and stream is None and connection.names:
                stream = self._rng.choice(connection.names)
            connection.open_window(fault, stream)
            return
        self._counters.fault(fault.kind, f"connection {connection.number}")
        match fault.kind:
            case FaultKind.DROP:
                connection.drop()
            case FaultKind.RESET:
                connection.break_off()
            case FaultKind.CLOSE:
                connection.close(fault.code or 1001, fault.reason)
            case FaultKind.HALF_OPEN:
                connection.half_open = True
            case FaultKind.SHUTDOWN:
                connection.shut_down(fault.delay_s)
            case FaultKind.MAINTENANCE:
                connection.pause(fault)
            case FaultKind.PING_STORM:
                for _ in range(fault.count):
                    connection.ping()
            case FaultKind.MALFORMED:
                connection.send_frame(text_frame(self._dialect.malformed))
            case FaultKind.TRUNCATED:
                connection.send_frame(text_frame(self._dialect.truncated))
            case FaultKind.HUGE:
                connection.send_frame(text_frame(b'{"e":"' + b"x" * (fault.count * 1024) + b'"}'))
            case FaultKind.INVALID_UTF8:
                connection.send_frame(text_frame(b'{"e":"\xff\xfe\xc3("}'))
            case _:
                raise AssertionError(fault.kind)

    def _correct(self, fault: Fault) -> None:
        now_ms = self._now_ms()
        symbol = fault.symbol or self._rng.choice(list(self._market.specs))
        if self._market.correct(self._dialect.market_symbol(symbol), now_ms - fault.count * MINUTE_MS, now_ms):
            self._counters.fault(fault.kind, f"{symbol} {fault.count} minutes back")

    def _delist(self, fault: Fault) -> None:
        from_ms = self._now_ms() + 1
        symbol = fault.symbol or self._rng.choice(self._market.trading(from_ms) or [None])
        if symbol is not None and self._market.delist(self._dialect.market_symbol(symbol), from_ms):
            self._counters.fault(fault.kind, symbol)

"""The simulator: a venue that listens, pushes, answers, and misbehaves as told."""

from __future__ import annotations

import ipaddress
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import trio
from wsproto.utilities import RemoteProtocolError

from candleactors.errors import ConfigError
from candleactors.model import Timeframe
from candleactors.sim.candles import TruthCandle
from candleactors.sim.counters import Counters, Observer
from candleactors.sim.dialect import Answer
from candleactors.sim.faults import Fault, FaultKind, FaultScript
from candleactors.sim.http import HttpConnection, Incoming
from candleactors.sim.injector import Injector
from candleactors.sim.market import Market
from candleactors.sim.pusher import Pusher
from candleactors.sim.rules import Rules
from candleactors.sim.sockets import close
from candleactors.sim.websocket import Connection


class Simulator:
    """One simulated venue over `market`, WebSocket and REST on the same port.

    `now_ms` is the venue's clock in UTC milliseconds; it should run at the pace of Trio's clock. Everything random
    comes from `seed`, so under a mock clock two runs with equal seeds and equal clients are equal.

    Pushes and faults need `run` (or `running`) in the background. Connections are served by `serve_stream`, one call
    each, or by `serve_tcp`. All clients count as one address.

    `observe` is called with a kind and a text for everything that happens to the venue, pushes excepted; both depend on
    nothing but the seed and the clients. The kinds are `accepted`, `ended`, `refused`, `control`, `rest`, `fault` and
    `violation`.
    """

    def __init__(
        self,
        market: Market,
        rules: Rules,
        now_ms: Callable[[], int],
        faults: FaultScript | None = None,
        seed: int = 0,
        observe: Observer | None = None,
    ) -> None:
        self.market = market
        self.rules = rules
        self.counters = Counters(observe=observe)
        self.dialect = rules.dialect(market, self.counters)
        self._now_ms = now_ms
        self._script = faults
        self._rng = Random(seed)
        self._pusher = Pusher(rules)
        self._live: dict[int, Connection] = {}
        self._injector = Injector(
            market, self.dialect, self.counters, self._rng, now_ms, lambda: list(self._live.values())
        )
        self._attempts: deque[float] = deque()
        self._subscribed = trio.Event()

    @property
    def connections(self) -> list[Connection]:
        """The live WebSocket connections, oldest first."""
        return list(self._live.values())

    def now_ms(self) -> int:
        """Return the venue's clock."""
        return self._now_ms()

    def jitter(self) -> float:
        """Return a number in [0, 1) from the simulator's seed."""
        return self._rng.random()

    def window(self, kind: FaultKind) -> Fault | None:
        """Return the fault of this kind that is going on for the whole venue."""
        return self._injector.window(kind)

    def inject(self, fault: Fault) -> None:
        """Let `fault` happen now, whatever its `at_s`."""
        self._injector.inject(fault)

    def truth(self, symbol: str, timeframe: Timeframe, first_open_ms: int, until_ms: int) -> list[TruthCandle]:
        """Return every candle that opens at or after `first_open_ms` and is over at `until_ms`, ascending.

        `symbol` is the market's spelling or the venue's; the candles have the market's. What the venue does not give is
        ``None``. Corrections made so far are included. Intervals without trades are flat; those in which the market was
        halted are missing where the venue lets them be told from the former. Raises `InvalidSymbol`.
        """
        rules, market_symbol = self.rules, self.dialect.market_symbol(symbol)
        rows = self.market.truth(market_symbol, timeframe, first_open_ms, until_ms, halted=not rules.flat_rows)
        if not rules.flat_rows and (delisted_ms := self.market.tape(market_symbol).delisted_ms) is not None:
            # Nobody can tell an interval without trades that the symbol did not live to see the end of.
            rows = [row for row in rows if row.volume or row.close_time_ms < delisted_ms]
        return [row.as_given(rules.gives) for row in rows]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Simulator]:
        """Run in the background of a ``with`` block."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.run)
            yield self
            nursery.cancel_scope.cancel()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Push candles and let faults happen, until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._script is not None:
                nursery.start_soon(self._injector.play, self._script)
            nursery.start_soon(self._push)
            task_status.started()

    async def serve_tcp(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        allow_remote: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept connections on `host` and `port` (0: any free one) until cancelled; starts with the address bound.

        Raises `ConfigError` if `host` is not the machine itself, unless `allow_remote`; `OSError` if it cannot bind.
        """
        if not (allow_remote or is_loopback(host)):
            raise ConfigError(f'"{host}" is not a loopback address; allow remote clients explicitly')
        listeners = await trio.open_tcp_listeners(port, host=host)
        bound = listeners[0].socket.getsockname()[:2]
        if ssl_context is None:
            await trio.serve_listeners(self.serve_stream, listeners, task_status=_Bound(task_status, bound))
        else:
            wrapped = [trio.SSLListener(each, ssl_context) for each in listeners]
            await trio.serve_listeners(self.serve_stream, wrapped, task_status=_Bound(task_status, bound))

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one accepted connection, HTTP or WebSocket, to its end. Owns and closes `stream`."""
        try:
            if self.window(FaultKind.REFUSE_CONNECT) is not None:
                self._refused(FaultKind.REFUSE_CONNECT)
                return
            http = HttpConnection(stream, self.rules.max_target_bytes + 8192)
            while True:
                request = None
                with trio.move_on_after(self.rules.http_idle_s):
                    request = await http.receive()
                if request is None:
                    return
                if request.upgrades:
                    await self._upgrade(stream, http, request)
                    return
                if not await self._answer(http, request):
                    return
        finally:
            await close(stream)

    def subscribe(self, connection: Connection, name: str) -> None:
        """Let `connection` receive the pushes of stream `name`, if there is one."""
        self._pusher.add(connection, name, self.now_ms())
        if not self._pusher.idle:
            self._subscribed.set()

    def unsubscribe(self, connection: Connection, name: str) -> None:
        """Undo `subscribe`."""
        self._pusher.remove(connection, name)

    async def _push(self) -> None:
        while True:
            while self._pusher.idle:
                self._subscribed = trio.Event()
                await self._subscribed.wait()
            due_ms = self._pusher.next_due_ms(self.now_ms())
            self._subscribed = trio.Event()
            with trio.move_on_after(max(0, due_ms - self.now_ms()) / 1000):
                await self._subscribed.wait()
            self._pusher.push_due(self.now_ms())

    async def _answer(self, http: HttpConnection, request: Incoming) -> bool:
        """Answer one REST request and return whether the connection goes on."""
        target = request.target.decode("latin-1")
        if self.window(FaultKind.REST_TIMEOUT):
            self.counters.fault(FaultKind.REST_TIMEOUT, target)
            self.counters.request(target, "no answer")
            await trio.sleep(self.rules.http_idle_s)
            return False
        answer, cut_at = self._decide(request.method, target)
        self.counters.request(target, answer.status)
        await http.send(answer, cut_at=cut_at)
        return cut_at is None

    def _decide(self, method: str, target: str) -> tuple[Answer, int | None]:
        """Return the answer to a REST request and where to cut it off, if at all."""
        now_ms = self.now_ms()
        if limit := self.window(FaultKind.REST_LIMIT):
            self.counters.fault(FaultKind.REST_LIMIT, target)
            return self.dialect.limited(limit.code, limit.delay_s, now_ms), None
        if failure := self.window(FaultKind.REST_ERROR):
            self.counters.fault(FaultKind.REST_ERROR, target)
            return self.dialect.failed(failure.code), None
        stale = self.window(FaultKind.REST_STALE)
        if stale is not None:
            self.counters.fault(FaultKind.REST_STALE, target)
        lag_ms = int(stale.delay_s * 1000) if stale else 0
        answer = self.dialect.answer(method, target, now_ms, lag_ms=lag_ms)
        if self.window(FaultKind.REST_TRUNCATED):
            self.counters.fault(FaultKind.REST_TRUNCATED, target)
            return answer, len(answer.body) // 2
        return answer, None

    async def _upgrade(self, stream: trio.abc.Stream, http: HttpConnection, request: Incoming) -> None:
        if self.window(FaultKind.HANG_HANDSHAKE):
            self._refused(FaultKind.HANG_HANDSHAKE)
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some(4096):
                    pass
            return
        if not self._within_connect_rate():
            self.counters.violation("connect_rate")
            self.counters.refuse("429 connect rate")
            await http.send(Answer(429, (), b""))
            return
        if reject := self.window(FaultKind.REJECT_HANDSHAKE):
            self._refused(FaultKind.REJECT_HANDSHAKE)
            await http.send(Answer(reject.code or 503, (), b""))
            return
        target = request.target.decode("latin-1")
        number = self.counters.connections
        session = self.dialect.open(target, number)
        if session is None or len(request.target) > self.rules.max_target_bytes:
            status = 404 if session is None else 414
            self.counters.refuse(f"{status} {target.partition('?')[0][:100]}")
            await http.send(Answer(status, (), b""))
            return
        connection = Connection(self, stream, number, session)
        try:
            connection.accept(request.headers, request.target)
        except RemoteProtocolError:
            self.counters.refuse("400 no proper upgrade")
            await http.send(Answer(400, (), b""))
            return
        if self.window(FaultKind.EARLY_EOF):
            self._refused(FaultKind.EARLY_EOF)
            await connection.break_off_handshake()
            return
        self.counters.accept(number, len(connection.names))
        self._live[number] = connection
        try:
            await connection.serve(request.early)
        finally:
            del self._live[number]
            self.counters.end(number, connection.ending)

    def _within_connect_rate(self) -> bool:
        now_s = trio.current_time()
        while self._attempts and self._attempts[0] <= now_s - self.rules.connects_window_s:
            self._attempts.popleft()
        self._attempts.append(now_s)
        return len(self._attempts) <= self.rules.connects

    def _refused(self, kind: FaultKind) -> None:
        self.counters.fault(kind, "a new connection")
        self.counters.refuse(kind)


class _Bound(trio.TaskStatus[object]):
    """Passes the bound address on where `trio.serve_listeners` would pass its listeners."""

    def __init__(self, task_status: trio.TaskStatus[tuple[str, int]], bound: tuple[str, int]) -> None:
        self._task_status = task_status
        self._bound = bound

    def started(self, value: object = None) -> None:
        self._task_status.started(self._bound)


def is_loopback(host: str) -> bool:
    """Whether `host` names the machine itself and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

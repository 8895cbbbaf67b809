"""HTTP of the simulated venue: one accepted connection, keep-alive requests or an upgrade to WebSocket."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

import h11
import trio
from attrs import evolve, frozen

from candleactors.sim.dialect import Answer

_READ_BYTES = 1 << 16
_MAX_BODY_BYTES = 1 << 16
_STATUSES = frozenset(HTTPStatus)


@frozen
class Incoming:
    """One request. `early` is what the client sent after it, which matters to an upgrade only."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    early: bytes

    @property
    def upgrades(self) -> bool:
        """Whether it asks for a WebSocket."""
        return any(name.lower() == b"upgrade" and value.lower() == b"websocket" for name, value in self.headers)


class HttpConnection:
    """The server side of one HTTP/1.1 connection. Does not own the stream."""

    def __init__(self, stream: trio.abc.Stream, max_head_bytes: int) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=max_head_bytes)

    async def receive(self) -> Incoming | None:
        """Return the next request; ``None`` when the client is done or broke HTTP, after telling it so."""
        try:
            return await self._next_request()
        except h11.RemoteProtocolError as problem:
            if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self.send(Answer(problem.error_status_hint, (), b""))
            return None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None

    async def send(self, answer: Answer, *, cut_at: int | None = None) -> None:
        """Send `answer`; with `cut_at`, only so many bytes of its body. Errors of a client that left are ignored."""
        length = ("Content-Length", str(len(answer.body)))
        reason = HTTPStatus(answer.status).phrase if answer.status in _STATUSES else ""
        response = h11.Response(status_code=answer.status, headers=[*answer.headers, length], reason=reason)
        data = self._h11.send(response) or b""
        if cut_at is None:
            data += (self._h11.send(h11.Data(answer.body)) or b"") + (self._h11.send(h11.EndOfMessage()) or b"")
        else:
            data += answer.body[:cut_at]
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_all(data)

    async def _next_request(self) -> Incoming | None:
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        if self._h11.our_state is not h11.IDLE:
            return None
        request = await self._next_event()
        if not isinstance(request, h11.Request):
            return None
        headers = list(request.headers)
        incoming = Incoming(request.method.decode(), bytes(request.target), headers, b"")
        if incoming.upgrades:
            return evolve(incoming, early=self._h11.trailing_data[0])
        size = 0
        while isinstance(data := await self._next_event(), h11.Data):
            size += len(data.data)
            if size > _MAX_BODY_BYTES:
                return None
        return incoming

    async def _next_event(self) -> object:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._h11.receive_data(bytes(await self._stream.receive_some(_READ_BYTES)))

"""REST: bounded GET requests over a `Network`, by the real HTTP client.

httpx builds requests, httpcore keeps connections alive, and below both sits our `Network`, so that the same client
runs over TCP and, under virtual time, in memory. TLS is the network's business too: the pool speaks plain HTTP over
whatever stream it is given. Answers are asked for uncompressed. No redirects are followed and no proxy, netrc or other
environment setting is read: a venue's address means that address.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import httpcore
import httpx
import trio
from attrs import frozen

from candleactors.errors import ConfigError, ConnectFailed, LocalProtocolError, RequestFailed, excerpt
from candleactors.transport.network import Network
from candleactors.transport.pipe import PipeStream
from candleactors.transport.tls import TlsStream, default_context
from candleactors.venues.base import RestRequest

MAX_ANSWER_BYTES = 16 << 20
MAX_CONNECTIONS = 8
KEEPALIVE_S = 30.0


@frozen
class RestAnswer:
    """An answer with any status. Header names are lower case; repeated ones are joined with commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RestClient:
    """GET requests to one base URL. An async context manager; open connections are closed on the way out."""

    def __init__(
        self,
        base_url: str,
        *,
        network: Network,
        timeout_s: float,
        tls: ssl.SSLContext | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """`headers` go with every request.

        Raises `ConfigError` unless `base_url` is ``http://host`` or ``https://host``, port and path optional.
        """
        try:
            self._base = httpx.URL(base_url)
        except httpx.InvalidURL as error:
            raise ConfigError(f"no REST URL: {error}") from None
        if self._base.scheme not in ("http", "https") or not self._base.host or self._base.userinfo:
            raise ConfigError(f"no REST URL: {self._base.scheme}://{self._base.host}")
        context = (tls or default_context()) if self._base.scheme == "https" else None
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            transport=_PoolTransport(network, context, max_answer_bytes),
            base_url=self._base,
            timeout=None,
            headers=[("Accept-Encoding", "identity"), *headers],
            trust_env=False,
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def get(self, request: RestRequest) -> RestAnswer:
        """Return the venue's answer, whatever its status.

        Raises `RequestFailed` for everything that leaves no complete answer: no connection, a time-out of the whole
        request, a broken or truncated answer, one longer than the bound. Its message names the host and the path,
        never parameters or headers, which may hold secrets; nor does it carry a cause that could.
        """
        what = f"GET {self._base.host}{excerpt(request.path, 100)}"
        answer: RestAnswer | None = None
        try:
            with trio.move_on_after(self._timeout_s):
                answer = await self._get(request)
        except ConnectFailed as error:
            raise RequestFailed(f"{what}: {error}") from None
        except (httpx.LocalProtocolError, httpcore.LocalProtocolError, httpx.InvalidURL) as error:
            raise LocalProtocolError(f"{what}: no valid request ({type(error).__name__})") from None
        except (httpx.HTTPError, *_POOL_ERRORS) as error:
            raise RequestFailed(f"{what}: {type(error).__name__}: {excerpt(str(error))}") from None
        if answer is None:
            raise RequestFailed(f"{what}: no answer within {self._timeout_s:g} s")
        return answer

    async def _get(self, request: RestRequest) -> RestAnswer:
        async with self._http.stream("GET", request.path, params=request.params) as response:
            # Raw: a body compressed though we asked for none could unpack to any size.
            body = b"".join([chunk async for chunk in response.aiter_raw()])
            return RestAnswer(response.status_code, dict(response.headers.items()), body)


_POOL_ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ConnectionNotAvailable,
    httpcore.UnsupportedProtocol,
)


class _PoolTransport(httpx.AsyncBaseTransport):
    """httpx above, an httpcore pool below."""

    def __init__(self, network: Network, tls: ssl.SSLContext | None, max_answer_bytes: int) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_S,
            network_backend=_Backend(network, tls, max_answer_bytes),
        )
        self._encrypted = tls is not None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        port = request.url.port or (443 if self._encrypted else 80)
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=b"http", host=request.url.raw_host, port=port, target=request.url.raw_path),
                headers=request.headers.raw,
                content=_NoBody(),
            )
        )
        return httpx.Response(status_code=answer.status, headers=answer.headers, stream=_Body(answer))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _NoBody:
    """The body of a GET. No generator: a server that answers early would leave one for the collector to complain of."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._answer.aiter_stream():
            yield chunk

    async def aclose(self) -> None:
        await self._answer.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, network: Network, tls: ssl.SSLContext | None, max_answer_bytes: int) -> None:
        self._network = network
        self._tls = tls
        self._max_answer_bytes = max_answer_bytes

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._network.connect(host, port, self._tls), self._max_answer_bytes)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A Trio stream as httpcore wants it, with a bound on the bytes of one answer.

    The bound sits down here because an error from below unwinds every generator above it.
    """

    def __init__(self, stream: trio.abc.Stream, max_answer_bytes: int) -> None:
        self._stream = stream
        self._max_answer_bytes = max_answer_bytes
        self._answer_bytes = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's interface
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(str(error)) from None
        self._answer_bytes += len(data)
        if self._answer_bytes > self._max_answer_bytes:
            raise httpcore.ReadError(f"an answer of more than {self._max_answer_bytes} bytes")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's interface
        self._answer_bytes = 0
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(str(error)) from None

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return _readable(self._stream) if info == "is_readable" else None


def _readable(stream: trio.abc.Stream) -> bool:
    """Say whether an idle connection has something to read, which can only be its end."""
    if isinstance(stream, TlsStream):
        stream = stream.transport
    if isinstance(stream, PipeStream):
        return stream.readable
    if isinstance(stream, trio.SocketStream):
        if stream.socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(stream.socket, select.POLLIN)
        return bool(poll.poll(0))
    return False

"""The server: HTTP/1.1 under Trio, as an actor beside the feed it serves."""

from __future__ import annotations

import logging
import socket
from functools import partial
from typing import Any, Final

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from candleactors.actors.child import ChildContext
from candleactors.errors import ConfigError
from candleactors.feed import Feed
from candleactors.settings import WebSettings
from candleactors.web.app import make_app
from candleactors.web.connections import Connections
from candleactors.web.live import LiveReaders

_GRACE_S: Final = 1.0
"""For requests under way when the server stops. Live connections end by themselves before."""
_SEND_BUFFER: Final = 256 * 1024
"""Bytes that the kernel holds for a client; without a limit it would be megabytes for each that stops reading."""
_BACKLOG: Final = 512


class WebServer:
    """Serves a feed over HTTP; a `candleactors.feed.Service`, one for each feed.

    `address` is where, once it does, so that port 0 is of use.
    """

    name = "web"

    def __init__(self, settings: WebSettings) -> None:
        self.address: str | None = None
        """``http://host:port``"""
        self._settings = settings
        self._port = settings.port

    async def run(self, feed: Feed, context: ChildContext) -> None:
        """Serve until asked to stop; raises `ConfigError` where the address cannot be listened on."""
        readers = LiveReaders(feed, self._settings)
        connections = Connections(self._settings.max_connections, self._settings.send_timeout_s)
        worker = WorkerContext(None)
        app: Any = make_app(feed, readers, self._settings)
        serve = partial(_serve, wrap_app(app, 0, "asgi"), _config(self._settings), worker, connections)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._listen()))
        async with trio.open_nursery() as serving, trio.open_nursery() as accepting:
            accepting.start_soon(partial(trio.serve_listeners, serve, [listener], handler_nursery=serving))
            structlog.get_logger("candleactors").info("web server listens", about="web", address=self.address)
            serving.start_soon(readers.run)
            serving.start_soon(connections.watch)
            context.started()
            await context.stopping.wait()
            accepting.cancel_scope.cancel()
            readers.stopping.set()
            await worker.terminated.set()
            serving.start_soon(_end, serving.cancel_scope, connections)

    def _listen(self) -> socket.socket:
        """Return a listening socket, on the same port as in an earlier life."""
        host = self._settings.host
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(host, self._port, type=socket.SOCK_STREAM)[0]
            listener = socket.socket(family, kind, protocol)
        except OSError as error:
            raise ConfigError(f"{host} cannot be listened on: {error.strerror}", key="web.host") from None
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # These are inherited by the connections.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.setblocking(False)
            listener.bind(place)
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            problem = f"{host}:{self._port} cannot be listened on: {error.strerror}"
            raise ConfigError(problem, key="web.port") from None
        self._port = listener.getsockname()[1]
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{self._port}"
        return listener


async def _serve(
    app: Any, config: Config, worker: WorkerContext, connections: Connections, stream: trio.SocketStream
) -> None:
    """Serve one connection."""
    guarded = connections.take(stream)
    if guarded is None:
        await stream.aclose()
        return
    try:
        # What `hypercorn.trio.serve` does for a connection; it takes no streams of others.
        await TCPServer(app, config, worker, ConnectionState({}), guarded)  # type: ignore[arg-type]
    finally:
        connections.leave(guarded)


async def _end(serving: trio.CancelScope, connections: Connections) -> None:
    """Let requests under way finish for a while, then end what is left."""
    with trio.move_on_after(_GRACE_S):
        await connections.none_left()
    connections.cut_off()
    serving.cancel()


def _config(settings: WebSettings) -> Config:
    config = Config()
    config.keep_alive_timeout = settings.request_timeout_s  # also for the headers of the first request
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")
    config.loglevel = "WARNING"
    return config

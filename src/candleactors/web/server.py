"""The server: HTTP/1.1 under Trio, as an actor beside the feed it serves."""

from __future__ import annotations

import logging
import socket
from typing import Any, Final

import structlog
import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio import serve

from candleactors.actors.child import ChildContext
from candleactors.errors import ConfigError
from candleactors.feed import Feed
from candleactors.settings import WebSettings
from candleactors.web.app import make_app
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
        app: Any = make_app(feed, readers, self._settings)
        config = _config(self._settings, self._listen())

        async def stop() -> None:
            await context.stopping.wait()
            readers.stopping.set()

        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve(app, config, shutdown_trigger=stop, task_status=task_status))
            structlog.get_logger("candleactors").info("web server listens", about="web", address=self.address)
            context.started()

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
            # All of this is inherited by the connections.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # Hypercorn shields its sends: without this, a client that stops reading would outlive even the server.
                milliseconds = round(self._settings.send_timeout_s * 1000)
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
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


class _Config(Config):
    """Hypercorn's configuration, with a socket made here."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__()
        self._listener = listener

    def create_sockets(self) -> Sockets:
        """Return the listening socket."""
        return Sockets([], [self._listener], [])


def _config(settings: WebSettings, listener: socket.socket) -> Config:
    config = _Config(listener)
    config.keep_alive_timeout = settings.request_timeout_s  # also for the headers of the first request
    config.graceful_timeout = _GRACE_S
    config.backlog = _BACKLOG
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")
    config.loglevel = "WARNING"
    return config

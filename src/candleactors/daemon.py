"""The daemon: a feed as a process, with signals and a status socket."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import structlog
import trio
from attrs import asdict

from candleactors.config import can_watch
from candleactors.errors import ConfigError, FeedClosed
from candleactors.feed import Feed, Service, open_feed
from candleactors.settings import Settings
from candleactors.symbols import check_symbols
from candleactors.transport.network import Network, TcpNetwork

_ASK_TIMEOUT_S = 5.0
_ALLOCATIONS, _YOUNG, _OLD = 20_000, 20, 100
"""Objects made before the youngest are looked at, and how often that is done before the older ones are."""
_OPEN_FILES = 65_536
"""Enough for any feed and its readers; with much more, programs that look at every number there may be take long."""


async def run_daemon(settings: Settings, *, network: Network | None = None) -> None:
    """Run the feed that `settings` describe until SIGINT or SIGTERM, then stop it in order; a second signal hurries.

    Answers ``status`` on ``settings.socket_path``, for the same user only. Raises `ConfigError` where there is nothing
    to watch or a venue does not know a symbol, and what made the feed give up.
    """
    if not can_watch(settings):
        raise ConfigError("no symbols to watch: name some under [venues.<venue>]", key="venues")
    allow_open_files()
    used_network = network or TcpNetwork()
    log = structlog.get_logger("candleactors")
    running = trio.CancelScope()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def obey() -> None:
                async for number in signals:
                    log.info("stopping", signal=signal.Signals(number).name)
                    (nursery.cancel_scope if running.cancel_called else running).cancel()

            nursery.start_soon(obey)
            with running:
                checked = await check_symbols(settings, used_network)
                services = _services(checked)
                async with open_feed(checked, services=services, network=used_network) as feed:
                    _settle_memory()
                    log.info("feed runs", pid=os.getpid(), store=settings.store.place)
                    await serve_status(feed, settings.socket_path)
            nursery.cancel_scope.cancel()
    log.info("feed stopped")


def allow_open_files() -> None:
    """Raise the limit of open files as far as this process may: each connection is one, and many begin with 1,024.

    Where that is refused, the feed goes on with what there is; a lower hard limit and a higher soft one are left alone.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with suppress(OSError, ValueError):  # macOS has limits beyond the limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _settle_memory() -> None:
    """Tell the garbage collector what a daemon's heap is like: what is there now stays, little of the rest has cycles.

    By default it would look at everything, again and again, for tens of milliseconds while a minute closes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, _YOUNG, _OLD)


def _services(settings: Settings) -> list[Service]:
    if not settings.web.enabled:
        return []
    # Late: its libraries take as long to import as all the rest.
    from candleactors.web.server import WebServer

    return [WebServer(settings.web)]


async def serve_status(feed: Feed, path: Path) -> None:
    """Answer each line ``status`` on the Unix socket at `path` with the feed's status, one JSON object a line.

    Runs until cancelled, and removes the socket then. Raises `ConfigError` if something else is at `path`.
    """
    async with _listening(path) as listener:
        await trio.serve_listeners(partial(_answer, feed), [trio.SocketListener(listener)])


async def _answer(feed: Feed, stream: trio.SocketStream) -> None:
    async with stream:
        with trio.move_on_after(_ASK_TIMEOUT_S):
            try:
                asked = await stream.receive_some(64)
                if asked.strip() != b"status":
                    answer: dict[str, object] = {"error": "ask for: status"}
                else:
                    answer = asdict(feed.status())
                await stream.send_all(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
            except (trio.BrokenResourceError, FeedClosed):
                return


@asynccontextmanager
async def _listening(path: Path) -> AsyncIterator[trio.socket.SocketType]:
    """Bind the socket at `path`, readable by its owner only. A dead one is replaced."""
    place = trio.Path(path)
    if await place.is_socket():
        # Feeds that share a database may share a folder as well.
        if await _is_answered(path):
            raise ConfigError(f"another feed answers at {path}", key="status_socket")
        await place.unlink()
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        await listener.bind(str(path))
    except OSError as error:
        raise ConfigError(f"no status socket at {path}: {error.strerror or error}", key="status_socket") from None
    finally:
        os.umask(mask)
    try:
        listener.listen(16)
        yield listener
    finally:
        listener.close()
        os.unlink(path)


async def _is_answered(path: Path) -> bool:
    try:
        stream = await trio.open_unix_socket(str(path))
    except OSError:
        return False
    await stream.aclose()
    return True

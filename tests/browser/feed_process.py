"""A simulated venue and a feed of it that serves HTTP: real processes, as users run them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

DEADLINE_S = 30
HISTORY = 700
VENUE = "binance-spot"
CONFIG = """
[venues.{venue}]
symbols = ["BTCUSDT", "ETHUSDT"]
timeframes = ["1s", "1m"]
derived = ["7m"]
websocket_url = "ws://{simulator}"
rest_url = "http://{simulator}"

[repair]
history = {history}

[store]
path = "{store}"

[web]
enabled = true
port = {port}
heartbeat_s = 1.0
{web}
"""


class FeedProcess:
    """``candleactors run``, which may be killed and started again: same store, same address."""

    def __init__(self, folder: Path, simulator: str, web: str = "", token: str = "") -> None:
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self._config = folder / "candles.toml"
        self._log = folder / "log"
        store = folder / "candles.sqlite"
        self._config.write_text(
            CONFIG.format(venue=VENUE, simulator=simulator, store=store, port=self.port, history=HISTORY, web=web)
        )
        self._environment = os.environ | ({"CANDLEACTORS_WEB__TOKEN": token} if token else {})
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it has its history."""
        command = [sys.executable, "-c", "from candleactors.cli import main; main()", "run", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        give_up_s = time.monotonic() + DEADLINE_S
        while not (self._answers() and self._has_history()):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < give_up_s, self._log.read_text()
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal, and wait until it is gone."""
        if self._process is not None:
            self.send(number)
            self._process.wait(DEADLINE_S)
            self._process = None

    def get(self, path: str, **parameters: str | int) -> Any:
        """Return what the API answers."""
        response = httpx.get(f"{self.origin}/{path}", params=parameters, headers=self._headers, timeout=DEADLINE_S)
        response.raise_for_status()
        return response.json()

    def _has_history(self) -> bool:
        stream = {"venue": VENUE, "symbol": "BTCUSDT"}
        pages = (self.get("api/candles", **stream, timeframe=frame, limit=HISTORY) for frame in ("1s", "1m"))
        return all(len(page["candles"]) == HISTORY for page in pages)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.origin}/healthz").is_success
        except httpx.TransportError:
            return False


@contextmanager
def running_feed(folder: Path, simulator: str, web: str = "", token: str = "") -> Iterator[FeedProcess]:
    """Run a feed around the body."""
    feed = FeedProcess(folder, simulator, web, token)
    try:
        feed.start()
        yield feed
    finally:
        feed.end(signal.SIGKILL)


@contextmanager
def running_simulator() -> Iterator[str]:
    """Run a simulator around the body, which is given its address, host and port."""
    code = "from candleactors.cli.sim import sim; sim()"
    command = [sys.executable, "-c", code, "--venue", VENUE, "--port", "0", "--symbols", "3", "--history", "24"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(2)]
        try:
            yield next(url.removeprefix("http://") for _, kind, url in lines if kind == "rest")
        finally:
            process.send_signal(signal.SIGINT)


def free_port() -> int:
    """Return a port that nobody listens on, for a feed that comes back to where it was."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port

"""``python -m benchmarks.live CLIENTS STREAMS SECONDS``: live candles for many readers over HTTP; prints JSON.

A simulator, a feed that serves HTTP, and its readers are a process each, as in life. Half of the streams close every
five seconds, all at the same instant; the others are minutes, which form meanwhile. Readers of one kind follow one
stream each, those of the other all of them. Beside what reaches the readers and when, the feed's own delivery is
measured, with them and with one only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from candleactors.sim import default_symbols

VENUE = "binance-spot"
FRAMES = ("5s", "1m")
CONFIG = """
[venues.{venue}]
symbols = {symbols}
timeframes = ["1s", "1m"]
derived = ["5s"]
websocket_url = "ws://{simulator}"
rest_url = "http://{simulator}"
[repair]
history = 20
[store]
path = "{store}"
[web]
enabled = true
port = 0
[log]
format = "json"
"""


@contextmanager
def simulator(symbols: int) -> Iterator[str]:
    """Run a simulated venue and yield its host and port."""
    command = [*_command("sim"), "--venue", VENUE, "--port", "0", "--symbols", str(symbols), "--history", "1"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().split() for _ in range(2)]
            yield next(url.removeprefix("http://") for _, kind, url in lines if kind == "rest")
        finally:
            process.kill()


@contextmanager
def feed(symbols: list[str], venue: str) -> Iterator[tuple[str, int]]:
    """Run a feed and yield its origin and process id, once it serves every stream."""
    with TemporaryDirectory() as folder:
        config = Path(folder, "candles.toml")
        values = {"venue": VENUE, "simulator": venue, "store": f"{folder}/candles.sqlite"}
        config.write_text(CONFIG.format(symbols=json.dumps(symbols), **values))
        with subprocess.Popen([*_command("run"), str(config)], stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    if address := json.loads(line).get("address"):
                        break
                while httpx.get(f"{address}/readyz").status_code != 200:
                    time.sleep(0.1)
                yield address, process.pid
            finally:
                process.kill()


def measure(clients: int, streams: int, seconds: float) -> dict[str, Any]:
    """Return the figures of every kind of readers."""
    symbols = [spec.symbol for spec in default_symbols(streams // len(FRAMES))]
    names = [f"{VENUE}:{symbol}:{frame}" for symbol in symbols for frame in FRAMES]
    kinds = {"1 reader of one": (1, 1), f"{clients} readers of one each": (clients, 1)}
    kinds[f"{clients} readers of all {streams}"] = (clients, streams)
    results = {}
    for kind, (count, each) in kinds.items():
        # A feed of its own, so that its histograms say only what happened meanwhile.
        with simulator(len(symbols)) as venue, feed(symbols, venue) as (origin, pid):
            chosen = [names if each > 1 else [names[number % len(names)]] for number in range(count)]
            before_s, started_s = _cpu_s(pid), time.monotonic()
            command = [sys.executable, "-m", "benchmarks.live_readers", origin, str(seconds)]
            done = subprocess.run(command, input=json.dumps(chosen), stdout=subprocess.PIPE, text=True, check=True)
            cpu_s, wall_s = _cpu_s(pid) - before_s, time.monotonic() - started_s
            (venue_status,) = httpx.get(f"{origin}/system/status").json()["venues"]
            results[kind] = {
                **json.loads(done.stdout),
                "feed_cpu_percent": round(100 * cpu_s / wall_s, 1),
                "feed_delivery": venue_status["latency"],
                "feed_memory_mb": _memory_mb(pid),
            }
    return results


def _command(name: str) -> list[str]:
    return [sys.executable, "-c", "from candleactors.cli import main; main()", name]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))

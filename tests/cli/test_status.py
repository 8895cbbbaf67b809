"""``candleactors status`` against a socket that answers as a feed does."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import Shell

from candleactors.cli import render

ANSWER = {
    "healthy": True,
    "uptime_s": 93784.5,
    "venues": [
        {
            "venue": "binance-spot",
            "active_symbols": 2,
            "subscriptions": 4,
            "connections": [
                {
                    "index": 1,
                    "connected": True,
                    "streams": 4,
                    "capacity_used_pct": 0.8,
                    "uptime_s": 3725.0,
                    "last_message_age_s": 0.25,
                    "subscriptions": {"desired": 4, "confirmed": 4},
                    "sick": ["binance-spot:ETHUSDT:1m"],
                    "last_disconnect": None,
                },
                {"index": 2, "connected": False, "last_message_age_s": None, "last_disconnect": "[red]1006[/red]"},
            ],
            "parked": {"NOPEUSDT": "unknown"},
            "repairing": 3,
            "clock_offset_ms": -12,
            "latency": {"candles": 12, "p50_ms": 2.5, "p99_ms": None},
            "bytes": 1_234_567,
        }
    ],
    "store": {"written": 10, "pending": 0},
    "children": [{"id": "hub", "state": "up", "restarts": 0}],
}


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """Serve one connection at `path` and collect the request."""
    requests: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                requests.append(connection.recv(100))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield requests
        thread.join()


@pytest.fixture
def path() -> Path:
    # Relative: the folder of a test may be too long a name for a socket.
    return Path("candles.sqlite.sock")


def test_tables(candleactors: Shell, path: Path) -> None:
    with answering(path, json.dumps(ANSWER).encode() + b"\n") as requests:
        outcome = candleactors("status")
    assert requests == [b"status\n"]
    assert (outcome.status, outcome.err) == (0, "")
    lines = [" ".join(line.split()) for line in outcome.out.splitlines()]
    for expected in (
        "healthy yes",
        "uptime 1d 2h",
        "binance-spot",
        "active symbols 2",
        "parked NOPEUSDT unknown",
        "repairing 3",
        "clock offset -12 ms",
        "latency candles 12, p50 2.5 ms, p99 –",
        "bytes 1.2 MB",
        "index connected streams capacity used uptime last message age sick last disconnect",
        "1 yes 4 0.8 % 1h 2m 0.2s binance-spot:ETHUSDT:1m –",
        "2 no – – – – – [red]1006[/red]",
        "store written 10, pending 0",
        "hub up 0",
    ):
        assert expected in lines


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (2.5e9, "2.5 GB"), (7e15, "7000.0 TB")]
)
def test_sizes(count: float, shown: str) -> None:
    assert render.size(count) == shown


def test_json(candleactors: Shell, path: Path) -> None:
    with answering(path, json.dumps(ANSWER).encode()):
        outcome = candleactors("status", "--json")
    assert json.loads(outcome.out) == ANSWER


def test_the_socket_comes_from_the_configuration(candleactors: Shell) -> None:
    Path("feed.toml").write_text('status_socket = "other.sock"')
    with answering(Path("other.sock"), b"{}\n"):
        assert candleactors("status", "--config", "feed.toml").status == 0


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400\r\n\r\n", b"[]\n", b"{\n"])
def test_something_else_answers(candleactors: Shell, path: Path, answer: bytes) -> None:
    with answering(path, answer):
        outcome = candleactors("status", "--socket", path)
    assert (outcome.status, outcome.err) == (1, f"candleactors: what answers at {path} is not a feed\n")


def leave_a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize("prepare", [leave_a_socket, lambda path: None])
def test_nobody_answers(candleactors: Shell, path: Path, prepare: Callable[[Path], None]) -> None:
    prepare(path)
    outcome = candleactors("status", "--socket", path)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith(f"candleactors: no feed answers at {path};")

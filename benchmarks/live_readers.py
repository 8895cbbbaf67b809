"""``python -m benchmarks.live_readers ORIGIN SECONDS``: many readers of live candles; streams on stdin, JSON on stdout.

Each reader's streams are a list of texts. When everybody is connected, the clock starts; what closes from then on, for
so many seconds, must reach every reader of its stream, once.
"""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import trio
from attrs import define, field

_CLOSED = re.compile(
    rb'id: [^\n]*\nevent: candle_update\ndata: \{"venue":"([^"]*)","symbol":"([^"]*)","timeframe":"([^"]*)",'
    rb'"open_time_ms":(\d+),"close_time_ms":(\d+),'
)
_GRACE_S = 2.0
_SETTLE_S = 6.0
"""The feed has just begun, and its history with it."""


@define
class Reader:
    """One connection, and what it was told."""

    streams: list[str]
    chunks: list[tuple[float, bytes]] = field(factory=list)
    """What came when, in epoch milliseconds; looked at afterwards, so that measuring costs the measured little."""
    events: int = 0
    closed: dict[tuple[bytes, bytes, bytes, int], float] = field(factory=dict)
    repeated: int = 0

    async def read(self, host: str, port: int, ready: trio.Semaphore) -> None:
        """Read until cancelled."""
        query = urlencode([("stream", stream) for stream in self.streams])
        head = f"GET /api/candles/stream?{query} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
        stream = await trio.open_tcp_stream(host, port)
        await stream.send_all(head.encode())
        connected = False
        while chunk := await stream.receive_some(1 << 18):
            self.chunks.append((time.time() * 1000, chunk))
            if not connected and b"event: connected" in chunk:
                connected = True
                ready.release()
        raise ConnectionError(f"the server ended a connection after {self.chunks[-1:]!r}")

    def understand(self, begin_ms: float, end_ms: float) -> None:
        """Count the events between two instants, and find what closed."""
        buffer = b""
        for now_ms, chunk in self.chunks:
            # What HTTP puts between chunks stands between events only.
            *blocks, buffer = (buffer + chunk).split(b"\n\n")
            self.events += len(blocks) if begin_ms <= now_ms <= end_ms else 0
            for block in blocks:
                if (found := _CLOSED.search(block)) is None:
                    continue
                key = (found[1], found[2], found[3], int(found[5]))
                self.repeated += key in self.closed
                self.closed[key] = now_ms - (int(found[5]) + 1)


async def main(origin: str, seconds: float, choices: list[list[str]]) -> dict[str, Any]:
    """Return what became of all readers."""
    parts = urlsplit(origin)
    assert parts.hostname is not None
    assert parts.port is not None
    readers, ready = [Reader(streams) for streams in choices], trio.Semaphore(0)
    async with trio.open_nursery() as nursery:
        for reader in readers:
            nursery.start_soon(reader.read, parts.hostname, parts.port, ready)
        for _ in readers:
            await ready.acquire()
        await trio.sleep(_SETTLE_S)
        begin_ms = time.time() * 1000
        await trio.sleep(seconds)
        end_ms = time.time() * 1000
        await trio.sleep(_GRACE_S)
        nursery.cancel_scope.cancel()
    for reader in readers:
        reader.understand(begin_ms, end_ms)
    return report(readers, begin_ms, end_ms, sum(reader.events for reader in readers) / seconds)


def report(readers: list[Reader], begin_ms: float, end_ms: float, events_per_s: float) -> dict[str, Any]:
    """Compare what readers of the same streams were told, and sum up."""
    # Streams of one timeframe close at the same instants: what anybody was told of any, everybody is owed of theirs.
    instants: dict[bytes, set[int]] = {}
    for reader in readers:
        for _, _, frame, close_ms in reader.closed:
            if begin_ms <= close_ms + 1 <= end_ms:
                instants.setdefault(frame, set()).add(close_ms)
    lost = 0
    latencies: list[float] = []
    for reader in readers:
        told = [delay for key, delay in reader.closed.items() if key[3] in instants.get(key[2], ())]
        frames = [stream.rpartition(":")[2].encode() for stream in reader.streams]
        lost += sum(len(instants.get(frame, ())) for frame in frames) - len(told)
        latencies += told
    latencies.sort()

    def at(share: float) -> float:
        return round(latencies[min(len(latencies) - 1, int(share * len(latencies)))], 1)

    return {
        "readers": len(readers),
        "instants": sum(map(len, instants.values())),
        "closed_candles": len(latencies),
        "lost": lost,
        "repeated": sum(reader.repeated for reader in readers),
        "events_per_s": round(events_per_s),
        "close_to_reader_ms": {"p50": at(0.5), "p99": at(0.99), "max": round(latencies[-1], 1)},
    }


if __name__ == "__main__":
    print(json.dumps(trio.run(main, sys.argv[1], float(sys.argv[2]), json.load(sys.stdin))))

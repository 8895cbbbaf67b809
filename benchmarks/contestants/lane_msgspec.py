"""candleactors' bulk lane and a msgspec decode of each message, prices as text, newest kept by stream."""

from __future__ import annotations

from typing import Any

import msgspec

from benchmarks.contestants.lane import receive
from benchmarks.task import Task


class Kline(msgspec.Struct, gc=False):
    t: int
    T: int
    f: int
    L: int
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the venue's names
    v: str
    n: int
    x: bool
    q: str
    V: str
    Q: str


class Event(msgspec.Struct, gc=False):
    E: int
    s: str
    k: Kline


class Combined(msgspec.Struct, gc=False):
    stream: str = ""
    data: Event | None = None


def run(task: Task) -> dict[str, Any]:
    decode = msgspec.json.Decoder(Combined).decode
    latest: dict[str, Event] = {}

    def count(batch: list[bytes]) -> int:
        klines = 0
        for raw in batch:
            message = decode(raw)
            if message.data is not None:
                latest[message.stream] = message.data
                klines += 1
        return klines

    return receive(task, count)

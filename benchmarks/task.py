"""What a contestant is told, and how it measures itself. Standard library only: peers have their own environments."""

from __future__ import annotations

import json
import resource
import ssl
import time
from dataclasses import asdict, dataclass, field
from typing import Any

NAMES_PER_REQUEST = 200


@dataclass(frozen=True)
class Task:
    """One run. `messages` is how many klines will come in all; a contestant ends when it has counted them."""

    url: str
    streams: list[str]
    messages: int
    authority: str | None = None
    """PEM file with the authority to trust, for ``wss``."""
    options: dict[str, Any] = field(default_factory=dict)
    """``coalesce_s``: pause before reads. ``streams_per_connection``. ``boundary``: every message closes a candle."""

    @classmethod
    def from_json(cls, text: str) -> Task:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.authority) if self.authority else None

    def connections(self) -> list[list[str]]:
        """Return the streams, split over connections."""
        size = self.options.get("streams_per_connection", len(self.streams))
        return [self.streams[i : i + size] for i in range(0, len(self.streams), size)]


def subscribe_requests(streams: list[str]) -> list[str]:
    """Return the texts that subscribe `streams` on one connection."""
    return [
        json.dumps({"method": "SUBSCRIBE", "params": streams[i : i + NAMES_PER_REQUEST], "id": i + 1})
        for i in range(0, len(streams), NAMES_PER_REQUEST)
    ]


def memory_bytes() -> int:
    """Return the resident memory of this process now."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


class Meter:
    """Counts klines. The clock runs from the first one to the last."""

    def __init__(self, task: Task) -> None:
        self.left = task.messages
        self._total = task.messages
        self._started = False
        self._cpu_ns = self._wall_ns = 0
        self._end_cpu_ns = self._end_wall_ns = 0
        self._memory_bytes = memory_bytes()

    @property
    def done(self) -> bool:
        return self.left <= 0

    def count(self, klines: int) -> bool:
        """Count `klines` and say whether these were the last."""
        if not klines:
            return False
        if not self._started:
            self._started = True
            self._cpu_ns, self._wall_ns = time.process_time_ns(), time.monotonic_ns()
        self.left -= klines
        if self.left <= 0:
            self._end_cpu_ns, self._end_wall_ns = time.process_time_ns(), time.monotonic_ns()
            return True
        return False

    def result(self) -> dict[str, Any]:
        return {
            "messages": self._total,
            "cpu_ns": self._end_cpu_ns - self._cpu_ns,
            "wall_ns": self._end_wall_ns - self._wall_ns,
            "last_delivery_ns": self._end_wall_ns,
            "memory_before_bytes": self._memory_bytes,
            "memory_after_bytes": memory_bytes(),
        }

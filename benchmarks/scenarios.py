"""The scenarios: what is sent, to whom, and which figures come of it. ``docs/performance.md`` explains the keys."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks import aggregation
from benchmarks.runner import Certificates, Setup, run_contestant

OURS = "feed"
"""The contestant that the ratios are of: the whole path from socket to subscriber."""
BLAST = (
    OURS,
    "feed_store",
    "lane",
    "lane_msgspec",
    "websockets_orjson",
    "trio_websocket_orjson",
    "cryptofeed",
    "unicorn",
)
PACED = (OURS, "feed_store", "lane_msgspec", "websockets_orjson", "trio_websocket_orjson")
COALESCE_S = (0.0, 0.005, 0.02)
COALESCING = (OURS, "lane_msgspec")
"""Contestants that pause between reads as they are told."""
BOUNDARY_STREAMS = 1068
SLOW = {"trio_websocket_orjson": 4, "unicorn": 4, "cryptofeed": 2}
"""Contestants that get so many times fewer messages in a blast, to keep the whole run short."""


@dataclass
class Bench:
    """One run of everything, with its choices."""

    messages: int = 400_000
    streams: int = 1000
    repeat: int = 3
    paced_seconds: float = 10.0
    only: tuple[str, ...] = ()
    contestants: tuple[str, ...] = ()
    pythons: dict[str, str] = field(default_factory=dict)
    certificates: Certificates | None = None
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)

    def blast(self, *, tls: bool) -> dict[str, Any]:
        """CPU and wall time of a message when they come as fast as the socket takes them."""
        return {
            name: self._best(
                name, Setup(self.streams, max(self.messages // SLOW.get(name, 1), self.streams), tls), self.repeat
            )
            for name in self._chosen(BLAST)
        }

    def paced(self) -> dict[str, Any]:
        """CPU of a message at a realistic pace, with and without read coalescing."""
        results: dict[str, Any] = {}
        for name in self._chosen(PACED):
            for coalesce_s in COALESCE_S if name in COALESCING else (None,):
                options = {} if coalesce_s is None else {"coalesce_s": coalesce_s}
                label = name if coalesce_s is None else f"{name} coalesce_s={coalesce_s:g}"
                setup = Setup(self.streams, round(4000 * self.paced_seconds), pace=4000, options=options)
                results[label] = self._best(name, setup, 1)
        return results

    def boundary(self) -> dict[str, Any]:
        """Time from the last close frame written to the last one delivered, when a minute ends on every stream."""
        options = {"streams_per_connection": 500, "boundary": True}
        setup = Setup(BOUNDARY_STREAMS, BOUNDARY_STREAMS, boundary=True, options=options)
        results: dict[str, Any] = {}
        for name in self._chosen(PACED):
            runs = [self._run(name, setup) for _ in range(max(3, self.repeat))]
            good = [run for run in runs if "skipped" not in run]
            if not good:
                results[name] = runs[0]
                continue
            delays_ms = [(run["last_delivery_ns"] - run["last_write_ns"]) / 1e6 for run in good]
            results[name] = {
                "streams": setup.streams,
                "last_close_to_last_delivery_ms": round(median(delays_ms), 3),
                "runs_ms": [round(delay, 3) for delay in delays_ms],
            }
        return results

    def memory(self) -> dict[str, Any]:
        """Resident memory that a stream costs, after three messages on each."""
        results: dict[str, Any] = {}
        for name in self._chosen(COALESCING):
            for streams in (1_000, 10_000):
                run = self._run(name, Setup(streams, 3 * streams, options={"streams_per_connection": 500}))
                if "skipped" not in run:
                    grown = run["memory_after_bytes"] - run["memory_before_bytes"]
                    run = {"memory_bytes": run["memory_after_bytes"], "bytes_per_stream": round(grown / streams)}
                results[f"{name} {streams}"] = run
        return results

    def resample(self) -> dict[str, Any]:
        """Wall and CPU time of a year of minutes to all sizes from 2m to 60m, and of conversions."""
        return aggregation.resample(self._chosen(aggregation.CONTESTANTS), self.repeat, self.say)

    def aggregate(self) -> dict[str, Any]:
        """CPU time of a closed minute candle for all those sizes, candle by candle, and the memory of a symbol."""
        return aggregation.aggregate(self.repeat, self.say)

    def simulation(self) -> dict[str, Any]:
        """How fast simulations pass on one core."""
        results = aggregation.child("simulated", str(self.repeat))
        for name, result in results.items():
            self.say(f"  {name}: {result['times_real']:,} × real time")
        return results

    def live(self) -> dict[str, Any]:
        """When 500 readers over HTTP are told of what closes, and what that costs the feed."""
        results = aggregation.child("live", "500", "50", "60")
        for name, result in results.items():
            self.say(f"  {name}: p99 {result['close_to_reader_ms']['p99']} ms")
        return results

    def stores(self) -> dict[str, Any]:
        """Closed candles a second, durable, into each store, and beside the same rows written without us."""
        return aggregation.child("stores")

    def _best(self, name: str, setup: Setup, repeat: int) -> dict[str, Any]:
        runs: list[dict[str, Any]] = []
        for _ in range(repeat):
            run = self._run(name, setup)
            if "skipped" not in run:
                runs.append(run)
            elif not runs:
                return run
        best = min(runs, key=lambda run: run["cpu_ns"])
        return {
            "messages": best["messages"],
            "cpu_us": round(best["cpu_ns"] / best["messages"] / 1e3, 3),
            "wall_us": round(best["wall_ns"] / best["messages"] / 1e3, 3),
            "messages_per_cpu_s": round(best["messages"] / best["cpu_ns"] * 1e9),
            "cpu_percent": round(100 * best["cpu_ns"] / best["wall_ns"], 1),
            "runs_cpu_us": [round(run["cpu_ns"] / run["messages"] / 1e3, 3) for run in runs],
        }

    def _run(self, name: str, setup: Setup) -> dict[str, Any]:
        result = run_contestant(name, setup, self.certificates, self.pythons.get(name, sys.executable))
        if "skipped" in result:
            self.say(f"  {name}: {result['skipped']}")
        else:
            self.say(f"  {name}: {result['cpu_ns'] / result['messages'] / 1e3:.2f} µs CPU a message")
        return result

    def _chosen(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if not self.contestants or name in self.contestants)


def ratios(blast: dict[str, Any]) -> dict[str, float]:
    """Return how many times as many messages per CPU-second ours handles, by contestant."""
    ours = blast.get(OURS, {}).get("messages_per_cpu_s")
    if not ours:
        return {}
    return {
        name: round(ours / result["messages_per_cpu_s"], 2)
        for name, result in blast.items()
        if name != OURS and "skipped" not in result
    }

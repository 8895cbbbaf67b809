"""``python -m benchmarks.incremental SYMBOLS REPEAT``: the incremental path, all sizes from 2m to 60m; prints JSON.

Every figure is of `BarBuilder.add` with the events it returns, once windows are full.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
from typing import Any

import trio

from benchmarks.aggregator import boundaries
from benchmarks.minutes import A_DAY, SIZES, minutes
from candleactors import BarBuilder

FLAT = 0.02
"""Share of flat minutes in the runs that have any."""
WARM_UP = 240
MEASURED_DAYS = 3
TRACED_SYMBOLS = 8


def builder() -> BarBuilder:
    return BarBuilder(SIZES)


def one_symbol(flat: float) -> dict[str, Any]:
    """Return what a closed candle costs on average over a day."""
    candles = list(minutes("AAAUSDT", 2, flat))
    bars = builder()
    for candle in candles[:A_DAY]:
        bars.add(candle)
    events = 0
    cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
    for candle in candles[A_DAY:]:
        events += len(bars.add(candle))
    cpu_ns, wall_ns = time.process_time_ns() - cpu_ns, time.perf_counter_ns() - wall_ns
    return {
        "symbols": 1,
        "cpu_us_per_candle": round(cpu_ns / A_DAY / 1e3, 3),
        "wall_us_per_candle": round(wall_ns / A_DAY / 1e3, 3),
        "events": events,
    }


def many_symbols(count: int, flat: float) -> dict[str, Any]:
    """Return what a boundary of `count` symbols takes as one batch: all minutes of a day, and the dearest of them."""
    feeds = [minutes(f"{number:03}USDT", 2, flat) for number in range(count)]
    bars = [builder() for _ in feeds]
    for feed, each in zip(feeds, bars, strict=True):
        for _ in range(WARM_UP):
            each.add(next(feed))
    cpus_ns, walls_ns, events = [], [], 0
    for _ in range(A_DAY):
        batch = [next(feed) for feed in feeds]
        cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
        made = [each.add(candle) for each, candle in zip(bars, batch, strict=True)]
        walls_ns.append(time.perf_counter_ns() - wall_ns)
        cpus_ns.append(time.process_time_ns() - cpu_ns)
        events += sum(map(len, made))
    return {
        "symbols": count,
        "cpu_us_per_candle": round(sum(cpus_ns) / A_DAY / count / 1e3, 3),
        "wall_us_per_candle": round(sum(walls_ns) / A_DAY / count / 1e3, 3),
        "events": events,
        "minute_ms": round(sum(cpus_ns) / A_DAY / 1e6, 3),
        "largest_minute_ms": round(max(cpus_ns) / 1e6, 3),
    }


def memory() -> dict[str, Any]:
    """Return the memory that a symbol holds at the end of each of three days."""
    feeds = [minutes(f"{number:03}USDT", MEASURED_DAYS) for number in range(TRACED_SYMBOLS)]
    builder()  # what all symbols share
    gc.collect()
    tracemalloc.start()
    bars = [builder() for _ in feeds]
    held = []
    for _ in range(MEASURED_DAYS):
        for feed, each in zip(feeds, bars, strict=True):
            for _ in range(A_DAY):
                each.add(next(feed))
        gc.collect()
        held.append(round(tracemalloc.get_traced_memory()[0] / TRACED_SYMBOLS))
    tracemalloc.stop()
    return {"bytes_per_symbol": held[-1], "bytes_by_day": held}


def main(symbols: int, repeat: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, flat in (("", 0.0), ("_flat", FLAT)):
        runs = [one_symbol(flat) for _ in range(repeat)]
        found[f"one_symbol{kind}"] = min(runs, key=lambda run: float(run["cpu_us_per_candle"]))
        found[f"{symbols}_symbols{kind}"] = many_symbols(symbols, flat)
    found[f"{symbols}_symbols_aggregator"] = trio.run(boundaries, symbols)
    found["memory"] = memory()
    return found


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))

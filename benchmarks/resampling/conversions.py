"""``python -m benchmarks.resampling.conversions REPEAT``: candles to columns and back, in a process of its own."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from benchmarks.resampling.with_columnar import prepare
from benchmarks.resampling.year import year
from candleactors.columnar import CandleTable


def main(repeat: int) -> dict[str, Any]:
    table = prepare(year())
    runs: dict[str, list[list[float]]] = {"CandleTable.candles": [], "CandleTable.of": []}
    for _ in range(repeat):
        cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
        candles = table.candles()
        runs["CandleTable.candles"].append(_since(cpu_ns, wall_ns))
        cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
        CandleTable.of(candles)
        runs["CandleTable.of"].append(_since(cpu_ns, wall_ns))
        del candles
    return {"candles": len(table), "runs_s": runs}


def _since(cpu_ns: int, wall_ns: int) -> list[float]:
    return [(time.perf_counter_ns() - wall_ns) / 1e9, (time.process_time_ns() - cpu_ns) / 1e9]


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))

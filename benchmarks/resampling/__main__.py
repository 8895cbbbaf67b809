"""``python -m benchmarks.resampling NAME REPEAT``: one contestant in a process of its own; prints its figures as JSON.

`digest` is of all the numbers it made. CPU is that of the whole process, all threads.
"""

from __future__ import annotations

import json
import sys
import time
from hashlib import sha256
from importlib import import_module
from typing import Any

from benchmarks.resampling.year import RESULT, SIZES, year


def main(name: str, repeat: int) -> dict[str, Any]:
    contestant: Any = import_module(f"benchmarks.resampling.with_{name}")
    source = contestant.prepare(year())
    runs = []
    digest = sha256()
    for number in range(repeat + 1):
        cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
        derived = contestant.resample(source)
        runs.append([(time.perf_counter_ns() - wall_ns) / 1e9, (time.process_time_ns() - cpu_ns) / 1e9])
        if number == 0:
            for size in SIZES:
                made = contestant.result(derived, size)
                for column in RESULT:
                    digest.update(made[column].astype("<i8").tobytes())
        del derived
    return {"runs_s": runs, "digest": digest.hexdigest()}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))

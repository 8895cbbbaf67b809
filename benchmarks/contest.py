"""Runs one contestant in this process: ``python -m benchmarks.contest NAME TASK``; prints its result as JSON."""

from __future__ import annotations

import importlib
import json
import os
import sys

from benchmarks.task import Task


def main() -> None:
    name, task = sys.argv[1], Task.from_json(sys.argv[2] if sys.argv[2] != "-" else sys.stdin.read())
    try:
        contestant = importlib.import_module(f"benchmarks.contestants.{name}")
    except ImportError as error:
        print(json.dumps({"skipped": f"not installed: {error}"}))
        return
    print(json.dumps(contestant.run(task)), flush=True)
    os._exit(0)  # some peers leave threads behind that would never end


if __name__ == "__main__":
    main()

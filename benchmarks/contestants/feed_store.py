"""`feed` with its SQLite store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import trio

from benchmarks.contestants.feed import minute_before, run_with, streams_of
from benchmarks.task import Task
from candleactors.stores.sqlite import open_sqlite


def run(task: Task) -> dict[str, Any]:
    return trio.run(_run, task)


async def _run(task: Task) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_sqlite(Path(folder) / "candles.sqlite") as store:
            await store.write([minute_before(stream) for stream in streams_of(task)], [])
            return await run_with(task, store)

"""Runs of the demo in memory and in virtual time."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio
from trio.testing import MockClock

from candleactors.demo.plan import Options
from candleactors.demo.report import Report
from candleactors.demo.run import Show, Stop, run_demo
from candleactors.stores.sqlite import SqliteStore
from candleactors.transport.clock import VirtualClock

EPOCH_MS = 1_767_225_600_000 + 1_234


def run(
    options: Options,
    folder: Path,
    *,
    show: Show | None = None,
    stop_after_s: float | None = None,
    hurry: trio.Event | None = None,
) -> Report:
    """Run the demo from start to end and return its report.

    `stop_after_s` ends it then; `hurry` keeps it from waiting for repairs once it is set.
    """
    stop = Stop() if hurry is None else Stop(hurried=hurry)
    return trio.run(partial(_run, options, folder, stop, show, stop_after_s), clock=MockClock(autojump_threshold=0))


async def _run(options: Options, folder: Path, stop: Stop, show: Show | None, stop_after_s: float | None) -> Report:
    store = await SqliteStore.open(folder / "candles.sqlite", threaded=False)
    try:
        async with trio.open_nursery() as nursery:
            if stop_after_s is not None:
                nursery.start_soon(_press, stop, stop_after_s)
            report = await run_demo(options, stop, show, store=store, clock=VirtualClock(EPOCH_MS), in_memory=True)
            nursery.cancel_scope.cancel()
    finally:
        await store.aclose()
    return report


async def _press(stop: Stop, after_s: float) -> None:
    await trio.sleep(after_s)
    stop.press()

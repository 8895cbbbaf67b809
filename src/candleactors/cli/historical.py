"""Runs over history for commands: interrupts, a progress bar, and what was done in the end."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator

import click
import trio

from candleactors.cli import render
from candleactors.cli.progress import Bar, progress
from candleactors.history import History, StreamReport
from candleactors.model import Stream
from candleactors.settings import Settings
from candleactors.stores import open_store
from candleactors.stores.base import Archive

_BUSY_TIMEOUT_S = 30.0
_FAILED = 1

of_share = click.option(
    "--share",
    type=click.FloatRange(0.01, 1),
    default=0.5,
    show_default=True,
    help="Of each venue's REST budget; the rest is for a feed.",
)
"""Adds the option of how much of a venue's budget a run may spend."""


def run_history(settings: Settings, share: float, work: Callable[[History, Archive], Awaitable[None]]) -> int:
    """Do `work` over the store of `settings` and tell what was done; return the exit status.

    An interrupt ends it in order; what was done is told then as well, and `KeyboardInterrupt` raised.
    """
    runs: list[History] = []
    interrupted = trio.run(_run, settings, share, work, runs)
    for run in runs:
        _print_summary(run)
    if interrupted:
        click.echo("candleactors: interrupted; the same command goes on", err=True)
        raise KeyboardInterrupt
    return _FAILED if any(run.errors or any(r.error for r in run.reports.values()) for run in runs) else 0


async def _run(
    settings: Settings, share: float, work: Callable[[History, Archive], Awaitable[None]], runs: list[History]
) -> bool:
    async with open_store(settings.store, guest=True, wait_s=_BUSY_TIMEOUT_S) as store:
        with (
            progress(0) as bar,
            trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
            trio.CancelScope() as running,
        ):
            run = History(settings, store, share=share, told=lambda: _show(run, bar))
            runs.append(run)
            async with trio.open_nursery() as nursery:

                async def obey() -> None:
                    async for _ in signals:
                        running.cancel()

                nursery.start_soon(obey)
                await work(run, store)
                nursery.cancel_scope.cancel()
    return running.cancelled_caught


def _show(run: History, bar: Bar) -> None:
    reports = list(run.reports.values())
    ended = sum(report.done or report.error is not None for report in reports)
    doing = f"{ended} of {len(reports)} streams"
    if run.waiting:
        venue, why = next(iter(run.waiting.items()))
        doing = f"{venue} waits: {why}"[:60]
    planned = sum(report.planned for report in reports)
    bar(sum(report.asked for report in reports), sum(report.new for report in reports), doing, total=planned)


def _print_summary(run: History) -> None:
    reports = sorted(run.reports.values(), key=lambda report: _order(report.stream))
    for report in reports:
        click.echo(f"{report.stream}: {', '.join(_said(report))}")
    for report in reports:
        if report.error is not None:
            click.echo(f"candleactors: {report.stream}: {' '.join(report.error.split())}", err=True)
    for error in run.errors:
        click.echo(f"candleactors: {' '.join(error.split())}", err=True)


def _order(stream: Stream) -> tuple[str, str, int]:
    return stream.venue, stream.symbol, stream.timeframe.nominal_ms


def _said(report: StreamReport) -> Iterator[str]:
    if report.error is not None:
        yield f"given up after {report.new} new"
    elif not report.done:
        yield f"{report.new} new so far"
    elif not (report.new or report.changed or report.outages):
        yield "nothing to add"
    else:
        yield f"{report.new} new"
    if report.changed:
        yield f"{report.changed} changed"
    if report.outages:
        yield f"{report.outages} that the venue lacks too"
    if report.begins_ms is not None:
        yield f"the venue's first is of {render.instant(report.begins_ms)}"

"""``candleactors gaps``: holes in the store."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import trio

from candleactors.cli import render
from candleactors.cli.selection import Selection, of_streams, settings_of
from candleactors.core.holes import Hole, HoleReason, holes
from candleactors.model import Timeframe
from candleactors.settings import StoreSettings
from candleactors.stores import open_store

_FIELDS = ("venue", "symbol", "timeframe", "first_open_time_ms", "last_open_time_ms", "candles", "reason")


@click.command()
@of_streams
@click.option("--all", "everything", is_flag=True, help="Include known outages of the venue.")
@click.option(
    "--format", "format_", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True
)  # fmt: skip
def gaps(
    venues: tuple[str, ...],
    symbols: tuple[str, ...],
    timeframes: tuple[Timeframe, ...],
    start: int | None,
    end: int | None,
    store: Path | None,
    config: Path | None,
    everything: bool,
    format_: str,
) -> None:
    """List the holes in the stored streams: intervals without a candle between the first and the last one.

    \b
    Of each is told why it is there:
      unrepaired   a feed noted it and could not fetch it yet
      unnoted      nobody did: an import that left it, a feed that was not there
      confirmed    the venue has nothing there either; only with --all

    Reads the store beside a running feed or without one; nothing is asked of a venue. "candleactors repair" mends what
    is listed.

    \b
      candleactors gaps
      candleactors gaps --venue okx --timeframes 1m --from 2026-07-01 --format csv
    """
    settings = settings_of(store, config).store
    found, streams = trio.run(_find, settings, Selection(venues, symbols, timeframes), start, end)
    shown = [hole for hole in found if everything or hole.reason is not HoleReason.CONFIRMED]
    {"table": _print_table, "csv": _print_csv, "json": _print_json}[format_](shown, streams)


async def _find(
    settings: StoreSettings, selection: Selection, start_ms: int | None, end_ms: int | None
) -> tuple[list[Hole], int]:
    async with open_store(settings, read_only=True, threaded=False) as store:
        streams = selection.of(await store.streams(), settings.place)
        found: list[Hole] = []
        for stream in streams:
            covered = await store.covered(stream, start_ms, end_ms)
            found += [
                hole
                for hole in holes(stream, covered, await store.gaps(stream))
                if (start_ms is None or hole.last_ms >= start_ms) and (end_ms is None or hole.first_ms <= end_ms)
            ]
    return found, len(streams)


def _print_table(shown: Sequence[Hole], streams: int) -> None:
    if not shown:
        click.echo(f"no holes in {streams} {'stream' if streams == 1 else 'streams'}")
        return
    render.holes(shown)


def _print_csv(shown: Sequence[Hole], streams: int) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_FIELDS)
    for hole in shown:
        writer.writerow(_record(hole).values())


def _print_json(shown: Sequence[Hole], streams: int) -> None:
    click.echo(json.dumps([_record(hole) for hole in shown], ensure_ascii=False, indent=1))


def _record(hole: Hole) -> dict[str, str | int]:
    stream = hole.stream
    values = (stream.venue, stream.symbol, str(stream.timeframe), hole.first_ms, hole.last_ms, hole.count)
    return dict(zip(_FIELDS, (*values, hole.reason.value), strict=True))

"""``candleactors db``: the tables of the store."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click
import trio

from candleactors.cli import render
from candleactors.cli.options import settings_from
from candleactors.core.retention import cut_ms
from candleactors.errors import ConfigError, InvalidTimeframe
from candleactors.feed import carriers
from candleactors.model import Stream, Timeframe
from candleactors.settings import Settings
from candleactors.stores import open_store, opening
from candleactors.stores.base import Archive

_BUSY_TIMEOUT_S = 30.0
_BATCH = 5_000
_FAR_MS = 2**53

_config = click.option("--config", type=click.Path(path_type=Path), help="Take the store from this configuration.")


@click.group()
def db() -> None:
    """Look at the tables of the store, and bring them up to date.

    \b
      candleactors db status --config candles.toml
      candleactors db upgrade --config candles.toml
      candleactors db prune --config candles.toml --dry-run
    """


@db.command()
@_config
def status(config: Path | None) -> int:
    """Say what the store is and whether its tables are up to date; nothing is changed.

    Exit status 1 if they are not, if there are none, or if the store cannot be reached.
    """
    settings = settings_from(config).store
    found = opening.condition(settings)
    if found.version == 0:
        tables = "none yet; a feed makes them, or candleactors db upgrade"
    elif found.is_current:
        tables = f"version {found.version}, up to date"
    else:
        tables = f"version {found.version}, this candleactors needs {found.needed}; run candleactors db upgrade"
    click.echo(f"store   {settings.place}\nkind    {found.kind}\ntables  {tables}")
    return 0 if found.is_current else 1


@db.command()
@_config
def upgrade(config: Path | None) -> None:
    """Make the tables of the store, or bring those of an earlier version up to date.

    Every version is a step that is done whole or not at all. Candles stay. Feeds of the earlier version that still run
    on a database are to be stopped before; a feed brings its own SQLite file up to date by itself.
    """
    settings = settings_from(config).store
    before, after = trio.run(opening.upgrade, settings)
    if before == after:
        click.echo(f"{settings.place}: version {after}, nothing to do")
    else:
        made = "made" if before == 0 else f"brought from version {before}"
        click.echo(f"{settings.place}: tables {made}{' in' if before == 0 else ' to'} version {after}")


@db.command()
@_config
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def prune(config: Path | None, dry_run: bool) -> None:
    """Delete candles that are older than [retention] in the configuration says.

    A feed with this configuration does so by itself every six hours; this is for a store that no feed writes to now.
    Candles that others in the store may still be made from are kept, as a feed keeps them. Interrupted, the same
    command goes on.
    """
    settings = settings_from(config)
    if not settings.retention.days:
        raise ConfigError("no timeframe has a limit, so there is nothing to delete", key="retention.days")
    trio.run(_prune, settings, dry_run)


async def _prune(settings: Settings, dry_run: bool) -> None:
    opened = open_store(settings.store, threaded=False, read_only=dry_run, guest=not dry_run, wait_s=_BUSY_TIMEOUT_S)
    async with opened as store:
        streams = await store.streams()
        for stream in streams:
            if stream.timeframe not in settings.retention.days:
                continue
            newest = (await store.tails({stream: _FAR_MS})).get(stream)
            if newest is None:
                continue
            derived = _derived(settings, stream, streams)
            now_ms = time.time_ns() // 1_000_000
            before_ms = cut_ms(settings, newest[-1], now_ms, history=settings.repair.history, derived=derived)
            oldest = await store.candles(stream, end_ms=before_ms - 1, limit=1)
            if oldest:
                times = f"{render.instant(oldest[0].open_time_ms)} to {render.instant(before_ms)}"
                count = "" if dry_run else f"{await _delete(store, stream, before_ms)} "
                click.echo(f"{stream}: {count}candles from {times} {'would be ' if dry_run else ''}deleted")
        if not dry_run:
            await store.reclaim()


async def _delete(store: Archive, stream: Stream, before_ms: int) -> int:
    count = 0
    while deleted := await store.prune(stream, before_ms, most=_BATCH):
        count += deleted
    return count


def _derived(settings: Settings, source: Stream, stored: Iterable[Stream]) -> list[Timeframe]:
    """Return the timeframes that a feed may make from `source`: those it is to make, and those that are stored."""
    if source.venue not in settings.venues:
        return []
    carrier_of = carriers(settings)
    found = [each.timeframe for each in stored if (each.venue, each.symbol) == (source.venue, source.symbol)]
    derived = []
    for timeframe in dict.fromkeys([*settings.venues[source.venue].derived, *found]):
        with suppress(InvalidTimeframe):
            stream = Stream(source.venue, source.symbol, timeframe)
            if stream != source and carrier_of(stream) == source:
                derived.append(timeframe)
    return derived

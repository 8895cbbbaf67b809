"""``candleactors check``: is this configuration right, and what would it run?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from candleactors import venues
from candleactors.actors.venue import endpoints, streams_per_connection
from candleactors.cli.options import settings_to_run
from candleactors.model import Stream, Timeframe
from candleactors.settings import RetentionSettings, Settings, StoreSettings, VenueSettings, WebSettings
from candleactors.venues.sources import source_of


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
def check(file: Path | None) -> None:
    """Check the configuration FILE and print what it would run. Nothing is connected to.

    Without FILE it is what "candleactors run" would find. Variables in the environment are checked as well. The first
    mistake is one line on stderr, with exit status 2. Whether a venue trades a symbol is known only once the feed runs.
    """
    click.echo("\n".join([*summary(settings_to_run(file)), "The configuration is right."]))


def summary(settings: Settings) -> list[str]:
    """Return lines for people that say what would run."""
    lines = [line for name, venue in settings.venues.items() for line in _venue(name, venue)]
    health, repair = settings.health, settings.repair
    return [
        *lines,
        f"store        {settings.store.place}",
        *_buffer(settings.store),
        f"status       {settings.socket_path}",
        f"web          {_web(settings.web)}",
        f"health       every {health.interval_s:g} s, a stream is stale after {health.stale_after_s:g} s",
        f"repair       {repair.history} candles of history, holes within {repair.deadline_s:g} s",
        f"retention    {_retention(settings.retention)}",
        f"log          {settings.log.level}, {settings.log.format}",
    ]


def _venue(name: str, venue: VenueSettings) -> list[str]:
    rules = venues.codec(name).rules
    frames = (*venue.timeframes, *venue.derived)
    carriers = {source_of(Stream(name, "", frame), rules, venue.derived) for frame in frames}
    taken = sorted((stream.timeframe for stream in carriers), key=lambda timeframe: timeframe.nominal_ms)
    streams = len(venue.symbols) * len(taken)
    cap = streams_per_connection(rules, venue)
    connections = min(-(-streams // cap), venue.max_connections)
    addresses = endpoints(rules, venue)
    waiting = max(0, streams - cap * venue.max_connections)
    lines = [
        f"{name} ({rules.title}{', test network' if venue.testnet else ''})",
        f"  streams    {streams}: {len(venue.symbols)} symbols in {', '.join(map(str, taken))}",
        *([f"  derived    {_ranges(venue.derived)}"] if venue.derived else []),
        f"  connect    {connections} of at most {venue.max_connections} connections, {cap} streams each",
        f"  websocket  {venue.websocket_url or addresses.websocket}",
        f"  rest       {venue.rest_url or addresses.rest}",
        f"  limits     {venue.messages_per_s or rules.messages_per_s:g} messages/s and connection,"
        f" {venue.connects or rules.connects} connects in {venue.connects_window_s or rules.connects_window_s:g} s,"
        f" REST weight {venue.rest_weight or rules.rest_weight} in {venue.rest_window_s or rules.rest_window_s:g} s",
    ]
    if waiting:
        lines.append(f"  note       {waiting} streams find no room: raise max_connections or streams_per_connection")
    return lines


def _retention(retention: RetentionSettings) -> str:
    """Return how long what is kept."""
    by_length = sorted(retention.days.items(), key=lambda item: item[0].nominal_ms)
    kept = [f"{timeframe} for {days:g} days" for timeframe, days in by_length]
    return ", ".join([*kept, "all else for ever" if kept else "everything for ever"])


def _buffer(store: StoreSettings) -> list[str]:
    """Return where rows wait while the database takes none."""
    if store.url is None:
        return []
    if not store.max_buffered:
        return ["buffer       none: rows wait in memory, and a feed needs the database to begin"]
    return [f"buffer       {store.buffer}, for at most {store.max_buffered:,} rows"]


def _web(web: WebSettings) -> str:
    """Return where the web side is and who is let in. The token itself is nobody's business."""
    if not web.enabled:
        return "off"
    host = f"[{web.host}]" if ":" in web.host else web.host
    address = f"http://{host}:{web.port}" if web.port else f"http://{host}, any port that is free"
    if web.token is not None:
        return f"{address}, with a token"
    if web.no_auth:
        return f"{address}, no_auth: whoever reaches it may read and steer the feed"
    # Settings refuse any other host without one of these.
    return f"{address}, for this machine only"


def _ranges(timeframes: Sequence[Timeframe]) -> str:
    """Return `timeframes` as a list in which neighbours of one unit are written ``2m..60m``."""
    runs: list[list[Timeframe]] = []
    for timeframe in timeframes:
        last = runs[-1][-1] if runs else None
        follows = last is not None and (last.count + 1, last.unit, last.anchor) == (
            timeframe.count,
            timeframe.unit,
            timeframe.anchor,
        )
        if follows:
            runs[-1].append(timeframe)
        else:
            runs.append([timeframe])
    return ", ".join(f"{run[0].count}{run[0].unit}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)

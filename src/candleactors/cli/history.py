"""``candleactors history``: stored candles for people and programs."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click
import trio
from attrs import frozen

from candleactors.cli import render
from candleactors.cli.options import as_instant_ms, as_timeframe, settings_from
from candleactors.cli.stored import choose
from candleactors.errors import CandleactorsError
from candleactors.klines.writers import write_csv, write_json
from candleactors.model import Candle, Stream, Timeframe
from candleactors.settings import StoreSettings
from candleactors.stores import open_store
from candleactors.stores.base import Archive

_TABLE_ROWS = 30


@frozen
class _Query:
    venue: str | None
    symbol: str
    timeframe: Timeframe
    start_ms: int | None
    end_ms: int | None
    limit: int | None


@click.command()
@click.argument("symbol")
@click.argument("timeframe", callback=as_timeframe)
@click.option("--venue", help="The venue; needed where several have the stream.")
@click.option("--store", type=click.Path(path_type=Path), help="The store's file.")
@click.option("--config", type=click.Path(path_type=Path), help="Take the store from this configuration.")
@click.option("--start", callback=as_instant_ms, help="Earliest open time: ISO 8601 (UTC) or milliseconds.")
@click.option("--end", callback=as_instant_ms, help="Latest open time.")
@click.option("--limit", type=click.IntRange(1), help="Most candles: the newest, or from --start on the oldest.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help=f"A table shows {_TABLE_ROWS} candles unless --limit says otherwise, the others all.",
)
def history(
    symbol: str,
    timeframe: Timeframe,
    venue: str | None,
    store: Path | None,
    config: Path | None,
    start: int | None,
    end: int | None,
    limit: int | None,
    format_: str,
) -> None:
    """Print the stored candles of SYMBOL in TIMEFRAME, oldest first.

    Reads the store beside a running feed or without one. Exit status 1 if there is nothing to print.

    \b
      candleactors history BTCUSDT 1m
      candleactors history BTCUSDT 1h --start 2026-01-01 --end 2026-02-01 --format csv > btc.csv
      candleactors history ETHUSDT 1m --venue binance-usdm --store candles.sqlite --limit 5 --format json
    """
    if store is not None and config is not None:
        raise click.UsageError("--store and --config exclude each other")
    settings = settings_from(config).store if store is None else StoreSettings(path=store)
    if limit is None and format_ == "table":
        limit = _TABLE_ROWS
    candles = trio.run(_read, settings, _Query(venue, symbol, timeframe, start, end, limit))
    {"table": _print_table, "csv": _print_csv, "json": _print_json}[format_](candles)


async def _read(settings: StoreSettings, query: _Query) -> list[Candle]:
    async with open_store(settings, read_only=True, threaded=False) as store:
        stream = choose(await store.streams(), query.venue, query.symbol, query.timeframe, settings.place)
        read = partial(store.candles, stream)
        newest = query.start_ms is None
        candles = await read(query.start_ms, query.end_ms, query.limit, newest=newest)
        if not candles:
            raise CandleactorsError(await _nothing(store, stream))
        return candles


async def _nothing(store: Archive, stream: Stream) -> str:
    first = await store.candles(stream, limit=1)
    last = await store.candles(stream, limit=1, newest=True)
    if not first:
        return f"no candle of {stream} is stored yet"
    times = f"{render.instant(first[0].open_time_ms)} to {render.instant(last[0].open_time_ms)}"
    return f"no candle of {stream} opens in that time; stored are {times}"


def _print_table(candles: list[Candle]) -> None:
    render.candles(candles)


def _print_csv(candles: list[Candle]) -> None:
    write_csv(candles, sys.stdout)


def _print_json(candles: list[Candle]) -> None:
    write_json(candles, sys.stdout)

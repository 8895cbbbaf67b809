"""``candleactors export``: stored candles into files for notebooks and other programs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import trio
from attrs import frozen

from candleactors.cli import render
from candleactors.cli.options import as_instant_ms, as_optional_timeframe, as_venue, settings_from
from candleactors.cli.progress import Bar, progress
from candleactors.cli.stored import choose
from candleactors.errors import CandleactorsError
from candleactors.klines.exporting import Exporter, Format, StreamExport
from candleactors.model import Stream, Timeframe
from candleactors.settings import StoreSettings
from candleactors.stores import open_store

_SUFFIXES = {f".{form}": form for form in Format}


@frozen
class _Wanted:
    """What is to be exported; everything of `venue`, or of all, without `symbol`."""

    venue: str | None
    symbol: str | None
    timeframe: Timeframe | None
    start_ms: int | None
    end_ms: int | None

    def of(self, stored: list[Stream], place: str) -> list[Stream]:
        """Return those of the streams in the store at `place`."""
        if self.symbol is not None and self.timeframe is not None:
            return [choose(stored, self.venue, self.symbol, self.timeframe, place)]
        found = [stream for stream in stored if self.venue in (None, stream.venue)]
        if not found:
            raise CandleactorsError(f"{place} has nothing{f' of {self.venue}' if self.venue else ''}")
        return found


@click.command()
@click.argument("symbol", required=False)
@click.argument("timeframe", required=False, callback=as_optional_timeframe)
@click.option("--all", "everything", is_flag=True, help="Everything that is stored, or that is of --venue.")
@click.option("--venue", callback=as_venue, help="The venue; needed where several have the stream.")
@click.option("--from", "start_ms", callback=as_instant_ms, help="Earliest open time: ISO 8601 (UTC) or milliseconds.")
@click.option("--to", "end_ms", callback=as_instant_ms, help="Latest open time.")
@click.option("--output", type=click.Path(), required=True, help="The file, whole or not at all; or a folder.")
@click.option("--format", "form", type=click.Choice(list(Format)), help="What to write, if the suffix does not tell.")
@click.option(
    "--numbers",
    type=click.Choice(["decimal", "float"]),
    default="decimal",
    show_default=True,
    help="In Parquet: exact, or quicker to calculate with.",
)
@click.option("--store", type=click.Path(path_type=Path), help="The store's file.")
@click.option("--config", type=click.Path(path_type=Path), help="Take the store from this configuration.")
def export(
    symbol: str | None,
    timeframe: Timeframe | None,
    everything: bool,
    venue: str | None,
    start_ms: int | None,
    end_ms: int | None,
    output: str,
    form: str | None,
    numbers: str,
    store: Path | None,
    config: Path | None,
) -> None:
    """Write the stored closed candles of SYMBOL in TIMEFRAME, or --all, to a Parquet or CSV file.

    Reads the store beside a running feed or without one, in little memory. An --output that is a folder, or ends with a
    slash, gets a file for each stream, below venue=.../symbol=.../timeframe=... as dataframes read it. Parquet needs
    pip install 'candleactors[parquet]'. Exit status 1 if there is nothing to export.

    \b
      candleactors export BTCUSDT 1m --output btc.parquet
      candleactors export BTCUSDT 1h --from 2025-01-01 --to 2025-12-31T23:00 --output btc.csv
      candleactors export --all --venue binance-usdm --output candles/

    \b
      pandas.read_parquet("btc.parquet")
      polars.read_parquet("btc.parquet")
      SELECT * FROM 'btc.parquet'                  (DuckDB)
      candleactors import btc.csv --store other.sqlite
    """
    if store is not None and config is not None:
        raise click.UsageError("--store and --config exclude each other")
    if everything == (symbol is not None):
        raise click.UsageError("name SYMBOL and TIMEFRAME, or --all")
    if symbol is not None and timeframe is None:
        raise click.UsageError(f"which TIMEFRAME of {symbol}?")
    out = Path(output)
    folder = output.endswith("/") or out.is_dir()
    settings = settings_from(config).store if store is None else StoreSettings(path=store)
    chosen = _format(out, form, folder)
    trio.run(_export, settings, _Wanted(venue, symbol, timeframe, start_ms, end_ms), out, chosen, numbers, folder)


def _format(output: Path, form: str | None, folder: bool) -> Format:
    if form is not None:
        return Format(form)
    if folder:
        return Format.PARQUET
    try:
        return _SUFFIXES[output.suffix.lower()]
    except KeyError:
        raise click.UsageError(
            f'"{output}" ends with neither .parquet nor .csv; say --format, or end the name of a folder with /'
        ) from None


async def _export(
    settings: StoreSettings, wanted: _Wanted, output: Path, form: Format, numbers: str, folder: bool
) -> None:
    exact = numbers == "decimal"
    async with open_store(settings, read_only=True, threaded=False) as store:
        streams = wanted.of(await store.streams(), settings.place)
        told = _Told()
        exporter = Exporter(store, told)
        passes = 2 if form is Format.PARQUET and exact else 1
        length_ms = await exporter.plan(streams, wanted.start_ms, wanted.end_ms)
        if not exporter.streams:
            raise CandleactorsError("no candle that is stored opens in that time")
        with progress(passes * length_ms) as told.bar:
            write = partial(exporter.export_folder if folder else exporter.export, output, form)
            await write(exact=exact)
    for each in exporter.streams:
        click.echo(_summary(each), err=True)
    click.echo(f"{output}: {sum(each.candles for each in exporter.streams)} candles", err=True)


class _Told:
    """Hands on to a bar what an exporter tells."""

    def __init__(self) -> None:
        self.bar: Bar | None = None
        self._rows = 0
        self._done_ms = 0

    def __call__(self, doing: str, rows: int, passed_ms: int) -> None:
        self._rows += rows
        self._done_ms += passed_ms
        if self.bar is not None:
            self.bar(self._done_ms, self._rows, doing)


def _summary(each: StreamExport) -> str:
    holes, span = each.coverage.holes(), each.coverage.span_ms()
    times = f", {render.instant(span[0])} to {render.instant(span[1])}" if span else ""
    missing = sum(count for _, _, count in holes)
    lack = f", {len(holes)} {'hole' if len(holes) == 1 else 'holes'} ({missing} missing)" if holes else ""
    return f"{each.stream}: {each.candles} candles{times}{lack}"

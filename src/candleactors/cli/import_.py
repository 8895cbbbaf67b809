"""``candleactors import``: files of candles into the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import click
import trio

from candleactors.cli import render
from candleactors.cli.options import of_files, settings_from
from candleactors.cli.progress import Bar, progress
from candleactors.errors import CandleactorsError, ConfigError, MalformedFile
from candleactors.klines.importing import Importer, StreamImport
from candleactors.klines.reader import KlineFile
from candleactors.model import Stream, Timeframe
from candleactors.settings import StoreSettings
from candleactors.stores import open_store

_BUSY_TIMEOUT_S = 30.0
_HOLES = 3
_IMPORTING = 3
"""How many times as long importing takes as checking."""


@click.command("import")
@of_files
@click.option("--store", type=click.Path(path_type=Path), help="The store's file; created if there is none.")
@click.option("--config", type=click.Path(path_type=Path), help="Take the store from this configuration.")
def import_(
    files: tuple[Path, ...],
    venue: str | None,
    symbol: str | None,
    timeframe: Timeframe | None,
    recorded_ms: int | None,
    store: Path | None,
    config: Path | None,
) -> None:
    """Put the candles in FILEs into the store: the exchange's dumps, REST answers, CSV with a header.

    Each file is read twice: once to see that every row is right, then to import it. Of a file with a bad row nothing is
    imported; files before it stay. Importing again changes nothing, so an import that was interrupted goes on where it
    was when the same command is given again. A feed may run on the same store meanwhile.

    \b
    What is stored already is kept, except that
      a candle of the exchange's own dumps or REST answers that says otherwise becomes a revision of it,
      a higher revision, a complete candle and fields not known so far are taken.

    docs/klines.md tells what files are understood.

    \b
      candleactors import BTCUSDT-1m-2025-05-*.zip
      candleactors import ALGOUSDT-1m-2023-02.zip --venue binance-usdm --store candles.sqlite
      candleactors import prices.csv --venue binance-spot --symbol BTCUSDT --timeframe 1m
    """
    if store is not None and config is not None:
        raise click.UsageError("--store and --config exclude each other")
    settings = settings_from(config).store if store is None else StoreSettings(path=store)
    opened = [
        KlineFile(file, venue=venue, symbol=symbol, timeframe=timeframe, recorded_ms=recorded_ms) for file in files
    ]
    run = _Run(opened)
    try:
        trio.run(run.import_into, settings)
    except KeyboardInterrupt:
        run.print_summary()
        click.echo("candleactors: interrupted; the same command goes on", err=True)
        raise
    except (MalformedFile, ConfigError) as error:
        run.print_summary()
        kind = ConfigError if isinstance(error, ConfigError) else CandleactorsError
        raise kind(f"{error}; {run.standing()}") from None
    except CandleactorsError:
        run.print_summary()
        raise
    run.print_summary()


class _Run:
    """One run of the command: how far it has come, for whoever has to tell."""

    def __init__(self, files: list[KlineFile]) -> None:
        self._files = files
        self._done = 0
        self._rows = 0
        self._importer: Importer | None = None

    async def import_into(self, settings: StoreSettings) -> None:
        for file in self._files:
            # What the command lacks is said before anything is imported; what the file lacks, when its turn comes.
            with suppress(MalformedFile), closing(file.rows()) as rows:
                next(rows, None)
        now_ms = time.time_ns() // 1_000_000
        async with open_store(settings, threaded=False, guest=True, wait_s=_BUSY_TIMEOUT_S) as store:
            with progress((1 + _IMPORTING) * sum(file.size for file in self._files)) as bar:
                self._importer = Importer(store, now_ms, partial(self._tell, bar))
                for file in self._files:
                    await self._importer.import_file(file)
                    self._done += 1

    def standing(self) -> str:
        """Say what is imported and what is not, after the file that could not be."""
        if self._importer is None:
            return "nothing was imported"
        before, after = self._done, len(self._files) - self._done - 1
        said = ["nothing of this file was imported"]
        if before:
            said.append(f"{_files(before)} before it {'was' if before == 1 else 'were'}")
        if after:
            said.append(f"{_files(after)} after it {'was' if after == 1 else 'were'} not")
        return ", ".join(said)

    def print_summary(self) -> None:
        """Print what was imported of each stream."""
        for stream, imported in (self._importer.streams if self._importer else {}).items():
            for line in _summary(stream, imported):
                click.echo(line)

    def _tell(self, bar: Bar, doing: str, rows: int) -> None:
        self._rows += rows
        file = self._files[self._done]
        passed = (1 + _IMPORTING) * sum(before.size for before in self._files[: self._done])
        here = file.position() if doing == "checking" else file.size + _IMPORTING * file.position()
        bar(passed + here, self._rows, f"{doing} {file.path.name}")


def _summary(stream: Stream, imported: StreamImport) -> Iterator[str]:
    tally = imported.tally
    counts = f"{tally.new} new, {tally.changed} changed, {tally.unchanged} unchanged"
    span = imported.coverage.span_ms()
    times = f", {render.instant(span[0])} to {render.instant(span[1])}" if span else ""
    yield f"{stream}: {imported.rows} rows, {counts}{times}"
    if tally.kept:
        yield f"  {tally.kept} say otherwise than what is stored, which was kept"
    if imported.unfinished:
        whose = "whose interval" if imported.unfinished == 1 else "whose intervals"
        yield f"  {imported.unfinished} left out, {whose} may not have been over; see --recorded-at"
    holes = imported.coverage.holes()
    if holes:
        shown = [_hole(*hole) for hole in holes[:_HOLES]] + ["…"] * (len(holes) > _HOLES)
        yield f"  {len(holes)} {'hole' if len(holes) == 1 else 'holes'}: {', '.join(shown)}"


def _hole(first_ms: int, last_ms: int, count: int) -> str:
    to = f" to {render.instant(last_ms)}" if count > 1 else ""
    return f"{render.instant(first_ms)}{to} ({count})"


def _files(count: int) -> str:
    return f"the {count} files" if count > 1 else "the file"

"""``candleactors resample``: candles of other sizes out of files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TextIO

import click

import candleactors
from candleactors.cli.options import of_files
from candleactors.cli.progress import Bar, progress
from candleactors.errors import CandleactorsError, ConfigError
from candleactors.klines.joining import Joined
from candleactors.klines.reader import KlineFile
from candleactors.klines.writers import replacing, write_csv, write_json
from candleactors.model import Candle, Timeframe

_EVERY: int = 10_000
_NOTES: int = 3
_FORMATS: dict[str, Callable[[Iterable[Candle], TextIO], int]] = {"csv": write_csv, "json": write_json}


def _as_timeframes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[Timeframe, ...]:
    try:
        return Timeframe.expand(value)
    except ConfigError as error:
        raise click.BadParameter(str(error), ctx, param) from None


@click.command()
@of_files
@click.option("--to", callback=_as_timeframes, required=True, help="Sizes to make: 7m, 5m,1h or 2m..60m,2h,1d.")
@click.option(
    "--anchor",
    type=click.Choice(["day", "epoch"]),
    default="day",
    show_default=True,
    help="Where sizes that do not divide a day begin: anew at every midnight (UTC), or counted from 1970.",
)
@click.option("--complete-only", is_flag=True, help="Leave out candles that lack constituents.")
@click.option("--out", type=click.Path(path_type=Path), help="Write this file instead of stdout, whole or not at all.")
@click.option("--format", "format_", type=click.Choice(list(_FORMATS)), default="csv", show_default=True)
def resample(
    files: tuple[Path, ...],
    venue: str | None,
    symbol: str | None,
    timeframe: Timeframe | None,
    recorded_ms: int | None,
    to: tuple[Timeframe, ...],
    anchor: str,
    complete_only: bool,
    out: Path | None,
    format_: str,
) -> None:
    """Make candles of other sizes out of those in FILEs: the exchange's dumps, REST answers, CSV with a header.

    Several files are joined by time, in whatever order they are given. Where they overlap they have to agree. A candle
    that lacks constituents says how many in its column "missing" and is not "complete". docs/klines.md tells what
    files are understood. Exit status 1 if there is nothing to write.

    \b
      candleactors resample BTCUSDT-1m-2025-05-*.zip --to 7m
      candleactors resample BTCUSDT-1m-2025-05-*.zip --to 2m..60m,1d --out btc.csv
      candleactors resample prices.csv --symbol BTCUSDT --timeframe 1m --to 1h --format json
    """
    opened = [
        KlineFile(path, venue=venue, symbol=symbol, timeframe=timeframe, recorded_ms=recorded_ms) for path in files
    ]
    joined = Joined(opened)
    # A bar would get between rows that are printed on the same terminal.
    with (
        progress(sum(file.size for file in opened), shown=out is not None or not sys.stdout.isatty()) as bar,
        closing(_counted(joined, bar)) as candles,
    ):
        derived = candleactors.resample(candles, to, anchor=anchor)
        if complete_only:
            derived = (candle for candle in derived if candle.complete)
        first = next(derived, None)
        if first is None:
            raise CandleactorsError(_nothing(joined))
        written = _write(chain([first], derived), out, _FORMATS[format_])
    _tell_left_out(joined)
    if out is not None:
        click.echo(f"{out}: {written} candles", err=True)


def _write(candles: Iterator[Candle], out: Path | None, write: Callable[[Iterable[Candle], TextIO], int]) -> int:
    if out is None:
        return write(candles, sys.stdout)
    with replacing(out) as file:
        return write(candles, file)


def _counted(joined: Joined, bar: Bar) -> Generator[Candle, None, None]:
    sizes: dict[tuple[str, str], Timeframe] = {}
    with closing(joined.candles()) as candles:
        for count, candle in enumerate(candles, 1):
            size = sizes.setdefault((candle.venue, candle.symbol), candle.timeframe)
            if size is not candle.timeframe and size != candle.timeframe:
                both = f"{candle.venue}:{candle.symbol} in {size} and in {candle.timeframe}"
                raise CandleactorsError(f"the files hold {both}; of which one are candles to be made?")
            yield candle
            if count % _EVERY == 0:
                bar(joined.position(), count, "resampling")


def _tell_left_out(joined: Joined) -> None:
    for place in joined.left_out[:_NOTES]:
        click.echo(f"candleactors: {place}: left out, since its interval may not have been over then", err=True)
    if joined.left_out:
        more = len(joined.left_out) - _NOTES
        rest = f"{more} more; " if more > 0 else ""
        click.echo(f"candleactors: {rest}say when the files were recorded with --recorded-at", err=True)


def _nothing(joined: Joined) -> str:
    if joined.left_out:
        return f"{joined.left_out[0]}: no other row, and its interval may not have been over then; see --recorded-at"
    return "nothing to write: the files hold no closed candle, or none that makes up a candle to be written"

"""``candleactors backfill``: what venues have and the store does not."""

from __future__ import annotations

from pathlib import Path

import click

from candleactors.cli.historical import of_share, run_history
from candleactors.cli.selection import Selection, of_streams, settings_of
from candleactors.cli.venues import load_codec
from candleactors.history import Wanted
from candleactors.model import Timeframe
from candleactors.settings import Settings, VenueSettings


@click.command()
@of_streams
@of_share
def backfill(
    venues: tuple[str, ...],
    symbols: tuple[str, ...],
    timeframes: tuple[Timeframe, ...],
    start: int | None,
    end: int | None,
    store: Path | None,
    config: Path | None,
    share: float,
) -> int:
    """Fetch candles that open from --from on, up to now or to --to, and that the store does not have.

    Without --venue, --symbols and --timeframes, those of the configuration. Symbols are in the venue's own spelling or
    in the common one. A timeframe that the venue does not have is made from the symbol's 1m candles, and so is what the
    configuration derives.

    The newest candles come first. What is stored is never asked for, nor is what the venue was found to have nothing
    for; so the same command goes on where an earlier one was interrupted or killed. A feed may run on the same store.
    Exit status 1 if some streams could not be completed.

    \b
      candleactors backfill --from 2026-01-01
      candleactors backfill --venue binance-spot --symbols BTCUSDT,ETHUSDT --from 2025-01-01 --to 2026-01-01
      candleactors backfill --venue okx --venue bybit-spot --symbols BTC/USDT --timeframes 1m,45m --from 2026-06-01
    """
    if start is None:
        raise click.UsageError("--from is missing: how far back, such as --from 2026-01-01")
    settings = settings_of(store, config)
    wanted = _wanted(Selection(venues, symbols, timeframes), settings)
    return run_history(settings, share, lambda run, _: run.backfill(wanted, start, end))


def _wanted(selection: Selection, settings: Settings) -> list[Wanted]:
    """Return what is meant; what the command does not name is that of the configuration."""
    names = selection.venues or tuple(settings.venues)
    if not names:
        raise click.UsageError("no venue: name some with --venue, or in a configuration")
    found = []
    for name in dict.fromkeys(names):
        load_codec(name)
        of = settings.venues.get(name, VenueSettings())
        symbols = selection.symbols or of.symbols
        if not symbols:
            raise click.UsageError(f"no symbols of {name}: name some with --symbols, or in a configuration")
        found.append(Wanted(name, symbols, selection.timeframes or of.timeframes))
    return found

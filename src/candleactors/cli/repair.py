"""``candleactors repair``: holes in the store, mended from the venues."""

from __future__ import annotations

from pathlib import Path

import click

from candleactors.cli.historical import of_share, run_history
from candleactors.cli.selection import Selection, of_streams, settings_of
from candleactors.history import History
from candleactors.model import Timeframe
from candleactors.stores.base import Archive


@click.command()
@of_streams
@click.option("--again", is_flag=True, help="Ask for known outages of the venue too.")
@click.option("--compare", is_flag=True, help="Compare what is stored from --from on with the venue, and correct it.")
@of_share
def repair(
    venues: tuple[str, ...],
    symbols: tuple[str, ...],
    timeframes: tuple[Timeframe, ...],
    start: int | None,
    end: int | None,
    store: Path | None,
    config: Path | None,
    again: bool,
    compare: bool,
    share: float,
) -> int:
    """Mend the holes in stored streams that "candleactors gaps" lists: ask the venue for each.

    What comes is stored. What the venue has nothing for although it has candles before and after it is an outage: it is
    noted and asked for no more, unless --again. Derived candles are made anew from what they are made of. Symbols are
    spelled as "candleactors gaps" spells them. The same command goes on where an earlier one was interrupted.

    \b
      candleactors repair
      candleactors repair --venue okx --symbols BTC-USDT --again
      candleactors repair --compare --from 2026-07-01
    """
    if compare and start is None:
        raise click.UsageError("--compare needs --from: since when")
    settings = settings_of(store, config)
    selection = Selection(venues, symbols, timeframes)

    async def work(run: History, archive: Archive) -> None:
        streams = selection.of(await archive.streams(), settings.store.place)
        await run.repair(streams, start, end, again=again, compare=compare)

    return run_history(settings, share, work)

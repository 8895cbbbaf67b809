"""Which of the stored streams a command means."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import click

from candleactors.errors import CandleactorsError
from candleactors.model import Stream, Timeframe


def choose(stored: Sequence[Stream], venue: str | None, symbol: str, timeframe: Timeframe, place: str) -> Stream:
    """Return the one stream of those in the store at `place` that is meant.

    Raises `CandleactorsError`, which names the nearest one, where there is none, and a `click.UsageError` where several
    venues have it.
    """
    found = [
        stream
        for stream in stored
        if (stream.symbol, stream.timeframe) == (symbol, timeframe) and venue in (None, stream.venue)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        venues = ", ".join(stream.venue for stream in found)
        raise click.UsageError(f"several venues have {symbol} {timeframe}; add --venue, one of {venues}")
    wanted = f"{venue or (stored[0].venue if stored else '')}:{symbol.upper()}:{timeframe}"
    by_name = {str(stream): stream for stream in stored}
    near = [by_name[name] for name in get_close_matches(wanted, by_name, n=1, cutoff=0.5)]
    hint = "the store is empty"
    if near:
        hint = f'the nearest stored is "{near[0].symbol} {near[0].timeframe} --venue {near[0].venue}"'
    elif stored:
        hint = f"{len(stored)} streams are stored, for example {stored[0]}"
    whose = f" of {venue}" if venue else ""
    raise CandleactorsError(f"{place} has no {symbol} {timeframe}{whose}; {hint}")

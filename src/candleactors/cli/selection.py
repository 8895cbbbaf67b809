"""Which venues, symbols and timeframes a command over history is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from attrs import evolve, frozen

from candleactors.cli.options import as_instant_ms, settings_from
from candleactors.errors import CandleactorsError, ConfigError
from candleactors.model import Stream, Timeframe
from candleactors.settings import Settings, StoreSettings


@frozen
class Selection:
    """What is empty means everything there is."""

    venues: tuple[str, ...]
    symbols: tuple[str, ...]
    timeframes: tuple[Timeframe, ...]

    def of(self, stored: Sequence[Stream], place: str) -> list[Stream]:
        """Return those of the `stored` streams that are meant.

        Raises `CandleactorsError` where a name fits none of them, with the nearest one.
        """
        for kind, wanted, known in (
            ("venue", self.venues, {stream.venue for stream in stored}),
            ("symbol", self.symbols, {stream.symbol for stream in stored}),
            ("timeframe", tuple(map(str, self.timeframes)), {str(stream.timeframe) for stream in stored}),
        ):
            for name in wanted:
                if name not in known:
                    near = get_close_matches(name, known, n=1)
                    hint = f'; did you mean "{near[0]}"?' if near else ""
                    raise CandleactorsError(f'{place} has nothing of the {kind} "{name}"{hint}')
        return [
            stream
            for stream in stored
            if stream.venue in (self.venues or (stream.venue,))
            and stream.symbol in (self.symbols or (stream.symbol,))
            and stream.timeframe in (self.timeframes or (stream.timeframe,))
        ]


def of_streams(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose streams, a time and a store; they come as `selection`, `start`, `end` and so on."""
    for add in (
        click.option("--config", type=click.Path(path_type=Path), help="Take venues and store from this file."),
        click.option("--store", type=click.Path(path_type=Path), help="The store's file."),
        click.option("--to", "end", callback=as_instant_ms, help="Latest open time."),
        click.option("--from", "start", callback=as_instant_ms, help="Earliest open time, ISO 8601 (UTC)."),
        click.option("--timeframes", multiple=True, callback=_as_timeframes, help="Such as 1m,1h,2m..60m."),
        click.option("--symbols", multiple=True, callback=_as_names, help="Such as BTCUSDT,ETHUSDT."),
        click.option("--venue", "venues", multiple=True, help="May be given several times."),
    ):
        command = add(command)
    return command


def settings_of(store: Path | None, config: Path | None) -> Settings:
    """Return the settings of `config`, or of ``candles.toml``, with the store at `store` if that is given."""
    if store is not None and config is not None:
        raise click.UsageError("--store and --config exclude each other")
    settings = settings_from(config)
    return settings if store is None else evolve(settings, store=StoreSettings(path=store))


def _as_names(ctx: click.Context, param: click.Parameter, value: Iterable[str]) -> tuple[str, ...]:
    """Return names given one by one or with commas between them."""
    return tuple(dict.fromkeys(name.strip() for text in value for name in text.split(",") if name.strip()))


def _as_timeframes(ctx: click.Context, param: click.Parameter, value: Iterable[str]) -> tuple[Timeframe, ...]:
    try:
        return tuple(dict.fromkeys(frame for text in value for frame in Timeframe.expand(text)))
    except ConfigError as error:
        raise click.BadParameter(str(error), ctx, param) from None

"""What several commands take: configuration files, timeframes, points in time."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click

from candleactors import venues
from candleactors.config import can_watch, load
from candleactors.errors import ConfigError
from candleactors.instants import instant_ms
from candleactors.model import Timeframe
from candleactors.settings import Settings

DEFAULT_CONFIG: Final = Path("candles.toml")


def as_timeframe(ctx: click.Context, param: click.Parameter, value: str) -> Timeframe:
    """Return the timeframe that `value` names; a callback of click."""
    try:
        return Timeframe(value)
    except ConfigError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def as_instant_ms(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return the milliseconds that `value` means, in ISO 8601 (UTC unless it says otherwise) or written out."""
    if value is None:
        return None
    try:
        return instant_ms(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def as_optional_timeframe(ctx: click.Context, param: click.Parameter, value: str | None) -> Timeframe | None:
    """Return the timeframe that `value` names, if any; a callback of click."""
    return None if value is None else as_timeframe(ctx, param, value)


def as_venue(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return `value` unless it is a misspelt venue; one without a feed may have files too. A callback of click."""
    if value is None or value in venues.names():
        return value
    near = get_close_matches(value.lower(), venues.names(), n=1, cutoff=0.85)
    if near or not value or ":" in value:
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise click.BadParameter(f'"{value}" is not a venue{hint}', ctx, param)
    return value


def of_files(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments of a command that reads files of klines: what they are, and what they do not say."""
    for add in (
        click.option(
            "--recorded-at",
            "recorded_ms",
            callback=as_instant_ms,
            help="When the files were recorded: a last row that was over by then counts.",
        ),
        click.option("--timeframe", callback=as_optional_timeframe, help="The rows' timeframe, if the file hides it."),
        click.option("--symbol", help="The rows' symbol, if the file hides it."),
        click.option("--venue", callback=as_venue, help="The rows' venue, if the file hides it."),
        click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path)),
    ):
        command = add(command)
    return command


def settings_from(config: Path | None) -> Settings:
    """Return the settings of `config`, else of ``candles.toml`` in the working directory, else the defaults."""
    if config is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    return load(config, os.environ)


def settings_to_run(config: Path | None) -> Settings:
    """Return the settings to run a feed with; raises `ConfigError` if it would have nothing to watch."""
    settings = settings_from(config)
    if not can_watch(settings):
        where = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
        raise ConfigError(
            "nothing to watch; name symbols in a table such as [venues.binance-spot], or set ASSETS=BTC,ETH"
            if where is None
            else "nothing to watch; name symbols in a table such as [venues.binance-spot]",
            source=str(where) if where else f"no configuration file and no {DEFAULT_CONFIG} here",
        )
    return settings

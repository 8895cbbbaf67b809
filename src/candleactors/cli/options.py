"""What several commands take: configuration files, timeframes, points in time."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from candleactors.config import load
from candleactors.errors import ConfigError
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
    # Shorter numbers are dates without dashes: 20260131.
    if value.isascii() and value.isdecimal() and len(value) > 8:
        return int(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        problem = f'"{value}" is not a time; write 2026-01-31, 2026-01-31T08:00 or milliseconds since 1970'
        raise click.BadParameter(problem, ctx, param) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def settings_from(config: Path | None) -> Settings:
    """Return the settings of `config`, else of ``candles.toml`` in the working directory, else the defaults."""
    if config is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    return load(config, os.environ)


def settings_to_run(config: Path | None) -> Settings:
    """Return the settings to run a feed with; raises `ConfigError` if they name no stream."""
    settings = settings_from(config)
    if not any(venue.symbols for venue in settings.venues.values()):
        where = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
        raise ConfigError(
            "nothing to watch; name symbols in a table such as [venues.binance-spot]",
            source=str(where) if where else f"no configuration file and no {DEFAULT_CONFIG} here",
        )
    return settings

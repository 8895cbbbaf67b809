"""``candleactors db``: the tables of the store."""

from __future__ import annotations

from pathlib import Path

import click
import trio

from candleactors.cli.options import settings_from
from candleactors.stores import opening

_config = click.option("--config", type=click.Path(path_type=Path), help="Take the store from this configuration.")


@click.group()
def db() -> None:
    """Look at the tables of the store, and bring them up to date.

    \b
      candleactors db status --config candles.toml
      candleactors db upgrade --config candles.toml
    """


@db.command()
@_config
def status(config: Path | None) -> int:
    """Say what the store is and whether its tables are up to date; nothing is changed.

    Exit status 1 if they are not, if there are none, or if the store cannot be reached.
    """
    settings = settings_from(config).store
    found = opening.condition(settings)
    if found.version == 0:
        tables = "none yet; a feed makes them, or candleactors db upgrade"
    elif found.is_current:
        tables = f"version {found.version}, up to date"
    else:
        tables = f"version {found.version}, this candleactors needs {found.needed}; run candleactors db upgrade"
    click.echo(f"store   {settings.place}\nkind    {found.kind}\ntables  {tables}")
    return 0 if found.is_current else 1


@db.command()
@_config
def upgrade(config: Path | None) -> None:
    """Make the tables of the store, or bring those of an earlier version up to date.

    Every version is a step that is done whole or not at all. Candles stay. Feeds of the earlier version that still run
    on a database are to be stopped before; a feed brings its own SQLite file up to date by itself.
    """
    settings = settings_from(config).store
    before, after = trio.run(opening.upgrade, settings)
    if before == after:
        click.echo(f"{settings.place}: version {after}, nothing to do")
    else:
        made = "made" if before == 0 else f"brought from version {before}"
        click.echo(f"{settings.place}: tables {made}{' in' if before == 0 else ' to'} version {after}")

"""``candleactors run``: the daemon."""

from __future__ import annotations

from pathlib import Path

import click

from candleactors.cli.options import settings_to_run


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
def run(file: Path | None) -> None:
    """Run the feed that FILE configures until SIGINT or SIGTERM, then stop in order.

    Without FILE, candles.toml in the working directory is read, if it is there; variables in the environment override
    it. Closed candles go to the store, events to stderr. Ask how it is with "candleactors status".

    Where there is no file at all, a few short variables will do:

    \b
      ASSETS=BTC,ETH candleactors run
      ASSETS=BTC,ETH INTERVAL=1h LONG_INTERVAL=4h DATABASE_URL=postgresql://... candleactors run

    VENUE (binance-spot) and QUOTE (USDT) say which market is meant.
    """
    settings = settings_to_run(file)

    # Late, so that a mistake in the configuration is reported at once.
    import trio

    from candleactors import logs
    from candleactors.daemon import run_daemon

    logs.set_up(settings.log)
    trio.run(run_daemon, settings)

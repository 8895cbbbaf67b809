"""``candleactors demo``: simulated venues, the real feed, and a judge."""

from __future__ import annotations

import json
from pathlib import Path

import click

_JSON_SECONDS = 20.0


@click.command()
@click.option("--seconds", type=click.FloatRange(1, 7 * 86400), help="End by itself after so long.")
@click.option("--chaos", is_flag=True, help="Break connections, silence and delay them, make REST stumble.")
@click.option(
    "--seed", type=click.IntRange(0, 1 << 31), default=7, show_default=True, help="Seed of market and faults."
)
@click.option("--symbols", type=click.IntRange(1, 200), default=8, show_default=True, help="Symbols of each venue.")
@click.option("--store", type=click.Path(path_type=Path), help="Keep the candles in this new file.")
@click.option(
    "--json", "as_json", is_flag=True, help=f"Print one JSON object at the end, by default after {_JSON_SECONDS:g} s."
)
@click.option("--verbose", "-v", is_flag=True, help="Log more than warnings to stderr; in the view, note more.")
def demo(
    seconds: float | None,
    chaos: bool,
    seed: int,
    symbols: int,
    store: Path | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Watch simulated markets live: no network, no configuration."""
    # Late, so that --help is quick.
    import trio

    from candleactors import logs
    from candleactors.demo.plan import Options
    from candleactors.demo.run import Stop, run_demo
    from candleactors.settings import LogSettings

    if as_json and seconds is None:
        seconds = _JSON_SECONDS
    options = Options(seconds=seconds, seed=seed, symbols=symbols, chaos=chaos, store=store)
    logs.set_up(LogSettings(level="info" if verbose else "warning"))
    report = trio.run(run_demo, options, Stop())
    click.echo(json.dumps(report.record()))
    return 0 if report.ok else 1

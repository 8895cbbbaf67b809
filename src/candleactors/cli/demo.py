"""``candleactors demo``: simulated venues, the real feed, and a judge who knows the truth."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import trio

if TYPE_CHECKING:
    from rich.console import Console

    from candleactors.demo.plan import Options
    from candleactors.demo.report import Report
    from candleactors.demo.run import Show, Stop

_JSON_S: Final = 20.0
_PORT: Final = 8080
_SYMBOLS: Final = 8
_FEW_SYMBOLS: Final = 2


def _as_venues(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the venues of these names, ``all`` being one."""
    from candleactors.demo.plan import VENUES
    from candleactors.sim import RULES

    for name in names:
        if name != "all" and name not in RULES:
            raise click.BadParameter(f'"{name}" cannot be simulated; there are all, {", ".join(sorted(RULES))}')
    return tuple(RULES) if "all" in names else tuple(dict.fromkeys(names)) or VENUES


@click.command()
@click.option("--seconds", type=click.FloatRange(1, 7 * 86400), help="End by itself after so long.")
@click.option("--chaos", is_flag=True, help="Let connections break, fall silent and lag, and REST stumble.")
@click.option("--seed", type=click.IntRange(0, 1 << 31), default=7, show_default=True, help="Of market and faults.")
@click.option(
    "--venue",
    "names",
    multiple=True,
    callback=_as_venues,
    help="A venue to simulate, or all; may be repeated. [default: binance-spot and binance-usdm]",
)
@click.option(
    "--symbols",
    type=click.IntRange(1, 200),
    help=f"Symbols of each venue. [default: {_SYMBOLS}, with more than two venues {_FEW_SYMBOLS}]",
)
@click.option("--store", type=click.Path(path_type=Path), help="Keep the candles, in this new file.")
@click.option(
    "--json", "as_json", is_flag=True, help=f"Print one JSON object at the end; after {_JSON_S:g} s by default."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help=f"Of the dashboard on this machine; 0: any free port. [default: {_PORT} if it is free, without --json]",
)
@click.option("--no-web", is_flag=True, help="No dashboard.")
@click.option("-v", "--verbose", is_flag=True, help="Log more than warnings.")
def demo(
    seconds: float | None,
    chaos: bool,
    seed: int,
    names: tuple[str, ...],
    symbols: int | None,
    store: Path | None,
    as_json: bool,
    port: int | None,
    no_web: bool,
    verbose: bool,
) -> int:
    """Watch simulated markets live: no network, no configuration.

    Simulated venues, Binance's spot market and USD-M futures unless told otherwise, listen on loopback sockets. The
    same feed that "candleactors run" starts connects to them over WebSocket and HTTP and stores closed candles in
    SQLite. A dashboard for the browser is served at the address printed. Ctrl-C stops it in order; again, if it still
    waits for repairs, at once.

    A judge compares every candle delivered with the market's own: none may be lost, delivered twice, out of order or
    different in a single digit. If one is, the exit status is 1.

    \b
      candleactors demo                             watch it
      candleactors demo --chaos                     watch it survive
      candleactors demo --venue all                 every venue at once
      candleactors demo --chaos --seconds 20 --json for scripts
      candleactors demo --store demo.sqlite         keep the candles, then look at them:
      candleactors history BTCUSDT 1s --venue binance-spot --store demo.sqlite

    The venues' clocks start 8 s before a full hour, so that candles of every timeframe close at once. To show in
    seconds what else takes minutes, the feed has 20 streams a connection, 60 candles of history, looks for silent
    streams every 3 s, waits 1 s for an overdue close, 5 s for a silent socket and 3 s for REST, and reconnects after
    0.2 to 3 s. All else is as by default.

    Without a terminal a line is printed every 5 s. Logs go to stderr, in the view to its last lines.
    """
    # Late, so that --help is quick.
    from rich import get_console

    from candleactors import logs
    from candleactors.demo.notes import LogBox
    from candleactors.demo.plan import Options
    from candleactors.demo.view import ScreenView, show_lines
    from candleactors.settings import LogSettings

    if as_json and seconds is None:
        seconds = _JSON_S
    if symbols is None:
        symbols = _FEW_SYMBOLS if len(names) > 2 else _SYMBOLS
    if no_web and port is not None:
        raise click.UsageError("--port and --no-web exclude each other")
    if port is None and not (no_web or as_json):
        port = _free(_PORT)
    options = Options(seconds=seconds, seed=seed, symbols=symbols, chaos=chaos, store=store, venues=names, port=port)
    level = "info" if verbose else "warning"
    console = get_console()
    if not as_json and console.is_terminal and not console.is_dumb_terminal:
        log = LogBox()
        logs.set_up(LogSettings(level, "json"), log)
        view = ScreenView(console, log)
        with view.on_screen():
            report = trio.run(_run, options, view.show)
    else:
        logs.set_up(LogSettings(level))
        report = trio.run(_run, options, None if as_json else show_lines)
    if as_json:
        click.echo(json.dumps(report.record()))
    else:
        _print(console, report)
    return 0 if report.ok else 1


def _free(port: int) -> int:
    """Return `port` if it can be listened on, else 0, which stands for any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def _print(console: Console, report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    if not console.is_terminal:
        for about, text in report.summary():
            click.echo(f"{about:<12} {text}")
        return
    table = Table.grid(padding=(0, 1))
    table.add_column(style="bold")
    table.add_column()
    for about, text in report.summary():
        style = ("bold green" if report.ok else "bold red") if about == "verdict" else ""
        table.add_row(about, Text(text, style))
    console.print(table)


async def _run(options: Options, show: Show | None) -> Report:
    from candleactors.demo.run import Stop, run_demo

    stop = Stop()
    async with trio.open_nursery() as nursery:
        await nursery.start(_heed_signals, stop)
        report = await run_demo(options, stop, show)
        nursery.cancel_scope.cancel()
    return report


async def _heed_signals(stop: Stop, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            stop.press()

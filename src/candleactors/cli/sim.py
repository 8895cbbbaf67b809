"""``candleactors sim``: simulated venues to point any client at."""

from __future__ import annotations

import time
from functools import partial

import click
import trio

from candleactors.sim import RULES, FaultScript, Market, Rules, Simulator, chaos, default_symbols
from candleactors.sim.server import is_loopback

_VENUES = {
    **{name: (rules,) for name, rules in RULES.items()},
    "both": (RULES["binance-spot"], RULES["binance-usdm"]),
    "all": tuple(RULES.values()),
}


@click.command()
@click.option("--venue", type=click.Choice(list(_VENUES)), default="both", show_default=True, help="What to simulate.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65534),
    default=9443,
    show_default=True,
    help="Port for REST and WebSocket; each further venue takes the next one. 0: any free port.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Seed of the market and of all faults.")
@click.option("--symbols", type=click.IntRange(1, 5000), default=20, show_default=True, help="Number of symbols.")
@click.option(
    "--history", type=click.IntRange(1, 720), default=6, show_default=True, help="Hours of history before the start."
)
@click.option("--chaos", "chaotic", is_flag=True, help="Drop, silence, delay and close connections every few seconds.")
@click.option(
    "--intensity",
    type=click.FloatRange(0.01, 100),
    default=1.0,
    show_default=True,
    help="With --chaos: how many faults, 1.0 being one in about 1.5 seconds.",
)
@click.option("--allow-remote", is_flag=True, help="Permit a --host that other machines can reach.")
def sim(
    venue: str,
    host: str,
    port: int,
    seed: int,
    symbols: int,
    history: int,
    chaotic: bool,
    intensity: float,
    allow_remote: bool,
) -> None:
    """Simulate venues on this machine until Ctrl-C; by default both markets of Binance.

    A seeded market makes trades; candles of every timeframe are built from them and served over WebSocket and REST with
    the venue's formats, limits and close codes. Point any client of the venue at the URLs printed, one a line:

    \b
      binance-spot websocket ws://127.0.0.1:9443
      binance-spot rest http://127.0.0.1:9443
      binance-usdm websocket ws://127.0.0.1:9444
      binance-usdm rest http://127.0.0.1:9444

    \b
    Paths are the venue's: Binance's streams live under /ws and /stream, those of its futures under /market/ws and
    /market/stream, REST under /api/v3 (spot) and /fapi/v1 (futures); Bybit's under /v5, OKX's under /ws/v5 and /api/v5,
    Bitfinex's under /ws/2 and /v2. Try:
      curl 'http://127.0.0.1:9443/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=3'
    """
    if not (allow_remote or is_loopback(host)):
        raise click.BadParameter(f'"{host}" is not a loopback address; to serve other machines, add --allow-remote')
    script = chaos(seed, intensity, for_s=24 * 3600) if chaotic else None
    problems: list[BaseException] = []
    try:
        trio.run(_serve, _VENUES[venue], host, port, allow_remote, seed, symbols, history, script)
    except* KeyboardInterrupt:
        click.echo("stopped", err=True)
    except* OSError as failures:
        problems += failures.exceptions
    if problems:
        raise click.ClickException(f"cannot listen on {host}, port {port}: {problems[0]}")


async def _serve(
    venues: tuple[Rules, ...],
    host: str,
    port: int,
    allow_remote: bool,
    seed: int,
    symbols: int,
    history: int,
    script: FaultScript | None,
) -> None:
    start_ms = _now_ms()
    async with trio.open_nursery() as nursery:
        for index, rules in enumerate(venues):
            market = Market(seed + index, start_ms, default_symbols(symbols), history_ms=history * 3_600_000)
            simulator = Simulator(market, rules, _now_ms, script, seed=seed)
            await nursery.start(simulator.run)
            serve = partial(simulator.serve_tcp, host, port + index if port else 0, allow_remote=allow_remote)
            bound = await nursery.start(serve)
            shown = f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"
            click.echo(f"{rules.name} websocket ws://{shown}")
            click.echo(f"{rules.name} rest http://{shown}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

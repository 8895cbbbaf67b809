"""The command line: ``candleactors COMMAND``. Commands are imported when they are called."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from keyword import iskeyword
from typing import Any, Final

import click

from candleactors.errors import CandleactorsError, ConfigError

FAILED: Final = 1
WRONG: Final = 2

_COMMANDS: Final = {
    "demo": "Watch simulated markets live: no network, no configuration.",
    "venues": "Show what the venues allow and can do.",
    "symbols": "List what a venue trades.",
    "check": "Check a configuration file without a network.",
    "run": "Run the feed until it is told to stop.",
    "status": "Ask a running feed how it is.",
    "history": "Print stored candles as a table, CSV or JSON.",
    "export": "Write stored candles to a Parquet or CSV file.",
    "import": "Put files of candles into the store.",
    "backfill": "Fetch what the store lacks of the venues' history.",
    "gaps": "List the holes in what is stored.",
    "repair": "Mend them from the venues.",
    "db": "Look at the store's tables, and bring them up to date.",
    "resample": "Make candles of other sizes out of files.",
    "sim": "Simulate Binance for any client.",
    "completion": "Print a script for completion in the shell.",
}
"""Each is a module of this package with a function of the same name, ``import`` being spelled ``import_``."""


class _Commands(click.Group):
    """Commands by name, imported late: ``--help`` and completion need none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(import_module(f"candleactors.cli.{name}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(args[0], _COMMANDS, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            ctx.fail(f'"{args[0]}" is not a command{hint}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("candleactors"), prog_name="candleactors", message="%(prog)s %(version)s")
def cli() -> None:
    """A candle feed that never misses, never repeats and never lies about a candle.

    It keeps WebSocket connections to exchanges, repairs every hole over REST, and stores each closed candle exactly
    once. Start with these three:

    \b
      candleactors demo                  see it work, on this machine alone
      candleactors check candles.toml    check a configuration
      candleactors run candles.toml      run the feed

    A first candles.toml:

    \b
      [venues.binance-spot]
      symbols = ["BTCUSDT", "ETHUSDT"]
      timeframes = ["1m", "1h"]

    Then, from another terminal:

    \b
      candleactors status --config candles.toml
      candleactors history BTCUSDT 1m --config candles.toml --limit 10

    Every setting can be given as a variable too: CANDLEACTORS_HEALTH__STALE_AFTER_S=90 sets stale_after_s in [health].

    Exit status: 0 done, 1 failed or found nothing, 2 wrong arguments or configuration, 130 interrupted.
    """


def main() -> None:
    """Run the command line and exit. Whatever goes wrong is one line on stderr; a traceback is a bug."""
    sys.exit(_run())


def _run() -> int:
    try:
        status: Any = cli.main(prog_name="candleactors", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return WRONG
    except click.ClickException as error:
        ctx = getattr(error, "ctx", None)
        where = ctx.command_path if ctx else "candleactors"
        help_ = f" (see {where} --help)" if isinstance(error, click.UsageError) else ""
        return _complain(f"{error.format_message()}{help_}", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except BaseException as error:
        known = [leaf for leaf in _leaves(error) if isinstance(leaf, CandleactorsError)]
        if not known or len(known) < len(list(_leaves(error))):
            raise
        return _complain(str(known[0]), WRONG if isinstance(known[0], ConfigError) else FAILED)
    return status if isinstance(status, int) else 0


def _complain(message: str, status: int) -> int:
    click.echo(f"candleactors: {' '.join(message.split())}", err=True)
    return status


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error

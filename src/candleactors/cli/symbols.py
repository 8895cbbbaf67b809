"""``candleactors symbols``: what a venue trades, asked over REST."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Final

import click
from attrs import evolve, frozen

from candleactors.cli.venues import as_known_venue, complete_venue, load_codec
from candleactors.errors import CandleactorsError, RemoteProtocolError, TransientError
from candleactors.validators import printable

if TYPE_CHECKING:
    from candleactors.model import Ticker
    from candleactors.settings import Settings
    from candleactors.venues.base import Instrument, VenueRules
    from candleactors.venues.listing import Listing

_FIELDS: Final = ("venue", "symbol", "unified", "trades")
_TICKER_FIELDS: Final = ("last", "change_pct", "volume", "quote_volume")
_UNKNOWN: Final = "–"
_LEFT: Final = ("symbol", "venue's own", "trades")


@frozen
class _Row:
    instrument: Instrument
    ticker: Ticker | None = None

    def matches(self, text: str) -> bool:
        return text in self.instrument.symbol.casefold() or text in self.instrument.unified.casefold()


@click.command()
@click.argument("venue", callback=as_known_venue, shell_complete=complete_venue)
@click.argument("text", default="")
@click.option("--all", "everything", is_flag=True, help="Include what does not trade now.")
@click.option("--tickers", is_flag=True, help="Add last price, change in 24 hours and volumes; sort by quote volume.")
@click.option("--testnet", is_flag=True, help="Ask the venue's test network.")
@click.option("--config", type=click.Path(path_type=Path), help="Take the venue's addresses from this configuration.")
@click.option(
    "--format", "format_", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True
)  # fmt: skip
def symbols(
    venue: str, text: str, everything: bool, tickers: bool, testnet: bool, config: Path | None, format_: str
) -> None:
    """List what VENUE trades now: the common spelling, the venue's own, and whether it trades.

    Either spelling can be written in a configuration. With TEXT, only symbols with TEXT in one of their spellings, in
    capitals or not. The venue is asked over REST, at the configuration's rest_url if there is one.

    Volumes are of 24 hours. Sorting compares quote volumes whatever the quote currency; where the venue gives none, the
    volume at the last price takes its place. What has no ticker comes last.

    Exit status 1 if nothing matches or the venue cannot be asked.

    \b
      candleactors symbols binance-spot
      candleactors symbols okx btc/usdt --tickers
      candleactors symbols bybit-linear --tickers --format csv > bybit.csv
    """
    # Late, so that --help is quick.
    import trio

    rules = load_codec(venue).rules
    settings = _settings(rules, config, testnet=testnet)
    try:
        listing, found = trio.run(_ask, venue, settings, tickers)
    except (TransientError, RemoteProtocolError) as error:
        raise CandleactorsError(f"{rules.title} gave no list: {error}") from error
    by_symbol = {ticker.symbol: ticker for ticker in found}
    rows = [_Row(instrument, by_symbol.get(instrument.symbol)) for instrument in listing]
    shown = _choose(rows, text, listing, rules.title, everything=everything)
    # Even where there is none to sort by, the order does not depend on how the venue lists.
    shown.sort(key=lambda row: (row.instrument.unified, row.instrument.symbol))
    if tickers:
        shown.sort(key=_turnover, reverse=True)
    {"table": _print_table, "csv": _print_csv, "json": _print_json}[format_](shown, venue, tickers=tickers)


def _settings(rules: VenueRules, config: Path | None, *, testnet: bool) -> Settings:
    from candleactors.cli.options import settings_from
    from candleactors.settings import VenueSettings

    settings = settings_from(config)
    chosen = settings.venues.get(rules.venue, VenueSettings())
    if testnet and rules.testnet is None:
        raise click.UsageError(f"{rules.title} has no test network")
    if testnet:
        # What is asked for here outweighs the file, whose address may be of another network.
        chosen = evolve(chosen, testnet=True, rest_url=None)
    return evolve(settings, venues={rules.venue: chosen})


async def _ask(venue: str, settings: Settings, tickers: bool) -> tuple[Listing, list[Ticker]]:
    from candleactors.symbols import listing_of, tickers_of
    from candleactors.transport.network import TcpNetwork

    network = TcpNetwork()
    listing = await listing_of(venue, settings, network)
    return listing, await tickers_of(venue, settings, network) if tickers else []


def _choose(rows: Sequence[_Row], text: str, listing: Listing, title: str, *, everything: bool) -> list[_Row]:
    """Return the rows to show; raises `CandleactorsError` where there are none, with what may have been meant."""
    wanted = text.strip().casefold()
    matching = [row for row in rows if row.matches(wanted)]
    shown = [row for row in matching if everything or row.instrument.trades]
    if shown:
        return shown
    what = f' with "{printable(text)}"' if wanted else ""
    if matching:
        idle = matching[0].instrument.symbol if len(matching) == 1 else f"{len(matching)} symbols"
        raise CandleactorsError(
            f"{title} trades no symbol{what} now, but lists {printable(idle)}; add --all to see what does not trade"
        )
    near = _nearest(text.strip(), listing) if wanted else None
    hint = f'; did you mean "{printable(near)}"?' if near else f"; it lists {len(rows)} symbols"
    raise CandleactorsError(f"{title} lists no symbol{what}{hint}")


def _nearest(text: str, listing: Listing) -> str | None:
    """Return the symbol nearest to `text`, or the currency where that is nearer: people look for either."""
    symbol = listing.nearest(text)
    currencies = {part: None for one in listing for part in one.unified.partition(":")[0].split("/")}
    near = get_close_matches(text.upper(), [*([symbol] if symbol else []), *currencies], n=1)
    return near[0] if near else symbol


def _turnover(row: _Row) -> tuple[bool, Decimal]:
    ticker = row.ticker
    if ticker is not None and ticker.quote_volume is not None:
        return True, ticker.quote_volume
    if ticker is not None and ticker.volume is not None:
        return True, ticker.volume * ticker.last
    return False, Decimal(0)


def _record(row: _Row, venue: str, *, tickers: bool) -> dict[str, str | bool | None]:
    """Return the fields of CSV and JSON; numbers are text, every digit as it was received."""
    one, ticker = row.instrument, row.ticker
    record: dict[str, str | bool | None] = dict(zip(_FIELDS, (venue, one.symbol, one.unified, one.trades), strict=True))
    if tickers:
        values = (ticker.last, _percent(ticker), ticker.volume, ticker.quote_volume) if ticker else (None,) * 4
        texts = (None if value is None else format(value, "f") for value in values)
        record |= zip(_TICKER_FIELDS, texts, strict=True)
    return record


def _percent(ticker: Ticker) -> Decimal | None:
    return None if ticker.change is None else ticker.change.scaleb(2)


def _print_csv(rows: Iterable[_Row], venue: str, *, tickers: bool) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_FIELDS + (_TICKER_FIELDS if tickers else ()))
    for row in rows:
        values = _record(row, venue, tickers=tickers).values()
        writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in values])


def _print_json(rows: Iterable[_Row], venue: str, *, tickers: bool) -> None:
    objects = (json.dumps(_record(row, venue, tickers=tickers), ensure_ascii=False) for row in rows)
    click.echo("[\n" + ",\n".join(objects) + "\n]")


def _print_table(rows: Sequence[_Row], venue: str, *, tickers: bool) -> None:
    """Print aligned columns, as many as fit. A table of rich's looks the same and takes a second for 3,000 rows."""
    from rich.cells import cell_len

    columns = _columns(rows, tickers=tickers)
    widths = {title: max(map(cell_len, [title, *cells])) for title, cells in columns.items()}
    terminal = sys.stdout.isatty()
    if terminal:
        spare = [*(["trades"] if all(row.instrument.trades for row in rows) else []), "volume"]
        for title in spare:
            if _width(widths.values()) > get_terminal_size().columns and {title, "quote volume"} <= widths.keys():
                del columns[title], widths[title]

    def line(texts: Iterable[str]) -> str:
        padded = []
        for text, (title, width) in zip(texts, widths.items(), strict=True):
            space = " " * (width - cell_len(text))
            padded.append(text + space if title in _LEFT else space + text)
        return "  ".join(padded).rstrip()

    header = [click.style(line(columns), bold=True), "─" * _width(widths.values())]
    click.echo("\n".join([*header, *map(line, zip(*columns.values(), strict=True))]))
    if terminal:
        click.echo(f"\n{len(rows):,} of {venue}")


def _width(widths: Collection[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _columns(rows: Sequence[_Row], *, tickers: bool) -> dict[str, list[str]]:
    """Return the cells of each column, by its title."""
    columns = {
        "symbol": [printable(row.instrument.unified) for row in rows],
        "venue's own": [printable(row.instrument.symbol) for row in rows],
        "trades": ["yes" if row.instrument.trades else "no" for row in rows],
    }
    if not tickers:
        return columns
    found = [row.ticker for row in rows]
    columns["last"] = [_UNKNOWN if ticker is None else _price(ticker.last) for ticker in found]
    columns["24 h"] = [_UNKNOWN if ticker is None else _change(ticker) for ticker in found]
    volumes = [None if ticker is None else ticker.volume for ticker in found]
    quotes = [None if ticker is None else ticker.quote_volume for ticker in found]
    # Each only where it says something: a quote volume stands for both.
    alone = any(quote is None and volume is not None for volume, quote in zip(volumes, quotes, strict=True))
    if alone:
        columns["volume"] = list(map(_amount, volumes))
    if not alone or any(quote is not None for quote in quotes):
        columns["quote volume"] = list(map(_amount, quotes))
    return columns


def _change(ticker: Ticker) -> str:
    percent = _percent(ticker)
    return _UNKNOWN if percent is None else f"{percent:+.2f} %"


def _price(value: Decimal) -> str:
    """Return a price without the zeros that some venues put behind every one."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _amount(value: Decimal | None) -> str:
    """Return a volume for people, rounded; the smaller it is, the more digits it keeps behind the point."""
    if value is None:
        return _UNKNOWN
    return f"{value:,.{0 if value >= 1000 else 2 if value >= 1 else 6}f}"

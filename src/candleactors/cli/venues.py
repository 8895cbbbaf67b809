"""``candleactors venues``: what the venues allow, and what they can do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import click

from candleactors.errors import CandleactorsError, UnknownVenue

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem
    from rich.console import Console
    from rich.table import Table

    from candleactors.model import Timeframe
    from candleactors.venues.base import Codec, VenueRules

_ASSUMED: Final = "*"
_AMOUNTS: Final = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
_TAKERS: Final = frozenset(_AMOUNTS[3:])


def as_known_venue(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return `value`, the name of a venue that there is; a callback of click."""
    from candleactors import venues

    if value is None or value in venues.names():
        return value
    try:
        venues.codec(value)
    except UnknownVenue as error:
        known = "" if error.nearest else f"; there are {', '.join(venues.names())}"
        raise click.BadParameter(f"{error}{known}", ctx, param) from None
    return value


def complete_venue(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of venues that begin with `incomplete`, for the shell."""
    from click.shell_completion import CompletionItem

    from candleactors import venues

    return [CompletionItem(name) for name in venues.names() if name.startswith(incomplete)]


def load_codec(name: str) -> Codec:
    """Return the codec of the venue `name`; raises `CandleactorsError` where another package's cannot be loaded."""
    from candleactors import venues

    try:
        return venues.codec(name)
    except CandleactorsError:
        raise
    except Exception as error:  # importing what others wrote may raise anything
        raise CandleactorsError(f'the venue "{name}" cannot be loaded: {type(error).__name__}: {error}') from error


@click.command()
@click.argument("name", required=False, callback=as_known_venue, shell_complete=complete_venue)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of all venues, or one object for NAME.")
def venues(name: str | None, as_json: bool) -> int:
    """Show every venue with its limits and what it can do, or all there is to know about the venue NAME.

    Nothing is connected to. A limit with a star is not documented by the venue: it is our own assumption, and settings
    may exceed it. Venues of other packages (entry points candleactors.venues) are shown as well; exit status 1 if one
    of them cannot be loaded.

    \b
      candleactors venues
      candleactors venues okx
      candleactors venues --json | jq '.[] | {venue, connects, connects_window_s}'
    """
    if name is not None:
        codec = load_codec(name)
        if as_json:
            click.echo(json.dumps(_record(codec), ensure_ascii=False, indent=2))
        else:
            _print_one(codec)
        return 0
    codecs, broken = _all()
    if as_json:
        click.echo(json.dumps([_record(codec) for codec in codecs], ensure_ascii=False, indent=2))
    else:
        _print_all(codecs)
    for problem in broken:
        click.echo(f"candleactors: {' '.join(problem.split())}", err=True)
    return 1 if broken else 0


def _all() -> tuple[list[Codec], list[str]]:
    from candleactors import venues

    codecs, broken = [], []
    for name in venues.names():
        try:
            codecs.append(load_codec(name))
        except CandleactorsError as error:
            broken.append(str(error))
    return codecs, broken


def _record(codec: Codec) -> dict[str, Any]:
    record = {name: _plain(getattr(codec.rules, name)) for name in _names(codec.rules)}
    if record["keepalive"] is not None:
        record["keepalive"]["ping"] = _ping(codec)
    return record


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(map(_plain, value))
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    names = _names(value)
    # Timeframes and enumerations are their own text.
    return {name: _plain(getattr(value, name)) for name in names} if names and "text" not in names else str(value)


def _names(value: Any) -> list[str]:
    return [field.name for field in getattr(value, "__attrs_attrs__", ())]


def _print_all(codecs: Sequence[Codec]) -> None:
    """Print tables of at most 100 columns, as long as names and titles are not longer than those of our own venues."""
    rules_of_all = [codec.rules for codec in codecs]
    _show(
        "Venues",
        ("venue", "title", "markets", "native timeframes"),
        ((rules.venue, rules.title, ", ".join(rules.markets), compact(rules.timeframes)) for rules in rules_of_all),
    )
    _show(
        "Candles",
        ("venue", "close", "empty intervals", "quote volume", "trades", "taker volumes"),
        (
            (
                rules.venue,
                str(rules.closes),
                "left out, filled here" if rules.skips_empty else "sent",
                *map(_yes, ("quote_volume" in rules.gives, "trades" in rules.gives, rules.gives >= _TAKERS)),
            )
            for rules in rules_of_all
        ),
    )
    _show(
        "Connections",
        ("venue", "streams each", "names at once", "new ones", "lifetime", "kept alive by"),
        (
            (
                codec.rules.venue,
                _streams(codec.rules, short=True),
                _limit(codec.rules, "max_names_per_request"),
                _connects(codec.rules),
                _lifetime(codec.rules),
                _keepalive(codec),
            )
            for codec in codecs
        ),
    )
    _show(
        "Requests",
        ("venue", "REST weight", "rows an answer", "lists subscriptions", "test network"),
        (
            (
                rules.venue,
                _budget(rules),
                _limit(rules, "klines_limit"),
                _yes(rules.lists_subscriptions),
                _yes(rules.testnet),
            )
            for rules in rules_of_all
        ),
    )
    _show("Documentation", ("venue", "address"), ((rules.venue, rules.docs_url) for rules in rules_of_all))
    if any(rules.assumed for rules in rules_of_all):
        click.echo(f"{_ASSUMED} our assumption, not documented by the venue")
    click.echo('"candleactors venues NAME" shows all there is to know about one.')


def _print_one(codec: Codec) -> None:
    rules = codec.rules
    click.echo(f"{click.style(rules.title, bold=True)} ({rules.venue})\n")
    pairs = {
        "markets": ", ".join(rules.markets),
        "timeframes": ", ".join(map(str, rules.timeframes)),
        "drifting": _drifting(rules),
        "closes": _CLOSES[str(rules.closes)]
        + (f", up to {_span(rules.close_lag_s)} late" if rules.close_lag_s else ""),
        "empty intervals": "left out by the venue, filled here" if rules.skips_empty else "sent as candles",
        "amounts": ", ".join(name.replace("_", " ") for name in _AMOUNTS if name in rules.gives),
        "streams": f"{_streams(rules)} a connection",
        "names": f"{_limit(rules, 'max_names_per_request')} a request{_bytes(rules)}",
        "changes": _changes(rules),
        "messages": f"{rules.messages_per_s:g}{_mark(rules, 'messages_per_s')} a second, sent on one connection",
        "connects": _connects(rules),
        "lifetime": _lifetime(rules),
        "kept alive by": _keepalive(codec),
        "subscriptions": "the venue lists them" if rules.lists_subscriptions else "the venue does not list them",
        "REST weight": _budget(rules),
        "REST rows": f"{_limit(rules, 'klines_limit')} an answer"
        + (", empty intervals counted" if rules.windowed_klines else ""),
        "WebSocket": codec.websocket_url(rules.endpoints.websocket),
        "REST": rules.endpoints.rest,
        "test network": "none" if rules.testnet is None else codec.websocket_url(rules.testnet.websocket),
        "test REST": _test_rest(rules),
        "documentation": rules.docs_url,
    }
    _console().print(_pairs({name: text for name, text in pairs.items() if text}))
    if rules.assumed:
        click.echo(f"\n{_ASSUMED} our assumption, not documented by the venue; settings may exceed it")


_CLOSES: Final = {
    "flagged": "flagged by the venue",
    "inferred": "inferred from what follows, confirmed over REST",
}


def _limit(rules: VenueRules, name: str) -> str:
    return f"{getattr(rules, name)}{_mark(rules, name)}"


def _streams(rules: VenueRules, *, short: bool = False) -> str:
    streams = _limit(rules, "max_streams_per_connection")
    if rules.max_characters_per_connection is None:
        return streams
    characters = _limit(rules, "max_characters_per_connection")
    return f"{streams} ({characters} char.)" if short else f"{streams} (names of {characters} characters)"


def _bytes(rules: VenueRules) -> str:
    return "" if rules.max_request_bytes is None else f", {_limit(rules, 'max_request_bytes')} bytes"


def _changes(rules: VenueRules) -> str:
    if rules.names_per_connection is None:
        return ""
    mark = _mark(rules, "names_per_connection", "names_window_s")
    span = _span(rules.names_window_s)
    return f"{rules.names_per_connection}{mark} names subscribed or unsubscribed in {span} on one connection"


def _connects(rules: VenueRules) -> str:
    return f"{rules.connects}{_mark(rules, 'connects', 'connects_window_s')} in {_span(rules.connects_window_s)}"


def _lifetime(rules: VenueRules) -> str:
    mark = _mark(rules, "lifetime_s")
    return f"unlimited{mark}" if rules.lifetime_s is None else f"{_span(rules.lifetime_s)}{mark}"


def _keepalive(codec: Codec) -> str:
    rules, ways = codec.rules, []
    if rules.server_ping_s is not None:
        ways.append(f"server ping every {_span(rules.server_ping_s)}{_mark(rules, 'server_ping_s')}")
    if rules.keepalive is not None:
        when = "once idle for" if rules.keepalive.only_idle else "every"
        what = {"json": "JSON", "text": "text", "frame": "our"}[_ping(codec)]
        ways.append(f"{what} ping {when} {_span(rules.keepalive.interval_s)}{_mark(rules, 'keepalive')}")
    return ", ".join(ways) or "nothing"


def _ping(codec: Codec) -> str:
    """What we send to keep a connection alive: ``json``, ``text`` or a ``frame``."""
    message = codec.session().ping()
    if message is None:
        return "frame"
    return "json" if message.lstrip()[:1] in (b"{", b"[") else "text"


def _budget(rules: VenueRules) -> str:
    return f"{rules.rest_weight}{_mark(rules, 'rest_weight', 'rest_window_s')} in {_span(rules.rest_window_s)}"


def _drifting(rules: VenueRules) -> str:
    if not rules.drifting:
        return ""
    named = ", ".join(str(timeframe) for timeframe in rules.timeframes if timeframe in rules.drifting)
    return f"{named}: begin on a day of each symbol's own"


def _test_rest(rules: VenueRules) -> str:
    if rules.testnet is None:
        return ""
    headers = "".join(f", with {name}: {value}" for name, value in rules.testnet.rest_headers)
    return rules.testnet.rest + headers


def _mark(rules: VenueRules, *names: str) -> str:
    return "" if rules.assumed.isdisjoint(names) else _ASSUMED


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _span(seconds: float) -> str:
    """Return a length of time in the largest unit that leaves no rest: ``24h``, ``5m``, ``20s``."""
    for size, unit in ((3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def compact(timeframes: Iterable[Timeframe]) -> str:
    """Return timeframes with those of one unit run together: ``1s 1,3,5m 1h``. One with an anchor stands alone."""
    parts = []
    for unit, same in groupby(timeframes, key=lambda frame: frame.text if frame.anchor else frame.unit):
        frames = list(same)
        parts.append(unit if frames[0].anchor else ",".join(str(frame.count) for frame in frames) + unit)
    return " ".join(parts)


def _pairs(values: Mapping[str, str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(Text(name), Text(value))
    return table


def _show(title: str, columns: Sequence[str], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        # The first one is what rows are found by.
        table.add_column(Text(column), no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = _console()
    console.print(Text(title, style="bold"), table, "", sep="\n")


def _console() -> Console:
    from rich.console import Console

    # Where there is no terminal to fit into, nothing is folded or cut.
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=400)

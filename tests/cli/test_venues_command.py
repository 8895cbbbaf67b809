"""``candleactors venues``: every rule of every venue is shown, as it is."""

from __future__ import annotations

import json
from collections.abc import Callable

import attrs
import pytest
from commands import Shell
from rich.cells import cell_len

from candleactors import venues
from candleactors.cli import main
from candleactors.cli.venues import compact
from candleactors.model import Timeframe
from candleactors.venues.base import Closes, Keepalive, VenueRules

Install = Callable[..., None]
ODD = attrs.evolve(
    venues.codec("aster").rules,
    venue="odd",
    title="Odd Exchange",
    testnet=None,
    lifetime_s=None,
    server_ping_s=None,
    connects=17,
    connects_window_s=90.0,
    closes=Closes.INFERRED,
    close_lag_s=20.0,
    skips_empty=True,
    lists_subscriptions=False,
    gives=frozenset({"volume", "trades", "taker_buy_volume"}),
    max_characters_per_connection=4_321,
    max_request_bytes=8_765,
    names_per_connection=480,
    assumed=frozenset({"connects_window_s", "max_characters_per_connection", "klines_limit"}),
)


class OddSession:
    def __init__(self, ping: bytes | None) -> None:
        self._ping = ping

    def ping(self) -> bytes | None:
        return self._ping


class OddCodec:
    """A codec of another package, as far as the command asks it anything."""

    def __init__(self, rules: VenueRules, ping: bytes | None = None) -> None:
        self.rules = rules
        self._ping = ping

    def session(self) -> OddSession:
        return OddSession(self._ping)

    def websocket_url(self, base: str) -> str:
        return f"{base}/odd"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Let there be another venue, or one whose codec cannot be imported."""
    own, codec = venues.names(), venues.codec

    def install(found: object) -> None:
        def load(name: str) -> object:
            if name != "odd":
                return codec(name)
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(venues, "names", lambda: (*own, "odd"))
        monkeypatch.setattr(venues, "codec", load)

    return install


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def rows_of(out: str, venue: str) -> list[list[str]]:
    """The row of `venue` in each of the tables."""
    return [cells(line)[1:] for line in out.splitlines() if line.startswith(f"{venue} ")]


def pairs_of(out: str) -> dict[str, str]:
    return dict(found for line in out.splitlines() if len(found := cells(line)) == 2)


def test_every_venue_is_a_row_of_every_table(candleactors: Shell) -> None:
    outcome = candleactors("venues")
    assert (outcome.status, outcome.err) == (0, "")
    for name in venues.names():
        rules = venues.codec(name).rules
        named, candles, connections, requests, address = rows_of(outcome.out, name)
        assert named == [rules.title, ", ".join(rules.markets), compact(rules.timeframes)]
        assert candles[0] == rules.closes
        assert connections[0].startswith(str(rules.max_streams_per_connection))
        assert requests[-1] == ("no" if rules.testnet is None else "yes")
        assert address == [rules.docs_url]


def test_limits_and_what_is_assumed_of_them(candleactors: Shell) -> None:
    out = candleactors("venues").out
    assert rows_of(out, "binance-spot")[1:4] == [
        ["flagged", "sent", "yes", "yes", "yes"],
        ["1024", "200*", "300 in 5m", "24h", "server ping every 20s"],
        ["6000 in 1m", "1000", "yes", "yes"],
    ]
    assert rows_of(out, "okx")[1:4] == [
        ["flagged", "sent", "yes", "no", "no"],
        ["100*", "50*", "3 in 1s", "unlimited", "text ping once idle for 20s"],
        ["40 in 2s", "100", "no", "yes"],
    ]
    assert rows_of(out, "bybit-spot")[2] == ["456 (21000 char.)", "10", "500 in 5m", "unlimited", "JSON ping every 20s"]
    assert "\n* our assumption, not documented by the venue\n" in out


def test_another_package_s_venue_is_shown_like_our_own(candleactors: Shell, install: Install) -> None:
    install(OddCodec(ODD))
    assert rows_of(candleactors("venues").out, "odd")[1:4] == [
        ["inferred", "left out, filled here", "no", "yes", "no"],
        ["200 (4321* char.)", "200", "17* in 90s", "unlimited", "nothing"],
        ["2400 in 1m", "1500*", "no", "no"],
    ]


@pytest.mark.parametrize(
    ("keepalive", "server_ping_s", "ping", "shown"),
    [
        (None, 180.0, None, "server ping every 3m"),
        (Keepalive(2.5), None, b"ping", "text ping every 2.5s"),
        (Keepalive(20.0, only_idle=True), None, b' {"op":"ping"}', "JSON ping once idle for 20s"),
        (Keepalive(7200.0), 20.0, None, "server ping every 20s, our ping every 2h"),
    ],
)
def test_what_keeps_a_connection_alive(
    candleactors: Shell,
    install: Install,
    keepalive: Keepalive | None,
    server_ping_s: float | None,
    ping: bytes | None,
    shown: str,
) -> None:
    install(OddCodec(attrs.evolve(ODD, keepalive=keepalive, server_ping_s=server_ping_s), ping))
    assert rows_of(candleactors("venues").out, "odd")[2][-1] == shown
    assert pairs_of(candleactors("venues", "odd").out)["kept alive by"] == shown


def test_one_venue_is_told_in_full(candleactors: Shell, install: Install) -> None:
    install(OddCodec(ODD))
    outcome = candleactors("venues", "odd")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.splitlines()[0] == "Odd Exchange (odd)"
    assert pairs_of(outcome.out) == {
        "markets": "swap",
        "timeframes": "1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d, 3d, 1w, 1M",
        "drifting": "3d: begin on a day of each symbol's own",
        "closes": "inferred from what follows, confirmed over REST, up to 20s late",
        "empty intervals": "left out by the venue, filled here",
        "amounts": "volume, trades, taker buy volume",
        "streams": "200 (names of 4321* characters) a connection",
        "names": "200 a request, 8765 bytes",
        "changes": "480 names subscribed or unsubscribed in 1h on one connection",
        "messages": "10 a second, sent on one connection",
        "connects": "17* in 90s",
        "lifetime": "unlimited",
        "kept alive by": "nothing",
        "subscriptions": "the venue does not list them",
        "REST weight": "2400 in 1m",
        "REST rows": "1500* an answer",
        "WebSocket": "wss://fstream.asterdex.com/odd",
        "REST": "https://fapi.asterdex.com",
        "test network": "none",
        "documentation": "https://github.com/asterdex/api-docs",
    }
    assert outcome.out.endswith("* our assumption, not documented by the venue; settings may exceed it\n")


def test_a_test_network_that_is_told_apart_by_a_header(candleactors: Shell) -> None:
    assert pairs_of(candleactors("venues", "okx").out)["test REST"] == (
        "https://www.okx.com, with x-simulated-trading: 1"
    )


def test_json_holds_every_rule(candleactors: Shell) -> None:
    outcome = candleactors("venues", "--json")
    assert (outcome.status, outcome.err) == (0, "")
    records = json.loads(outcome.out)
    assert [record["venue"] for record in records] == list(venues.names())
    for record in records:
        rules = venues.codec(record["venue"]).rules
        assert list(record) == [field.name for field in attrs.fields(VenueRules)]
        assert record["timeframes"] == [str(timeframe) for timeframe in rules.timeframes]
        assert record["endpoints"]["websocket"] == rules.endpoints.websocket
        assert record["closes"] == rules.closes.value
        assert set(record["assumed"]) == rules.assumed
        for name in ("connects", "lifetime_s", "lists_subscriptions", "server_ping_s", "max_characters_per_connection"):
            assert record[name] == getattr(rules, name)
        assert json.loads(candleactors("venues", record["venue"], "--json").out) == record
    keepalives = {record["venue"]: record["keepalive"] for record in records}
    assert keepalives["aster"] is None
    assert keepalives["okx"] == {"interval_s": 20.0, "only_idle": True, "ping": "text"}
    assert keepalives["bybit-linear"] == {"interval_s": 20.0, "only_idle": False, "ping": "json"}


def test_a_venue_that_cannot_be_loaded_hides_no_other(candleactors: Shell, install: Install) -> None:
    install(ImportError("no module\nnamed odd"))
    line = 'candleactors: the venue "odd" cannot be loaded: ImportError: no module named odd\n'
    table, as_json = candleactors("venues"), candleactors("venues", "--json")
    assert (table.status, table.err) == (as_json.status, as_json.err) == (1, line)
    assert len(rows_of(table.out, "okx")) == 5
    assert len(json.loads(as_json.out)) == len(venues.names()) - 1
    for command in (["venues", "odd"], ["symbols", "odd"]):
        outcome = candleactors(*command)
        assert (outcome.status, outcome.out, outcome.err) == (1, "", line)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bitfinx", '"bitfinx" is not a venue; did you mean "bitfinex"?'),
        ("qqq", '"qqq" is not a venue; there are aster, binance-spot, '),
    ],
)
def test_an_unknown_venue_is_one_line_and_status_2(candleactors: Shell, name: str, message: str) -> None:
    outcome = candleactors("venues", name)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err


def test_tables_fit_a_terminal_of_100_columns_and_survive_one_of_80(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.argv", ["candleactors", "venues"])
    for columns, folded in ((100, False), (80, True)):
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit):
            main()
        lines = capsys.readouterr().out.splitlines()
        assert any("\x1b[1m" in line for line in lines), "taken for a terminal"
        plain = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines]
        assert max(map(cell_len, plain)) <= columns
        assert any(line.startswith("   ") for line in plain) == folded


@pytest.mark.parametrize(
    ("timeframes", "shown"),
    [
        ("1s,1m,3m,5m,1h,1d,1w,1M,3M", "1s 1,3,5m 1h 1d 1w 1,3M"),
        ("1m,1d@+0800,2d@+0800,3d,5d", "1m 1d@+0800 2d@+0800 3,5d"),
        ("1d,1w,14d,1M", "1d 1w 14d 1M"),
    ],
)
def test_timeframes_of_one_unit_run_together(timeframes: str, shown: str) -> None:
    assert compact(map(Timeframe, timeframes.split(","))) == shown

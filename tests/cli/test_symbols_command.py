"""``candleactors symbols``, against every venue that can be simulated and against none."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trio
from commands import Shell

from candleactors import venues
from candleactors.model import HOUR_MS, MINUTE_MS, Ticker
from candleactors.sim import RULES, SPOT_RULES, Market, Rules, Simulator, SymbolSpec
from candleactors.venues.base import Instrument
from candleactors.venues.listing import Listing

START_MS = 1_760_000_400_000
"""2025-10-09 09:00:00 UTC."""
CALL = "from candleactors.cli import main; main()"
NOW_MS = START_MS + 10 * MINUTE_MS
SPECS = (
    SymbolSpec("ADA", "USDT", "0.4520", 4, 1, 20.0, 0.0002, "800"),
    SymbolSpec("BTC", "USDT", "67250", 2, 5, 90.0, 0.0001, "0.02"),
    SymbolSpec("ETH", "USDT", "3120", 2, 4, 20.0, 0.0001, "0.4"),
    SymbolSpec("GONE", "USDT", "1.5", 4, 1, 20.0, 0.0005, "100"),
)
SIMULATED = pytest.mark.parametrize("venue", [name for name in RULES if name in venues.names()])


def a_market() -> Market:
    market = Market(7, START_MS, SPECS, history_ms=2 * HOUR_MS)
    market.tape("GONEUSDT").delisted_ms = START_MS
    return market


@contextmanager
def served(rules: Rules, market: Market) -> Iterator[str]:
    """Serve a simulated venue, whose clock stands still, on loopback from a thread; yield its REST address."""
    address: list[str] = []
    trio_token: list[trio.lowlevel.TrioToken] = []
    scope = trio.CancelScope()
    failed: list[BaseException] = []

    async def serve() -> None:
        simulator = Simulator(market, rules, lambda: NOW_MS)
        with scope:
            async with trio.open_nursery() as nursery:
                host, port = await nursery.start(simulator.serve_tcp)
                address.append(f"http://{host}:{port}")
                trio_token.append(trio.lowlevel.current_trio_token())
                ready.close()

    def run() -> None:
        try:
            trio.run(serve)
        except BaseException as error:
            failed.append(error)
        finally:
            ready.close()

    waiting, ready = socket.socketpair()
    thread = Thread(target=run)
    thread.start()
    with waiting:
        assert waiting.recv(1) == b"", "the other end is closed once the venue listens, or failed"
    try:
        if address:
            yield address[0]
    finally:
        if trio_token:
            trio_token[0].run_sync_soon(scope.cancel)
        thread.join()
    assert not failed, failed


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(venue: str, address: str) -> Path:
        path = tmp_path / "feed.toml"
        path.write_text(f'[venues.{venue}]\nrest_url = "{address}"\n')
        return path

    return write


@pytest.fixture
def ask(candleactors: Shell, config: Callable[[str, str], Path]) -> Callable[..., list[dict[str, Any]]]:
    """Ask a simulated venue, and return the rows it is said to have."""

    def rows(venue: str, *arguments: str) -> list[dict[str, Any]]:
        with served(RULES[venue], a_market()) as address:
            outcome = candleactors("symbols", venue, *arguments, "--format", "json", "--config", config(venue, address))
        assert (outcome.status, outcome.err) == (0, "")
        found = json.loads(outcome.out)
        assert isinstance(found, list)
        return found

    return rows


Ask = Callable[..., list[dict[str, Any]]]


@SIMULATED
def test_what_trades_now_is_listed_in_both_spellings(ask: Ask, venue: str) -> None:
    rows = ask(venue)
    assert [tuple(row) for row in rows] == [("venue", "symbol", "unified", "trades")] * len(rows)
    assert {(row["venue"], row["trades"]) for row in rows} == {(venue, True)}
    bases = {row["unified"].partition("/")[0] for row in rows}
    assert bases == {"ADA", "BTC", "ETH"}
    assert [row["unified"] for row in rows] == sorted(row["unified"] for row in rows)
    codec = venues.codec(venue)
    swap = "swap" in codec.rules.markets
    assert all(row["unified"].endswith("/USDT") or (swap and row["unified"].endswith("/USDT:USDT")) for row in rows)


@SIMULATED
def test_a_text_chooses_by_either_spelling(ask: Ask, venue: str) -> None:
    for own in {row["symbol"] for row in ask(venue, "eTh/uSd")}:
        assert "ETH" in own
        assert own in {row["symbol"] for row in ask(venue, own.lower())}


@SIMULATED
def test_tickers_are_sorted_by_what_was_traded(ask: Ask, venue: str) -> None:
    rows = ask(venue, "--tickers")
    assert {tuple(row) for row in rows} == {
        ("venue", "symbol", "unified", "trades", "last", "change_pct", "volume", "quote_volume")
    }
    turnovers = [
        Decimal(row["quote_volume"] or 0) if row["quote_volume"] else Decimal(row["volume"]) * Decimal(row["last"])
        for row in rows
    ]
    assert all(turnovers)
    assert turnovers == sorted(turnovers, reverse=True)
    bitcoin = next(row for row in rows if row["unified"].startswith("BTC/"))
    assert 60_000 < Decimal(bitcoin["last"]) < 75_000
    assert abs(Decimal(bitcoin["change_pct"])) < 20


def test_what_does_not_trade_is_listed_on_demand(ask: Ask) -> None:
    rows = ask("binance-spot", "--all")
    assert {row["symbol"]: row["trades"] for row in rows} == {
        "ADAUSDT": True,
        "BTCUSDT": True,
        "ETHUSDT": True,
        "GONEUSDT": False,
    }


def test_csv(candleactors: Shell, config: Callable[[str, str], Path]) -> None:
    with served(SPOT_RULES, a_market()) as address:
        path = config("binance-spot", address)
        plain = candleactors("symbols", "binance-spot", "--all", "--format", "csv", "--config", path)
        priced = candleactors("symbols", "binance-spot", "btc", "--tickers", "--format", "csv", "--config", path)
    assert plain.out.splitlines()[0] == "venue,symbol,unified,trades"
    assert plain.out.splitlines()[4] == "binance-spot,GONEUSDT,GONE/USDT,false"
    (row,) = csv.DictReader(io.StringIO(priced.out))
    assert (row["symbol"], row["trades"]) == ("BTCUSDT", "true")
    assert 0 < Decimal(row["volume"]) < Decimal(row["quote_volume"])


def test_the_table_is_plain_where_there_is_no_terminal(candleactors: Shell, config: Callable[[str, str], Path]) -> None:
    with served(SPOT_RULES, a_market()) as address:
        outcome = candleactors("symbols", "binance-spot", "--config", config("binance-spot", address))
    assert outcome.out.splitlines() == [
        "symbol    venue's own  trades",
        "─────────────────────────────",
        "ADA/USDT  ADAUSDT      yes",
        "BTC/USDT  BTCUSDT      yes",
        "ETH/USDT  ETHUSDT      yes",
    ]


def test_on_a_terminal_the_header_is_bold_and_the_number_is_told(
    config: Callable[[str, str], Path], tmp_path: Path
) -> None:
    with served(SPOT_RULES, a_market()) as address:
        path = config("binance-spot", address)
        ours, theirs = pty.openpty()
        done = subprocess.run(
            [sys.executable, "-c", CALL, "symbols", "binance-spot", "--config", str(path)],
            stdout=theirs,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(theirs)
    with open(ours, "rb") as terminal:
        shown = terminal.read1().decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown.startswith("\x1b[1msymbol ")
    assert shown.endswith("3 of binance-spot\r\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("BTCUSDX", 'Binance Spot lists no symbol with "BTCUSDX"; did you mean "BTCUSDT"?'),
        ("btc-usdt", 'Binance Spot lists no symbol with "btc-usdt"; did you mean "BTCUSDT"?'),
        ("btc/usdc", 'Binance Spot lists no symbol with "btc/usdc"; did you mean "BTC/USDT"?'),
        ("aad", 'Binance Spot lists no symbol with "aad"; did you mean "ADA"?'),
        ("qqq", 'Binance Spot lists no symbol with "qqq"; it lists 4 symbols'),
        (
            "gone",
            'Binance Spot trades no symbol with "gone" now, but lists GONEUSDT; add --all to see what does not trade',
        ),
    ],
)
def test_nothing_to_show_is_a_helpful_line_and_status_1(
    candleactors: Shell, config: Callable[[str, str], Path], text: str, line: str
) -> None:
    with served(SPOT_RULES, a_market()) as address:
        outcome = candleactors("symbols", "binance-spot", text, "--config", config("binance-spot", address))
    assert (outcome.status, outcome.out, outcome.err) == (1, "", f"candleactors: {line}\n")


@SIMULATED
def test_a_venue_that_cannot_be_reached_is_one_line_and_status_1(
    candleactors: Shell, config: Callable[[str, str], Path], venue: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        path = config(venue, f"http://127.0.0.1:{taken.getsockname()[1]}")
        outcome = candleactors("symbols", venue, "--config", path)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith(f"candleactors: {venues.codec(venue).rules.title} gave no list: GET 127.0.0.1/")
    assert "no connection" in outcome.err


def test_another_venue_behind_the_address_is_one_line_and_status_1(
    candleactors: Shell, config: Callable[[str, str], Path]
) -> None:
    with served(SPOT_RULES, a_market()) as address:
        outcome = candleactors("symbols", "aster", "--config", config("aster", address))
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        "candleactors: Aster Futures gave no list: No such endpoint: GET /fapi/v1/exchangeInfo (code -1000)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["binance-sopt"], '"binance-sopt" is not a venue; did you mean "binance-spot"?'),
        (["OKX"], '"OKX" is not a venue; did you mean "okx"?'),
        (["qqq"], '"qqq" is not a venue; there are aster, binance-spot, '),
        ([], "Missing argument 'VENUE'"),
        (["okx", "--format", "xml"], "'xml' is not one of 'table', 'csv', 'json'"),
        (["okx", "--config", "absent.toml"], "absent.toml: cannot be read"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(candleactors: Shell, arguments: list[str], message: str) -> None:
    outcome = candleactors("symbols", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("candleactors: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err


@pytest.mark.parametrize("venue", venues.names())
def test_the_test_network_outweighs_the_address_in_the_file(
    candleactors: Shell, config: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, venue: str
) -> None:
    asked = []

    async def answer(name: str, settings: Any, tickers: bool) -> tuple[Listing, list[Ticker]]:
        asked.append((name, settings.venues[name].testnet, settings.venues[name].rest_url))
        return Listing([Instrument("A-B", "A/B", True)]), []

    monkeypatch.setattr("candleactors.cli.symbols._ask", answer)
    path = config(venue, "http://127.0.0.1:1")
    outcome = candleactors("symbols", venue, "--testnet", "--config", path)
    rules = venues.codec(venue).rules
    if rules.testnet is None:
        assert (outcome.status, asked) == (2, [])
        assert f"{rules.title} has no test network" in outcome.err
    else:
        assert (outcome.status, asked) == (0, [(venue, True, None)])


def test_tickers_in_the_table(candleactors: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    number = Decimal
    answers = (
        Listing(Instrument(symbol, f"{symbol}/X", symbol != "D") for symbol in ("A", "B", "币", "D", "E")),
        [
            Ticker("okx", "A", number("0.0500"), number("0.0196"), number(2_000), number("100.004")),
            Ticker("okx", "B", number("1300"), number("-0.5"), number("0.25"), None),  # at its price it is 325
            Ticker("okx", "币", number("12"), None, None, number("1234567.5")),
            Ticker("okx", "D", number("7"), None, None, number("9999999")),
            Ticker("okx", "unlisted", number("7"), None, None, None),
        ],
    )

    async def answer(*_: object) -> tuple[Listing, list[Ticker]]:
        return answers

    monkeypatch.setattr("candleactors.cli.symbols._ask", answer)
    assert candleactors("symbols", "okx", "--tickers").out.splitlines() == [
        "symbol  venue's own  trades  last      24 h    volume  quote volume",
        "───────────────────────────────────────────────────────────────────",
        "币/X    币           yes       12         –         –     1,234,568",
        "B/X     B            yes     1300  -50.00 %  0.250000             –",
        "A/X     A            yes     0.05   +1.96 %     2,000        100.00",
        "E/X     E            yes        –         –         –             –",
    ]
    answers[1].pop(1)
    assert "volume  quote" not in candleactors("symbols", "okx", "A/", "--tickers").out
    rows = json.loads(candleactors("symbols", "okx", "A/", "--tickers", "--format", "json").out)
    assert [(row["last"], row["change_pct"], row["quote_volume"]) for row in rows] == [("0.0500", "1.96", "100.004")]


@pytest.mark.parametrize(
    ("columns", "gone", "quote", "titles"),
    [
        (120, False, "5", ["symbol", "venue's own", "trades", "last", "24 h", "volume", "quote volume"]),
        (60, False, "5", ["symbol", "venue's own", "last", "24 h", "volume", "quote volume"]),
        (60, True, "5", ["symbol", "venue's own", "trades", "last", "24 h", "quote volume"]),
        (40, False, "5", ["symbol", "venue's own", "last", "24 h", "quote volume"]),
        (40, False, None, ["symbol", "venue's own", "trades", "last", "24 h", "volume"]),
    ],
)
def test_what_does_not_fit_a_terminal_goes_first_where_it_says_least(
    candleactors: Shell,
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    gone: bool,
    quote: str | None,
    titles: list[str],
) -> None:
    one = Decimal(1)
    tickers = [
        Ticker("okx", "A", one, one, one, None if quote is None else Decimal(quote)),
        Ticker("okx", "B", one, one, one, None),
    ]

    async def answer(*_: object) -> tuple[Listing, list[Ticker]]:
        return Listing([Instrument("A", "A/X", True), Instrument("B", "B/X", not gone)]), tickers

    monkeypatch.setattr("candleactors.cli.symbols._ask", answer)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    header = candleactors("symbols", "okx", "--all", "--tickers").out.splitlines()[0]
    assert re.split("  +", re.sub("\x1b\\[\\d*m", "", header)) == titles


def test_nothing_a_venue_sends_reaches_the_terminal_as_a_command(
    candleactors: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(*_: object) -> tuple[Listing, list[Ticker]]:
        return Listing([Instrument("A\x1b[31m", "A\n/B", True)]), []

    monkeypatch.setattr("candleactors.cli.symbols._ask", answer)
    assert candleactors("symbols", "okx").out.splitlines()[2] == "A�/B    A�[31m       yes"
    assert "\x1b" not in candleactors("symbols", "okx", "--format", "json").out


def test_help_is_quick() -> None:
    code = (
        "import sys; from candleactors import cli\n"
        "status = cli._run()\n"
        "late = [name for name in ('trio', 'rich', 'msgspec', 'cattrs', 'httpx') if name in sys.modules]\n"
        "sys.exit(late and str(late) or status)"
    )
    for name in ("symbols", "venues"):
        arguments = [sys.executable, "-c", code, name, "--help"]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_completion_of_venues(candleactors: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_CANDLEACTORS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "candleactors symbols bin")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert candleactors().out.splitlines()[:2] == ["plain,binance-spot", "plain,binance-usdm"]

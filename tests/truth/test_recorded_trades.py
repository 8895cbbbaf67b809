"""Candles made of recorded trades equal those that the venues made of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import Any

import pytest
from recorded_pairs import RECORDED
from table_comparison import FIELDS
from table_rows import Row
from trade_recordings import aggregate, bitfinex_trades, listed, messages, streamed, trade_streams
from venue_tables import Table, utc

from candleactors import BarBuilder
from candleactors.model import Candle, Event, Revision, Timeframe, Trade
from recorded import VARIABLE, lines, recorded, root

_STREAMS = trade_streams(root())
_PRICES = ("open", "high", "low", "close")


def _made(trades: Iterable[Trade], *sizes: str, source: str = "1m", contiguous: bool = True) -> list[Event]:
    builder = BarBuilder(*sizes, source=source, memory=30, contiguous=contiguous)
    return [event for trade in trades for event in builder.add(trade)]


def _last_said(events: Iterable[Event]) -> dict[int, Candle]:
    """Return what was said last of each interval, by its open time."""
    said: dict[int, Candle] = {}
    for event in events:
        candle = event.candle if isinstance(event, Revision) else event
        assert isinstance(candle, Candle)
        said[candle.open_time_ms] = candle
    return said


def _differences(candles: Iterable[Candle], rows: dict[int, Row]) -> tuple[int, list[str]]:
    """Return how many complete candles the venue has too, and what it says otherwise of these."""
    compared, found = 0, []
    for ours in candles:
        theirs = rows.get(ours.open_time_ms)
        if theirs is None or not ours.complete:
            continue
        compared += 1
        for name in FIELDS:
            mine, its = getattr(ours, name), getattr(theirs, name)
            if its is not None and mine != its:
                found.append(f"{utc(ours.open_time_ms)} {name}: {mine}, venue {its}")
    return compared, found


def _tables(venue: str, market: str, trades: Sequence[Trade], source: str) -> list[Table]:
    """Return the venue's own tables of a market that have a row wholly within the time of `trades`."""
    first_ms, last_ms = trades[0].time_ms, trades[-1].time_ms
    return [
        table
        for table in RECORDED.tables
        if (table.venue, table.market) == (venue, market)
        and table.lacks is None
        and Timeframe(source).tiles(table.timeframe)
        and any(first_ms <= at and table.timeframe.next_open(at) <= last_ms for at in table.rows())
    ]


# -- trades of a stream, candles of an export -----------------------------------------------------------------------


@pytest.mark.parametrize("source", ["1s", "1m", "5m"])
def test_candles_of_trades_equal_the_venues(source: str) -> None:
    if not _STREAMS:
        pytest.skip(f"no recorded trades under {root()}; set {VARIABLE} to the folder of recordings")
    compared = 0
    for (venue, market), paths in _STREAMS.items():
        trades = list(streamed(venue, paths))
        for table in _tables(venue, market, trades, source):
            events = _made(trades, table.timeframe.text, source=source)
            count, differences = _differences(_last_said(events).values(), table.rows())
            assert not differences
            compared += count
    assert compared >= 2


@pytest.mark.parametrize(("market", "count"), [("BTCUSDT", 19_904), ("ETHUSDT", 14_515)])
def test_trade_ids_of_a_stream_are_contiguous(market: str, count: int) -> None:
    recorded("binance_spot/trades_ws_2024_08")
    _check_contiguous(list(streamed("binance_spot", _STREAMS["binance_spot", market])), at_least=count)


def _check_contiguous(trades: list[Trade], *, at_least: int) -> None:
    assert len(trades) >= at_least
    for before, after in pairwise(trades):
        assert after.first_id == before.last_id + 1
        assert after.time_ms >= before.time_ms


def _bitcoin() -> tuple[list[Trade], dict[int, Row]]:
    recorded("binance_spot/trades_ws_2024_08")
    trades = list(streamed("binance_spot", _STREAMS["binance_spot", "BTCUSDT"]))
    (table,) = (one for one in RECORDED.tables if str(one) == "binance_spot/trades_ws_2024_08 BTCUSDT 5m")
    return trades, table.rows()


@pytest.mark.parametrize("lost", [range(3_000, 3_001), range(8_000, 12_000), range(9_700, 9_800), range(875, 4_000)])
def test_a_hole_in_the_ids_shows_and_closes_again(lost: range) -> None:
    """While trades are missing no candle claims more than it has; when they come the candles are the venue's."""
    trades, rows = _bitcoin()
    kept = [trade for number, trade in enumerate(trades) if number not in lost]
    builder = BarBuilder("5m", source="1m")
    events = [event for trade in kept for event in builder.add(trade)]
    said = _last_said(events)
    touched = {trades[number].time_ms // 300_000 * 300_000 for number in lost}
    assert not any(said[open_ms].complete for open_ms in touched)
    assert not _differences(said.values(), rows)[1]
    events += [event for number in lost for event in builder.add(trades[number])]
    assert any(isinstance(event, Revision) for event in events)
    compared, differences = _differences(_last_said(events).values(), rows)
    assert not differences
    assert compared >= 2


@pytest.mark.parametrize("joined", [900, 1_500, 2_100])
def test_a_stream_joined_within_an_interval_does_not_claim_it(joined: int) -> None:
    """Trades 875 to 2129 are those of 23:55 to 23:56, so the 5m candle of 23:55 lacks some."""
    trades, rows = _bitcoin()
    assert not _differences(_last_said(_made(trades[joined:], "5m")).values(), rows)[1]


# -- trades and candles of one raw stream ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "at_least"),
    [
        ("binance_spot/ws_raw/2021-04-04_BINANCE-ee25be.0.gz", 51),
        ("binance_spot/ws_raw/2021-04-17_BINANCE.ws.1.0.gz", 6),
        ("binance_usdm/ws_raw/2021-11-03_BINANCE_FUTURES.ws.1.0.gz", 15),
    ],
)
def test_trades_so_far_equal_the_open_candle(path: str, at_least: int) -> None:
    """A kline message names its first and its last trade: with those, and no others, all nine values are the same."""
    trades: dict[str, list[Trade]] = {}
    klines: list[dict[str, Any]] = []
    for message in messages(recorded(path)):
        if message.get("e") == "aggTrade":
            trades.setdefault(message["s"], []).append(aggregate("binance", message["s"], message))
        elif message.get("e") == "kline":
            klines.append(message["k"])
    for sold in trades.values():
        _check_contiguous(sold, at_least=1)
    compared = 0
    for kline in klines:
        those = [one for one in trades.get(kline["s"], []) if kline["f"] <= one.first_id and one.last_id <= kline["L"]]
        if those and (those[0].first_id, those[-1].last_id) == (kline["f"], kline["L"]):
            builder = BarBuilder("1m")
            events = [event for trade in those for event in builder.add(trade)]
            (made,) = events + builder.advance(kline["T"] + 1)
            assert isinstance(made, Candle)
            assert (made.open_time_ms, made.close_time_ms) == (kline["t"], kline["T"])
            assert made.values() == (*(Decimal(kline[key]) for key in "ohlcvq"), kline["n"], *_takers(kline))
            compared += 1
    assert compared >= at_least


def _takers(kline: dict[str, Any]) -> tuple[Decimal, Decimal]:
    return Decimal(kline["V"]), Decimal(kline["Q"])


# -- trades of REST answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "venue", "market", "count", "parts"),
    [
        ("binance_spot/rest_recorded/api_v3_aggTrades_10.json", "binance_spot", "BTCUSDT", 1_000, 3),
        ("binance_usdm/rest_recorded/fapi_v1_aggTrades_00.json", "binance_usdm", "LTCUSDT", 500, 1),
    ],
)
def test_a_part_of_an_interval_stays_a_part(path: str, venue: str, market: str, count: int, parts: int) -> None:
    """Some minutes of trades: they cover no recorded candle, so none may be complete or exceed the venue's."""
    trades = [aggregate(venue, market, row) for row in json.loads(recorded(path).read_text())["data"]]
    _check_contiguous(trades, at_least=count)
    checked = 0
    for table in RECORDED.tables:
        if (table.venue, table.market) != (venue, market) or table.size.nominal_ms <= 60_000:
            continue
        open_ms = table.timeframe.floor(trades[0].time_ms)
        row = table.rows().get(open_ms)
        if row is None or table.timeframe.next_open(open_ms) <= trades[-1].time_ms:
            continue
        builder = BarBuilder(table.timeframe)
        events = [event for trade in trades for event in builder.add(trade)]
        (part,) = builder.forming()
        assert not events
        assert not part.complete
        assert row.low <= part.low
        assert part.high <= row.high
        assert part.volume < row.volume
        checked += 1
    assert checked >= parts


@pytest.mark.parametrize(("market", "count"), [("AAVEUSDT", 50), ("BTCUSDT", 100), ("ETHUSDT", 100), ("SOLUSDT", 100)])
def test_trade_ids_of_an_answer_are_contiguous(market: str, count: int) -> None:
    path = recorded(f"aster/klines_1h_4h_1d_share/{market}_trades.json")
    _check_contiguous(listed("aster", market, path), at_least=count)


@pytest.mark.parametrize("size", ["1h", "4h"])
def test_open_candles_equal_the_venues_open_candles(size: str) -> None:
    """Aster's newest AAVEUSDT candles were open when they were recorded, ten minutes after 04:00; so are ours."""
    trades = listed("aster", "AAVEUSDT", recorded("aster/klines_1h_4h_1d_share/AAVEUSDT_trades.json"))
    (table,) = (one for one in RECORDED.tables if str(one) == f"aster/klines_1h_4h_1d_share AAVEUSDT {size}")
    if table.lacks is not None:
        pytest.skip(f"needs {table.lacks}")
    newest = max((row for piece in table.read() for row in piece), key=lambda row: row.open_ms)
    builder = BarBuilder(size)
    for trade in trades:
        builder.add(trade)
    builder.advance(trades[-1].time_ms + 60_000)
    (ours,) = builder.forming()
    assert utc(ours.open_time_ms) == utc(newest.open_ms) == "2025-10-15 04:00"
    assert not ours.closed
    assert (ours.volume, ours.quote_volume) == (Decimal("32.1"), Decimal("8107.607"))
    given = [name for name in FIELDS if getattr(newest, name) is not None]
    assert len(given) == 7
    assert {name: getattr(ours, name) for name in given} == {name: getattr(newest, name) for name in given}


# -- Bitfinex -------------------------------------------------------------------------------------------------------

_BITFINEX = "bitfinex/trades_ws_2018-11-12"
_CENT = Decimal("0.01")


def _bitfinex_hours() -> dict[str, dict[str, Decimal]]:
    """Return what an export says of Bitfinex's hours: prices cut to two decimals, volumes rounded to two."""
    rows = csv.DictReader(lines(recorded(f"{_BITFINEX}/Bitfinex_BTCUSD_1h_2018-11-12_13.csv")), delimiter=";")
    columns = {"Open": "open", "High": "high", "Low": "low", "Close": "close"}
    columns |= {"Volume BTC": "volume", "Volume USD": "quote_volume"}
    return {
        datetime.strptime(row["Date"], "%Y-%m-%d %I-%p").replace(tzinfo=UTC).strftime("%Y-%m-%d %H:%M"): {
            name: Decimal(row[column]) for column, name in columns.items()
        }
        for row in rows
    }


def _bitfinex(*kinds: str) -> list[Trade]:
    told = bitfinex_trades(recorded(f"{_BITFINEX}/tBTCUSD_trades_raw.jsonl.gz"))
    return [one.trade for one in told if one.kind in kinds]


def _by_hour(trades: Iterable[Trade]) -> dict[str, Candle]:
    return {utc(at): candle for at, candle in _last_said(_made(trades, "1h", contiguous=False)).items()}


def _exported(candle: Candle, before: Candle) -> dict[str, Decimal]:
    """Return what the export makes of a candle: it lets each one open where the last one closed."""
    assert candle.quote_volume is not None
    prices = {name: getattr(candle, name) for name in _PRICES} | {"open": before.close}
    volumes = {"volume": candle.volume, "quote_volume": candle.quote_volume}
    return {name: price.quantize(_CENT, ROUND_DOWN) for name, price in prices.items()} | {
        name: volume.quantize(_CENT, ROUND_HALF_EVEN) for name, volume in volumes.items()
    }


_WHOLE_HOURS = ["2018-11-12 19:00", "2018-11-12 20:00", "2018-11-12 21:00", "2018-11-12 22:00"]
"""Recorded from begin to end on one connection; at 23:10 another one took over, and trades were lost in between."""


def _check_hours(hours: dict[str, Candle], expected: Sequence[str]) -> None:
    theirs = _bitfinex_hours()
    opens = {name: (hours[name], hours[utc(hours[name].open_time_ms - 3_600_000)]) for name in _WHOLE_HOURS}
    equal = [name for name, (candle, before) in opens.items() if _exported(candle, before) == theirs[name]]
    assert equal == list(expected)


def test_bitfinex_candles_are_made_of_confirmed_trades() -> None:
    """Of ``tu`` in order of their ids, that is; ids are those of all markets, so holes in them mean nothing."""
    _check_hours(_by_hour(sorted(_bitfinex("tu"), key=lambda trade: trade.first_id)), _WHOLE_HOURS)


def test_bitfinex_trades_never_confirmed_are_in_no_candle() -> None:
    """Some ``te`` are never followed by a ``tu``: with those, the hours they belong to are not the venue's."""
    executed, confirmed = _bitfinex("te"), {trade.first_id for trade in _bitfinex("tu")}
    dropped = [utc(trade.time_ms // 3_600_000 * 3_600_000) for trade in executed if trade.first_id not in confirmed]
    assert sorted(set(dropped)) == ["2018-11-12 18:00", "2018-11-12 19:00", "2018-11-12 22:00", "2018-11-12 23:00"]
    in_order = sorted(executed, key=lambda trade: trade.first_id)
    _check_hours(_by_hour(in_order), ["2018-11-12 20:00", "2018-11-12 21:00"])


def test_bitfinex_trades_count_in_the_order_they_come() -> None:
    """Every sixth ``tu`` comes after one of a higher id."""
    confirmed = _bitfinex("tu")
    assert sum(after.first_id < before.first_id for before, after in pairwise(confirmed)) >= 400
    _check_hours(_by_hour(confirmed), _WHOLE_HOURS)


def test_bitfinex_states_some_trades_twice_with_another_time() -> None:
    """A snapshot gives trades that were streamed before, up to 9 ms earlier: the id tells that they are the same."""
    streamed_before = {trade.first_id: trade for trade in _bitfinex("tu")}
    again = [trade for trade in _bitfinex("snapshot") if trade.first_id in streamed_before]
    apart = [streamed_before[trade.first_id].time_ms - trade.time_ms for trade in again]
    assert len(again) == 12
    assert min(apart) >= 1
    assert max(apart) == 9

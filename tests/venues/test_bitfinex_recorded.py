"""What Bitfinex really sent: every recorded message and row is understood, and no digit is lost."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bitfinex_payloads import CHANNEL, CODEC, NAME, frame, heartbeat, session, snapshot, stream

from candleactors.model import HOUR_MS, MINUTE_MS, Candle, Source, Stream
from candleactors.venues.base import Decoded
from candleactors.venues.bitfinex_rules import GRACE_MS
from recorded import lines, recorded

AT_SOME_LATER_TIME_MS = 2_000_000_000_000
HOURS = "bitfinex/trades_ws_2018-11-12/Bitfinex_BTCUSD_1h_2018-11-12_13.csv"
CENT = Decimal("0.01")


def exact(value: Decimal) -> str:
    return f"{value:f}"


def values(candle: Candle) -> list[str]:
    numbers = (candle.open, candle.close, candle.high, candle.low, candle.volume)
    return [str(candle.open_time_ms), *map(exact, numbers)]


def digits(rows: bytes | str) -> Any:
    """Return JSON with its numbers as the text they were."""
    return json.loads(rows, parse_float=str, parse_int=str)


class TestRest:
    def test_every_row(self) -> None:
        body = recorded("bitfinex/rest_candles_1m/btc_candle_data.json").read_bytes()
        candles = CODEC.parse_klines(stream(), body, AT_SOME_LATER_TIME_MS, 7)
        assert [values(candle) for candle in candles] == digits(body)[::-1]
        assert len(candles) == 1_000
        assert all(one.next_open_time_ms == other.open_time_ms for one, other in pairwise(candles))
        assert all(candle.closed and candle.problem() is None for candle in candles)

    def test_ascending_as_well(self) -> None:
        body = recorded("bitfinex/rest_candles_1m/btc_candle_data.json").read_bytes()
        ascending = msgspec.json.encode(msgspec.json.decode(body, type=list[msgspec.Raw])[::-1])
        assert CODEC.parse_klines(stream(), ascending, 0, 7) == CODEC.parse_klines(stream(), body, 0, 7)


class TestFrames:
    def test_single_messages_of_several_markets(self) -> None:
        """The library they are from puts the key where the channel's number was."""
        found = [line for line in lines(recorded("bitfinex/ws_candle_snippets/candle_messages.jsonl")) if line]
        assert len(found) == 4
        for line in found:
            head, content = msgspec.json.decode(line, type=tuple[dict[str, str], msgspec.Raw])
            name = head["key"]
            watched = stream(name.removeprefix("trade:1m:"))
            assert CODEC.stream_name(watched) == name
            decoded = session(name).decode([frame(bytes(content).decode(), None)], {name: watched}, 7)
            rows = digits(bytes(content))
            rows = sorted(rows) if isinstance(rows[0], list) else [rows]
            assert values(decoded.open[name].to_candle(watched, 7)) == rows[-1]
            told = {candle.open_time_ms: candle for _, candle in decoded.closed}
            assert [values(told[int(row[0])]) for row in rows[:-1]] == rows[:-1]
            # The minutes that the venue skipped are there too.
            assert sorted(told) == list(range(int(rows[0][0]), int(rows[-1][0]), MINUTE_MS))
            assert decoded.rejected == []

    def test_one_frame_of_2017(self) -> None:
        raw = recorded("bitfinex/ws_candles_captured_in_issues/raw_frame.jsonl").read_bytes().strip()
        name = "trade:1m:tOMGBTC"
        watched = stream("tOMGBTC")
        on = CODEC.session()
        on.decode(
            [b'{"event":"subscribed","channel":"candles","chanId":100547,"key":"trade:1m:tOMGBTC"}'], {name: watched}, 7
        )
        decoded = on.decode([raw], {name: watched}, 7)
        assert values(decoded.open[name].to_candle(watched, 7)) == digits(raw)[1]

    def test_the_previous_row_sent_again_and_again(self) -> None:
        """As reported in 2018, without a clock in the frames: opens, highs and lows were not."""
        path = recorded("bitfinex/ws_candles_captured_in_issues/update_sequence_mts_close_volume.txt")
        on = session()
        told: list[tuple[int, str, str]] = []
        formed: list[tuple[int, str, str]] = []
        sent = []
        for line in lines(path):
            when, close, volume = line.split()
            open_ms = int(datetime.fromisoformat(when).timestamp() * 1000)
            sent.append((open_ms, close, volume))
            raw = frame(f"[{open_ms},{close},{close},{close},{close},{volume}]", None)
            decoded = on.decode([raw], {NAME: stream()}, 7)
            told += [(c.open_time_ms, exact(c.close), exact(c.volume)) for _, c in decoded.closed]
            forming = [wire.to_candle(stream(), 7) for wire in decoded.open.values()]
            formed += [(c.open_time_ms, exact(c.close), exact(c.volume)) for c in forming]
        first, second, third = sorted({open_ms for open_ms, _, _ in sent})
        assert told == [row for row in sent if row[0] == first][:1] + [row for row in sent if row[0] == second][-1:]
        assert [row[0] for row in formed] == [first] + [second] * 6 + [third]
        assert formed[1:-1] == list(dict.fromkeys(row for row in sent if row[0] == second))

    @pytest.mark.parametrize(
        ("path", "messages"),
        [
            ("bitfinex/ws_raw/bitfinex_ws_raw.jsonl", 3_631),
            ("bitfinex/ws_private/bitfinex_ws_private_raw.jsonl", 30),
            ("bitfinex/trades_ws_2018-11-12/tBTCUSD_trades_raw.jsonl.gz", 11_765),
        ],
    )
    def test_other_channels_are_passed_over(self, path: str, messages: int) -> None:
        total = Decoded()
        on = session()
        for line in lines(recorded(path)):
            decoded = on.decode([line.encode()], {NAME: stream()}, 7)
            assert decoded.rejected == []
            assert decoded.ignored + len(decoded.replies) == 1
            total.messages += decoded.messages
        assert total.messages == messages


# Candles made of recorded trades, told as the venue tells them


def trades(path: Path) -> list[tuple[int, Decimal, Decimal]]:
    """Return instant, price and amount of every trade, in the order of their ids."""
    found: dict[int, tuple[int, Decimal, Decimal]] = {}
    for line in lines(path):
        message = json.loads(line, parse_float=Decimal)
        if not isinstance(message, list):
            continue
        rows = message[1] if isinstance(message[1], list) else [message[2]] if message[1] in ("te", "tu") else []
        for id, at_ms, amount, price in rows:
            found[id] = (at_ms, Decimal(price), abs(Decimal(amount)))
    return [found[id] for id in sorted(found)]


Fold = tuple[Decimal, Decimal, Decimal, Decimal, Decimal]


def folded(known: Fold | None, price: Decimal, amount: Decimal) -> Fold:
    """Return open, close, high, low and volume with another trade in them."""
    if known is None:
        return price, price, price, price, amount
    opened, _, high, low, volume = known
    return opened, price, max(high, price), min(low, price), volume + amount


def test_candles_of_recorded_trades_close_once_and_without_holes() -> None:
    path = recorded("bitfinex/trades_ws_2018-11-12/tBTCUSD_trades_raw.jsonl.gz")
    sold = sorted(trades(path), key=lambda trade: trade[0])
    assert len(sold) == 4_521
    begun_ms = sold[0][0]
    on = session()
    watched: dict[str, Stream] = {NAME: stream()}
    truth: dict[int, Fold] = {}
    told: list[Candle] = []
    sent_ms = begun_ms

    def send(raw: bytes) -> None:
        decoded = on.decode([raw], watched, 7)
        assert decoded.rejected == []
        told.extend(candle for _, candle in decoded.closed)

    def row(open_ms: int) -> str:
        return f"[{open_ms},{','.join(map(exact, truth[open_ms]))}]"

    send(snapshot(sent_ms=begun_ms))
    for at_ms, price, amount in sold:
        while at_ms - sent_ms > 15_000:
            sent_ms += 15_000
            send(heartbeat(sent_ms))
        sent_ms = at_ms
        open_ms = at_ms - at_ms % MINUTE_MS
        truth[open_ms] = folded(truth.get(open_ms), price, amount)
        send(frame(row(open_ms), sent_ms))
        if open_ms - MINUTE_MS in truth:
            send(frame(row(open_ms - MINUTE_MS), sent_ms))
    last_ms = max(truth)
    send(heartbeat(last_ms + MINUTE_MS + GRACE_MS, CHANNEL))

    assert [candle.open_time_ms for candle in told] == list(range(min(truth), last_ms + MINUTE_MS, MINUTE_MS))
    flat = [candle for candle in told if candle.source is Source.FILLED]
    assert {candle.open_time_ms for candle in told} - {candle.open_time_ms for candle in flat} == set(truth)
    assert flat, "a market in which every minute trades shows nothing"
    close = None
    for candle in told:
        if candle.open_time_ms in truth:
            expected = truth[candle.open_time_ms]
            close = expected[1]
        else:
            assert close is not None
            expected = (close, close, close, close, Decimal(0))
        assert (candle.open, candle.close, candle.high, candle.low, candle.volume) == expected

    # What another source says of the same hours, cut to cents and to hundredths of a bitcoin.
    hours: dict[int, list[Candle]] = defaultdict(list)
    for candle in told:
        hours[candle.open_time_ms - candle.open_time_ms % HOUR_MS].append(candle)
    compared = 0
    apart: list[Decimal] = []
    for said in csv.DictReader(lines(recorded(HOURS)), delimiter=";"):
        open_ms = int(datetime.strptime(said["Date"], "%Y-%m-%d %I-%p").replace(tzinfo=UTC).timestamp() * 1000)
        minutes = hours.get(open_ms, [])
        if len(minutes) == 60:
            compared += 1
            assert abs(max(c.high for c in minutes) - Decimal(said["High"])) <= CENT
            assert abs(min(c.low for c in minutes) - Decimal(said["Low"])) <= CENT
            assert abs(minutes[-1].close - Decimal(said["Close"])) <= CENT
            apart.append(Decimal(said["Volume BTC"]) - sum(c.volume for c in minutes))
    assert compared == 5
    # The sources do not agree on every trade: in two hours on all of them, in the others but for 2 % of the volume.
    assert [difference <= CENT for difference in sorted(map(abs, apart))] == [True, True, False, False, False]
    assert max(map(abs, apart)) < 4

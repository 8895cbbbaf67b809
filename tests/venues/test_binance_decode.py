from __future__ import annotations

import json
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest
from binance_payloads import (
    OPEN_MS,
    RECEIVED_MS,
    VENUES,
    combined,
    decode,
    dumps,
    event,
    kline,
    stream,
    watching,
)

from candleactors.errors import MalformedMessage
from candleactors.model import DAY_MS, MINUTE_MS, Candle, Source, Stream, Timeframe
from candleactors.venues import codec
from candleactors.venues.base import Acked, Decoded, Listed, Refused
from candleactors.venues.binance import MAX_FRAME_BYTES

NAME = "btcusdt@kline_1m"


def closed_candle(frame: bytes, streams: dict[str, Stream] | None = None) -> Candle:
    decoded = decode(frame, streams=streams)
    assert decoded.rejected == []
    ((_, candle),) = decoded.closed
    return candle


def assert_rejected(frame: bytes, streams: dict[str, Stream] | None = None) -> MalformedMessage:
    """Decode alone and between two good messages, which must not suffer."""
    decoded = decode(frame, streams=streams)
    assert decoded == Decoded(rejected=decoded.rejected, messages=1)
    (problem,) = decoded.rejected
    assert len(problem.excerpt) <= 201
    assert len(str(problem)) <= 500
    neighbours = decode(
        kline(), frame, kline("ETHUSDT"), streams=(streams or {}) | watching(stream(), stream("ETHUSDT"))
    )
    assert set(neighbours.open) == {NAME, "ethusdt@kline_1m"}
    assert len(neighbours.rejected) == 1
    return problem


class TestClosed:
    @pytest.mark.parametrize("venue", VENUES)
    def test_every_value(self, venue: str) -> None:
        watched = stream(venue=venue)
        decoded = codec(venue).session().decode([kline(closed=True)], {NAME: watched}, RECEIVED_MS)
        expected = Candle(
            venue=venue,
            symbol="BTCUSDT",
            timeframe=Timeframe("1m"),
            open_time_ms=OPEN_MS,
            close_time_ms=OPEN_MS + MINUTE_MS - 1,
            open=Decimal("0.04110000"),
            high=Decimal("0.04150000"),
            low=Decimal("0.04100000"),
            close=Decimal("0.04140000"),
            volume=Decimal("243.00000000"),
            quote_volume=Decimal("9.98730000"),
            trades=2,
            taker_buy_volume=Decimal("143.00000000"),
            taker_buy_quote_volume=Decimal("5.87730000"),
            closed=True,
            complete=True,
            source=Source.WS,
            revision=0,
            received_ms=RECEIVED_MS,
        )
        assert decoded == Decoded(closed=[(NAME, expected)], messages=1)

    def test_digits_survive(self) -> None:
        long = "123456789012345678901234567890.123456789012345678901234567890"
        candle = closed_candle(kline(closed=True, v=long, q="0.000"))
        assert str(candle.volume) == long
        assert str(candle.quote_volume) == "0.000"

    def test_order_of_arrival_is_kept(self) -> None:
        frames = [kline(open_ms=OPEN_MS + n * MINUTE_MS, closed=True) for n in (0, 2, 1)]
        assert [c.open_time_ms - OPEN_MS for _, c in decode(*frames).closed] == [0, 2 * MINUTE_MS, MINUTE_MS]

    def test_without_trades(self) -> None:
        zero = dict.fromkeys(("v", "q", "V", "Q"), "0.00000000")
        flat = dict.fromkeys("ohlc", "1870.76000000")
        candle = closed_candle(kline(closed=True, f=-1, L=-1, n=0, **flat, **zero))
        assert candle.trades == 0
        assert candle.volume == 0
        assert candle.open == candle.close == Decimal("1870.76")

    @pytest.mark.parametrize("end_ms", [OPEN_MS, OPEN_MS + 41_646, OPEN_MS + MINUTE_MS - 1])
    def test_the_close_time_is_the_interval_s_not_the_venue_s(self, end_ms: int) -> None:
        candle = closed_candle(kline(closed=True, T=end_ms))
        assert candle.close_time_ms == OPEN_MS + MINUTE_MS - 1

    def test_a_second_before_the_boundary_counts_as_clock_skew_and_more_does_not(self) -> None:
        end_ms = OPEN_MS + MINUTE_MS
        assert closed_candle(kline(closed=True, event_ms=end_ms - 999)).closed
        assert "closed before" in str(assert_rejected(kline(closed=True, event_ms=end_ms - 1_001)))


class TestForming:
    def test_is_cheap_until_it_is_wanted(self) -> None:
        wire = decode(kline()).open[NAME]
        assert wire.open_time_ms == OPEN_MS
        assert wire.event_time_ms == OPEN_MS + 2_004
        candle = wire.to_candle(stream(), 77)
        assert not candle.closed
        assert candle.received_ms == 77
        assert candle.close == Decimal("0.0414")
        assert candle.close_time_ms == OPEN_MS + MINUTE_MS - 1

    def test_the_newest_of_a_batch_stays(self) -> None:
        frames = [kline(c=f"0.041{n}0000", event_ms=OPEN_MS + 2_000 * n) for n in (1, 3, 2)]
        assert decode(*frames).open[NAME].event_time_ms == OPEN_MS + 6_000
        later = kline(open_ms=OPEN_MS + MINUTE_MS)
        for order in ([*frames, later], [later, *frames]):
            assert decode(*order).open[NAME].open_time_ms == OPEN_MS + MINUTE_MS

    def test_of_two_of_the_same_time_the_last_stays(self) -> None:
        wire = decode(kline(n=3), kline(n=4)).open[NAME]
        assert wire.to_candle(stream(), 0).trades == 4

    def test_belongs_to_one_stream_only(self) -> None:
        wire = decode(kline()).open[NAME]
        with pytest.raises(MalformedMessage, match="contradict"):
            wire.to_candle(stream("ETHUSDT"), 0)

    @pytest.mark.parametrize(
        "price", ["NaN", "Infinity", "-1", "0", "1e5", " 1", "1_0", "", "1.", ".5", "１", "9" * 65]
    )
    @pytest.mark.parametrize("member", ["o", "h", "l", "c"])
    def test_prices_are_checked_when_it_is_wanted(self, member: str, price: str) -> None:
        wire = decode(kline(**{member: price})).open[NAME]
        with pytest.raises(MalformedMessage) as caught:
            wire.to_candle(stream(), 0)
        assert len(caught.value.excerpt) <= 201


class TestForms:
    """What is valid though it is not the usual message."""

    @pytest.mark.parametrize("closed", [False, True])
    @pytest.mark.parametrize(
        "frame",
        [
            lambda e: dumps(e),
            lambda e: combined(e | {"st": 1, "ps": "BTCUSDT", "new": {"a": [1, None, 2.5]}}),
            lambda e: combined(e | {"k": e["k"] | {"ignore": [[]], "B": 5}}),
            lambda e: combined(e | {"k": {k: v for k, v in e["k"].items() if k not in "BfL"}}),
            lambda e: combined(e | {"k": dict(reversed(e["k"].items()))}),
            lambda e: dumps({"data": e, "stream": NAME}),
            lambda e: json.dumps({"stream": NAME, "data": e}, indent=2).encode(),
            lambda e: json.dumps({"stream": NAME, "data": e}).replace("BTC", "\\u0042TC").encode(),
            lambda e: b" \r\n" + combined(e) + b"\n ",
        ],
        ids=["raw", "extra", "extra-in-k", "no-B-f-L", "reversed", "data-first", "indented", "escaped", "spaces"],
    )
    def test_is_understood(self, frame: Any, closed: bool) -> None:
        decoded = decode(frame(event(closed=closed)))
        assert decoded.rejected == []
        assert list(decoded.open) == ([] if closed else [NAME])
        assert [name for name, _ in decoded.closed] == ([NAME] if closed else [])

    @pytest.mark.parametrize("symbol", ["币安人生USDT", "ÜBERUSDT", "ΟΔΟΣ", "İUSDT", "BTCUSDT_260327", "1000PEPEUSDT"])
    @pytest.mark.parametrize("closed", [False, True])
    def test_symbols_of_any_script(self, symbol: str, closed: bool) -> None:
        watched = stream(symbol)
        ((name, _),) = streams = tuple(watching(watched).items())
        for frame in (kline(symbol, closed=closed), json.dumps(json.loads(kline(symbol, closed=closed))).encode()):
            decoded = decode(frame, streams=dict(streams))
            assert decoded.rejected == []
            assert [*decoded.open, *(n for n, _ in decoded.closed)] == [name]

    @pytest.mark.parametrize("name", ["BTCUSDT@kline_1m", "BtcUsdt@kline_1m"])
    @pytest.mark.parametrize("closed", [False, True])
    def test_the_name_is_looked_up_without_regard_to_case(self, name: str, closed: bool) -> None:
        decoded = decode(combined(event(closed=closed), name))
        assert [*decoded.open, *(n for n, _ in decoded.closed)] == [NAME]

    def test_minutes_and_months_differ_by_case_alone(self) -> None:
        month_ms = 1_680_307_200_000
        month = event(timeframe="1M", open_ms=month_ms, event_ms=OPEN_MS)
        both = watching(stream(), stream(timeframe="1M"))
        decoded = decode(kline(), combined(month), streams=both)
        assert {n: w.open_time_ms for n, w in decoded.open.items()} == {NAME: OPEN_MS, "btcusdt@kline_1M": month_ms}
        assert_rejected(combined(month, NAME), both)
        assert_rejected(combined(event(), "btcusdt@kline_1M"), both)

    def test_names_not_subscribed_are_ignored(self) -> None:
        for closed in (False, True):
            assert decode(kline("ETHUSDT", closed=closed)) == Decoded(ignored=1, messages=1)
            assert decode(kline(timeframe="5m", open_ms=OPEN_MS - OPEN_MS % 300_000, closed=closed)).ignored == 1

    @pytest.mark.parametrize(
        "message",
        [
            {"stream": "btcusdt@trade", "data": {"e": "trade", "E": 1, "s": "BTCUSDT"}},
            {"stream": "btcusdt@bookTicker", "data": {"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}},
            {"stream": "!miniTicker@arr", "data": [{"e": "24hrMiniTicker"}]},
            {"e": "24hrTicker", "E": 1, "s": "BTCUSDT"},
            {"e": "continuous_kline", "E": 1, "ps": "BTCUSDT", "ct": "PERPETUAL", "k": {}},
        ],
    )
    def test_other_events_are_ignored(self, message: Any) -> None:
        assert decode(dumps(message)) == Decoded(ignored=1, messages=1)

    @pytest.mark.parametrize(
        "message",
        [
            {"e": "serverShutdown", "E": 1770123456789},
            {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1770123456789}},
        ],
    )
    def test_the_notice_of_a_shutdown(self, message: Any) -> None:
        assert decode(dumps(message)) == Decoded(closing_soon=True, messages=1)


class TestReplies:
    @pytest.mark.parametrize(
        ("text", "reply"),
        [
            ('{"result":null,"id":1}', Acked(1)),
            ('{"id":-9223372036854775808,"result":null}', Acked(-(2**63))),
            ('{"result":[],"id":3}', Listed(3, ())),
            (
                '{"result":["btcusdt@kline_1m","币安人生usdt@kline_1m"],"id":3}',
                Listed(3, (NAME, "币安人生usdt@kline_1m")),
            ),
            (
                '{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":1}',
                Refused(1, 2, "Invalid request: invalid stream"),
            ),
            (
                '{"error":{"code":3,"msg":"Invalid JSON: expected value"}}',
                Refused(None, 3, "Invalid JSON: expected value"),
            ),
            ('{"result":null,"error":{"code":2,"msg":"no"},"id":7}', Refused(7, 2, "no")),
            ('{"code":0,"msg":"Unknown property","id":9}', Refused(9, 0, "Unknown property")),
            ('{"code":1,"msg":"Invalid value type","id":null}', Refused(None, 1, "Invalid value type")),
            ('{"error":null,"result":null,"id":4}', Acked(4)),
        ],
    )
    def test_is_understood(self, text: str, reply: Any) -> None:
        assert decode(text.encode()) == Decoded(replies=[reply], messages=1)

    @pytest.mark.parametrize(
        "text",
        [
            '{"result":null,"id":"1"}',
            '{"error":{"code":2,"msg":"x"},"id":"b1946ac9"}',
            '{"result":null,"id":null}',
            '{"result":true,"id":2}',
        ],
    )
    def test_is_not_ours(self, text: str) -> None:
        assert decode(text.encode()) == Decoded(ignored=1, messages=1)

    @pytest.mark.parametrize(
        "text",
        [
            '{"result":null,"id":1.0}',
            '{"result":null,"id":true}',
            '{"result":null,"id":[1]}',
            '{"result":{},"id":1}',
            '{"result":[1],"id":1}',
            '{"result":"ok","id":1}',
            '{"error":"no","id":1}',
            '{"error":{"code":"2","msg":"x"},"id":1}',
            '{"error":{"code":true,"msg":"x"},"id":1}',
            '{"error":{"code":2},"id":1}',
            '{"code":2,"id":1}',
            '{"result":null,"id":1,"id":2}',
            '{"result":null,"id":1}{"result":null,"id":2}',
        ],
    )
    def test_is_nonsense(self, text: str) -> None:
        assert_rejected(text.encode())

    def test_a_long_reason_is_cut(self) -> None:
        (reply,) = decode(dumps({"error": {"code": 2, "msg": "x" * 9_000}, "id": 1})).replies
        assert isinstance(reply, Refused)
        assert reply.message == "x" * 200 + "…"


BAD_IN_KLINE: dict[str, list[Any]] = {
    "t": [
        *(None, "1681153980000", 1681153980000.0, True, [], -60_000, 0, OPEN_MS + 1, OPEN_MS + 30_000),
        *(OPEN_MS + MINUTE_MS, OPEN_MS - MINUTE_MS, OPEN_MS // 1000, OPEN_MS * 1000, 10**30),
    ],
    "T": [None, "1", 1.5, OPEN_MS - 1, OPEN_MS + MINUTE_MS, -1, 10**30],
    "s": [None, 1, "", "ETHUSDT", "btcusdt", ["BTCUSDT"]],
    "i": [None, 1, "", "1M", "5m", "1x", {}],
    "x": [None, 0, 1, "true", "false", "", []],
    "n": [None, "2", 2.0, True],
    **{member: [None, 1, 1.5, True, ["1"], {"a": "1"}] for member in "ohlcvqVQ"},
}
BAD_IN_EVENT: dict[str, list[Any]] = {
    "E": [None, "1", 1.5, True, -1, 0, OPEN_MS - 1_001, OPEN_MS * 1000, 10**40],
    "s": [None, 5, "ETHUSDT", ""],
    "e": [None, 1, "klines", "", "trade", ["kline"]],
    "k": [None, [], "k", {}],
}


def pairs(bad: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    """Return every member with each of its bad values and, as ``...``, without any."""
    return [(member, value) for member, values in bad.items() for value in (*values, ...)]


def replaced(members: dict[str, Any], member: str, value: Any) -> dict[str, Any]:
    return {k: v for k, v in (members | {member: value}).items() if v is not ...}


class TestNonsense:
    @pytest.mark.parametrize(("member", "value"), pairs(BAD_IN_KLINE))
    @pytest.mark.parametrize("closed", [False, True])
    def test_a_member_of_the_kline(self, member: str, value: Any, closed: bool) -> None:
        payload = event(closed=closed)
        payload["k"] = replaced(payload["k"], member, value)
        assert_rejected(combined(payload, NAME))

    @pytest.mark.parametrize(("member", "value"), pairs(BAD_IN_EVENT))
    @pytest.mark.parametrize("closed", [False, True])
    def test_a_member_of_the_event(self, member: str, value: Any, closed: bool) -> None:
        assert_rejected(combined(replaced(event(closed=closed), member, value), NAME))

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-1", "0", "1e5", "", "0x1", "1_0", "١", "9" * 65, "-0.1"])
    @pytest.mark.parametrize("member", "ohlc")
    def test_a_price_of_a_closed_candle(self, member: str, number: str) -> None:
        assert_rejected(kline(closed=True, **{member: number}))

    @pytest.mark.parametrize("number", ["NaN", "-0", "-1", "1e5", "", "+1", "9" * 65])
    @pytest.mark.parametrize("member", "vqVQ")
    def test_a_volume_of_a_closed_candle(self, member: str, number: str) -> None:
        assert_rejected(kline(closed=True, **{member: number}))

    @pytest.mark.parametrize(
        "changes", [{"h": "0.04139999"}, {"l": "0.04110001"}, {"h": "0.01", "l": "0.05"}, {"n": -1}, {"n": 2**53}]
    )
    def test_impossible_values_of_a_closed_candle(self, changes: dict[str, Any]) -> None:
        assert_rejected(kline(closed=True, **changes))

    @pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity", b"01", b"0x10", b"1e999", b"'1'", b"tru"])
    @pytest.mark.parametrize("closed", [False, True])
    def test_a_literal_where_a_price_belongs(self, literal: bytes, closed: bool) -> None:
        assert_rejected(kline(closed=closed).replace(b'"0.04110000"', literal))

    @pytest.mark.parametrize("closed", [False, True])
    def test_the_wrapper_contradicts_the_event(self, closed: bool) -> None:
        both = watching(stream(), stream("ETHUSDT"))
        assert_rejected(combined(event("ETHUSDT", closed=closed), NAME), both)
        assert_rejected(combined(event(closed=closed), "ethusdt@kline_1m"), both)
        assert_rejected(combined(event(closed=closed), "btcusdt@kline_1d@+08:00"), both)
        assert_rejected(combined(event(closed=closed) | {"s": "ETHUSDT"}, NAME), both)

    @pytest.mark.parametrize(
        "duplicate",
        [
            b'"x":false,"x":true',
            b'"x":true,"x":true',
            b'"x":true,"c":"0.0412"',
            b'"x":true,"c" :"0.0412"',
            b'"x":true,"\\u0063":"0.0412"',
        ],
    )
    def test_a_closed_candle_with_a_duplicate_key(self, duplicate: bytes) -> None:
        assert "twice" in str(assert_rejected(kline(closed=True).replace(b'"x":true', duplicate)))

    def test_of_a_duplicate_key_in_a_forming_candle_the_last_counts(self) -> None:
        decoded = decode(kline().replace(b'"n":2', b'"n":2,"n":3'))
        assert decoded.open[NAME].to_candle(stream(), 0).trades == 3

    @pytest.mark.parametrize("closed", [False, True])
    def test_every_truncation(self, closed: bool) -> None:
        whole = kline(closed=closed)
        for length in range(len(whole)):
            assert_rejected(whole[:length])

    @pytest.mark.parametrize(
        "frame",
        [
            b"",
            b" ",
            b"null",
            b"true",
            b"5",
            b'"kline"',
            b"[]",
            b"[" + kline() + b"]",
            b"{}",
            b"{" * 1000,
            b"[" * MAX_FRAME_BYTES,
            b'{"a":' * (MAX_FRAME_BYTES // 5),
            b'{"stream":"x","data":' * (MAX_FRAME_BYTES // 21),
            b'{"stream":5,"data":{}}',
            b'{"stream":"btcusdt@kline_1m"}',
            b'{"stream":"btcusdt@kline_1m","data":null}',
            b'{"stream":"btcusdt@kline_1m","data":[]}',
            b'{"stream":"btcusdt@trade","data":7}',
            b'{"e":5}',
            kline() + kline(),
            kline() + b"\n" + kline(),
            kline() + b"x",
            b"\xef\xbb\xbf" + kline(),
            kline().decode().encode("utf-16"),
            kline().replace(b"BTCUSDT", b"BTC\xffUSDT"),
            kline().replace(b'"B":"0"', b'"B":"\xff"'),
            kline(closed=True).replace(b'"B":"0"', b'"B":"\xc0\x80"'),
            kline().replace(b"BTCUSDT", b"BTC\x00USDT"),
            kline(closed=True).replace(b'"B":"0"', b'"B":"\\ud800"'),
            b'{"result":["\\uDC00"],"id":1}',
            b"9" * 50_000,
            b'{"result":null,"id":' + b"9" * 50_000 + b"}",
            kline().replace(b'"n":2', b'"n":' + b"9" * 50_000),
        ],
        ids=lambda frame: repr(frame[:24]),
    )
    def test_is_rejected(self, frame: bytes) -> None:
        assert_rejected(frame)

    @pytest.mark.parametrize("closed", [False, True])
    def test_garbage_nested_deep_in_an_unknown_member(self, closed: bool) -> None:
        deep = b"[" * 20_000 + b"]" * 20_000
        assert_rejected(kline(closed=closed).replace(b'"B":"0"', b'"B":' + deep))

    def test_huge_frames_are_refused_unread(self) -> None:
        frames = [
            kline().replace(b'"B":"0"', b'"B":"' + b"0" * (10 << 20) + b'"'),
            b"[" * (10 << 20),
            kline() + b" " * MAX_FRAME_BYTES,
        ]
        tracemalloc.start()
        try:
            rejected = decode(*frames).rejected
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert [len(r.excerpt) for r in rejected] == [201, 201, 201]
        assert peak < 1 << 20

    def test_a_frame_of_the_greatest_length_is_read(self) -> None:
        frame = kline()
        assert decode(frame + b" " * (MAX_FRAME_BYTES - len(frame))).open


class TestGrid:
    """An open time must be one of its timeframe."""

    @pytest.mark.parametrize("timeframe", codec("binance-spot").rules.timeframes, ids=str)
    def test_exact_up_to_a_day_and_any_day_beyond(self, timeframe: Timeframe) -> None:
        watched = watching(stream(timeframe=timeframe.text))
        opened = timeframe.floor(OPEN_MS)
        phases = {"3d": range(3), "1w": range(7), "1M": range(28)}.get(timeframe.text, range(1))
        for days in phases:
            for closed in (False, True):
                good = event(timeframe=timeframe.text, open_ms=opened + days * DAY_MS, closed=closed)
                assert decode(combined(good), streams=watched).rejected == []
        for off_ms in (1, 500, timeframe.nominal_ms // 2, min(timeframe.nominal_ms, DAY_MS) - 1):
            for closed in (False, True):
                bad = event(timeframe=timeframe.text, open_ms=opened, closed=closed)
                bad["k"] |= {"t": opened + off_ms, "T": opened + off_ms}
                if (opened + off_ms) % min(timeframe.nominal_ms, DAY_MS):
                    assert_rejected(combined(bad), watched)

    def test_the_close_time_of_a_3_day_candle_keeps_its_phase(self) -> None:
        opened = OPEN_MS - OPEN_MS % DAY_MS
        for phase in range(3):
            frame = kline(timeframe="3d", open_ms=opened + phase * DAY_MS, closed=True)
            candle = closed_candle(frame, watching(stream(timeframe="3d")))
            assert candle.close_time_ms == opened + (phase + 3) * DAY_MS - 1


def test_decoding_keeps_nothing_of_the_batch_before() -> None:
    dialect = codec("binance-spot")
    assert decode(kline(), kline(closed=True), dialect=dialect).open
    assert decode(dialect=dialect) == Decoded()

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from bitfinex_payloads import (
    CHANNEL,
    CODEC,
    MINUTE_MS,
    NAME,
    OPEN_MS,
    RECEIVED_MS,
    SENT_MS,
    WATCHED,
    decode,
    dumps,
    frame,
    heartbeat,
    row,
    session,
    silence,
    snapshot,
    stream,
    subscribed,
)

from candleactors.errors import InvalidSymbol, InvalidTimeframe, MalformedMessage
from candleactors.model import DAY_MS, Candle, Source, Timeframe
from candleactors.venues.base import Acked, Closes, Decoded, Refused
from candleactors.venues.bitfinex_rules import RULES
from candleactors.venues.bitfinex_session import MAX_FRAME_BYTES

OTHER = "trade:1m:tETHUSD"
BOTH = {NAME: stream(), OTHER: stream("tETHUSD")}


def event(raw: bytes | None) -> Any:
    assert raw is not None
    return json.loads(raw)


def opened(decoded: Decoded, name: str = NAME) -> Candle:
    return decoded.open[name].to_candle(BOTH[name], RECEIVED_MS)


class TestNames:
    @pytest.mark.parametrize(
        ("timeframe", "wire"),
        [("1m", "1m"), ("30m", "30m"), ("3h", "3h"), ("1d", "1D"), ("1w", "1W"), ("14d", "14D"), ("1M", "1M")],
    )
    def test_timeframes(self, timeframe: str, wire: str) -> None:
        assert CODEC.stream_name(stream(timeframe=timeframe)) == f"trade:{wire}:tBTCUSD"

    @pytest.mark.parametrize("symbol", ["tBTCUSD", "tDUSK:USD", "tBTCF0:USTF0", "tTESTBTC:TESTUSD", "t1INCH:USD"])
    def test_symbols(self, symbol: str) -> None:
        assert CODEC.stream_name(stream(symbol)) == f"trade:1m:{symbol}"

    @pytest.mark.parametrize(
        ("symbol", "nearest"),
        [
            ("BTCUSD", "tBTCUSD"),
            ("tbtcusd", "tBTCUSD"),
            ("BTC/USDT", "tBTCUST"),
            ("BTC/USDT:USDT", "tBTCF0:USTF0"),
            ("BTCUSDT", "tBTCUST"),
            ("BTC-USDT", "tBTCUST"),
            ("DUSK/USD", "tDUSK:USD"),
            ("dusk:usd", "tDUSK:USD"),
            ("DUSKUSD", "tDUSK:USD"),
            ("fUSD", None),
            ("tBTCUSD:x/hist?", None),
            ("", None),
            ("tBTCUSD\n", None),
        ],
    )
    def test_no_symbols(self, symbol: str, nearest: str | None) -> None:
        with pytest.raises(InvalidSymbol) as caught:
            CODEC.stream_name(stream(symbol))
        assert caught.value.nearest == nearest

    @pytest.mark.parametrize(("text", "nearest"), [("2h", None), ("60m", "1h"), ("7d", "1w"), ("24h", "1d")])
    def test_no_timeframes(self, text: str, nearest: str | None) -> None:
        with pytest.raises(InvalidTimeframe) as caught:
            CODEC.stream_name(stream(timeframe=text))
        assert caught.value.nearest == nearest

    def test_rules(self) -> None:
        rules = CODEC.rules
        assert CODEC.websocket_url(rules.endpoints.websocket) == "wss://api-pub.bitfinex.com/ws/2"
        assert (rules.closes, rules.skips_empty, rules.windowed_klines) == (Closes.INFERRED, True, False)
        assert rules.drifting == {Timeframe("14d")}
        assert rules.testnet is None


class TestRequests:
    def test_opening_asks_for_the_clock(self) -> None:
        assert [event(raw) for raw in CODEC.session().opening()] == [{"event": "conf", "flags": 32768}]
        assert event(CODEC.session().ping()) == {"event": "ping"}
        assert CODEC.session().list_subscriptions(1) is None

    def test_subscribe(self) -> None:
        assert event(CODEC.session().subscribe(7, [NAME])) == {
            "event": "subscribe",
            "channel": "candles",
            "key": NAME,
            "subId": "7",
        }

    def test_unsubscribe(self) -> None:
        on = session()
        assert event(on.unsubscribe(8, [NAME])) == {"event": "unsubscribe", "chanId": CHANNEL}
        assert on.unsubscribe(9, [OTHER]) is None
        left = decode(dumps({"event": "unsubscribed", "status": "OK", "chanId": CHANNEL}), on=on)
        assert left.replies == [Acked(8, (NAME,))]
        assert on.unsubscribe(10, [NAME]) is None
        assert decode(frame(row()), on=on).ignored == 1

    def test_frames_count_until_the_answer(self) -> None:
        on = session()
        on.unsubscribe(8, [NAME])
        assert decode(frame(row()), on=on).open


class TestReplies:
    def test_an_answer_that_repeats_the_id(self) -> None:
        on = CODEC.session()
        on.subscribe(5, [NAME])
        assert decode(subscribed(subId="5"), on=on).replies == [Acked(5, (NAME,))]

    def test_an_answer_as_documented(self) -> None:
        on = CODEC.session()
        on.subscribe(5, [NAME])
        raw = b'{"event":"subscribed","channel":"candles","chanId":343351,"key":"trade:1m:tBTCUSD"}'
        assert decode(raw, on=on).replies == [Acked(None, (NAME,))]
        assert decode(frame(row()), on=on).open

    @pytest.mark.parametrize("more", [{}, {"subId": "5"}])
    def test_the_old_name_of_a_week(self, more: dict[str, Any]) -> None:
        weekly = CODEC.stream_name(stream(timeframe="1w"))
        on = CODEC.session()
        on.subscribe(5, [weekly])
        (reply,) = decode(subscribed("trade:7D:tBTCUSD", **more), on=on).replies
        assert isinstance(reply, Acked)
        assert reply.names == (weekly,)
        monday = OPEN_MS - OPEN_MS % DAY_MS
        assert list(decode(frame(row(monday)), on=on, streams={weekly: stream(timeframe="1w")}).open) == [weekly]

    def test_a_new_channel_of_the_same_name_begins_anew(self) -> None:
        on = session()
        decode(frame(row()), on=on)
        decode(subscribed(channel=9), on=on)
        assert decode(frame(row()), on=on).ignored == 1
        later = OPEN_MS + 5 * MINUTE_MS
        decoded = decode(frame(row(later), later + 10_000, 9), on=on)
        assert (decoded.closed, list(decoded.open)) == ([], [NAME])

    def test_another_name_under_the_same_number(self) -> None:
        on = session()
        decode(subscribed(OTHER), on=on)
        assert list(decode(frame(row()), on=on, streams=BOTH).open) == [OTHER]
        assert on.unsubscribe(3, [NAME]) is None

    def test_other_channels_are_no_business_of_ours(self) -> None:
        ticker = b'{"event":"subscribed","channel":"ticker","chanId":224555,"symbol":"tBTCUSD","pair":"BTCUSD"}'
        values = (
            b"[224555,[7616.5,31.89055171,7617.5,43.358118629999986,-550.8,-0.0674,7617.1,8314.71200815,8257.8,7500]]"
        )
        decoded = decode(ticker, values)
        assert (decoded.ignored, decoded.rejected) == (2, [])

    @pytest.mark.parametrize("echo", [{"key": NAME}, {"subId": "5"}, {}, {"key": "trade:1m:nonsense\x00"}])
    @pytest.mark.parametrize(
        ("code", "message", "passing"),
        [
            (10300, "symbol: invalid", False),
            (10302, "channel: unknown", False),
            (10305, "subscribe: limit", True),
            (10000, "event: invalid", True),
            (20060, "maintenance", True),
        ],
    )
    def test_refusals(self, echo: dict[str, Any], code: int, message: str, passing: bool) -> None:
        on = CODEC.session()
        on.subscribe(5, [NAME])
        (reply,) = decode(dumps({"event": "error", "msg": message, "code": code} | echo), on=on).replies
        names = (NAME,) if echo.get("key", NAME) == NAME else None
        request_id = 5 if "subId" in echo else None
        assert reply == Refused(request_id, code, message, names, passing=passing)

    def test_an_error_that_may_mean_either_names_nobody(self) -> None:
        on = CODEC.session()
        on.subscribe(5, [NAME])
        on.subscribe(6, [OTHER])
        error = dumps({"event": "error", "msg": "symbol: invalid", "code": 10300})
        assert decode(error, on=on).replies == [Refused(None, 10300, "symbol: invalid")]

    @pytest.mark.parametrize("code", [10400, 10401])
    @pytest.mark.parametrize("echo", [{"chanId": CHANNEL}, {}])
    def test_unsubscribing_what_is_unknown(self, code: int, echo: dict[str, Any]) -> None:
        on = session()
        on.unsubscribe(8, [NAME])
        error = dumps({"event": "error", "msg": "unsubscribe: invalid", "code": code} | echo)
        assert decode(error, on=on).replies == [Refused(8, code, "unsubscribe: invalid", (NAME,))]
        assert on.unsubscribe(9, [NAME]) is None

    def test_a_duplicate_is_as_good_as_accepted(self) -> None:
        on = CODEC.session()
        on.subscribe(5, [NAME])
        error = {"channel": "candles", "key": NAME, "event": "error", "msg": "subscribe: dup", "code": 10301}
        assert decode(dumps(error), on=on).replies == [Acked(None, (NAME,))]
        assert decode(frame(row()), on=on).ignored == 1  # of a number nobody named
        decoded = decode(dumps(error | {"chanId": CHANNEL, "subId": "5"}), frame(row()), on=on)
        assert decoded.replies == [Acked(5, (NAME,))]
        assert list(decoded.open) == [NAME]

    def test_a_duplicate_that_nobody_names_parks_nobody(self) -> None:
        on = CODEC.session()
        for number in (1, 2):
            on.subscribe(number, [f"trade:1m:tX{number}X:UST"])
        error = dumps({"event": "error", "msg": "subscribe: dup", "code": 10301})
        assert decode(error, on=on).replies == [Refused(None, 10301, "subscribe: dup", passing=True)]

    def test_a_duplicate_s_error_before_the_first_answer(self) -> None:
        on = CODEC.session()
        on.subscribe(5, [NAME])
        on.subscribe(6, [NAME])
        error = {"channel": "candles", "key": NAME, "event": "error", "msg": "subscribe: dup", "code": 10301}
        decoded = decode(dumps(error | {"subId": "6"}), subscribed(subId="5"), frame(row()), on=on)
        assert decoded.replies == [Acked(6, (NAME,)), Acked(5, (NAME,))]
        assert list(decoded.open) == [NAME]


class TestNotices:
    @pytest.mark.parametrize(
        ("message", "closing_soon"),
        [
            ({"version": 2, "serverId": "fb5877a3", "platform": {"status": 1}}, False),
            ({"version": 2, "serverId": "fb5877a3", "platform": {"status": 0}}, False),
            ({"code": 20051, "msg": "Stop/Restart Websocket Server (please reconnect)"}, True),
            ({"code": 20060, "msg": "Entering in Maintenance mode"}, False),
            ({"code": 20061, "msg": "Maintenance ended"}, True),
        ],
    )
    def test_info(self, message: dict[str, Any], closing_soon: bool) -> None:
        decoded = decode(dumps({"event": "info"} | message))
        assert (decoded.closing_soon, decoded.ignored, decoded.rejected) == (closing_soon, not closing_soon, [])

    def test_another_version_is_refused(self) -> None:
        assert len(decode(b'{"event":"info","version":3,"platform":{"status":1}}').rejected) == 1

    @pytest.mark.parametrize(
        "raw",
        [
            b'{"event":"pong","ts":1511545528111,"cid":1234}',
            b'{"event":"conf","status":"OK","flags":32768}',
            b'{"event":"conf","status":"FAILED"}',
            b'{"event":"auth","status":"FAILED","chanId":0,"code":10100,"msg":"apikey: invalid"}',
        ],
    )
    def test_what_nobody_asked_for(self, raw: bytes) -> None:
        decoded = decode(raw)
        assert (decoded.ignored, decoded.rejected, decoded.replies) == (1, [], [])


class TestRows:
    def test_a_row_is_the_forming_candle(self) -> None:
        candle = opened(decode(frame(row())))
        assert candle == Candle(
            "bitfinex",
            "tBTCUSD",
            Timeframe("1m"),
            OPEN_MS,
            OPEN_MS + MINUTE_MS - 1,
            Decimal("7399.9"),
            Decimal("7399.9"),
            Decimal("7371.8"),
            Decimal("7379.7"),
            Decimal("41.63633658"),
            None,
            None,
            None,
            None,
            False,
            True,
            Source.WS,
            0,
            RECEIVED_MS,
        )
        assert decode(frame(row())).open[NAME].event_time_ms == SENT_MS
        assert decode(frame(row(), None)).open[NAME].event_time_ms == OPEN_MS

    @pytest.mark.parametrize(
        ("text", "exact"),
        [
            ("1e-7", "0.0000001"),
            ("1.25E+2", "125"),
            ("0.053312790000000006", "0.053312790000000006"),
            ("0.0008369499999999999", "0.0008369499999999999"),
            ("123456789012345678901234567890.5", "123456789012345678901234567890.5"),
        ],
    )
    def test_no_digit_is_lost(self, text: str, exact: str) -> None:
        candle = opened(decode(frame(row(values=f"1,1,1,1,{text}"))))
        assert format(candle.volume, "f") == exact

    @pytest.mark.parametrize("content", [row(values=VALUES) for VALUES in ("7,8,9,6,1,null", "7,8,9,6,1,[],{}")])
    @pytest.mark.parametrize("more", ["", ",5", ",null,5"])
    def test_more_elements_than_documented(self, content: str, more: str) -> None:
        sent_ms = SENT_MS
        decoded = decode(f"[{CHANNEL},{content}{more},{sent_ms}]".encode())
        assert opened(decoded).high == 9
        assert decoded.open[NAME].event_time_ms == sent_ms

    def test_a_counter_is_no_clock(self) -> None:
        on = session()
        decoded = decode(f"[{CHANNEL},{row()},17]".encode(), on=on)
        assert decoded.open[NAME].event_time_ms == OPEN_MS
        assert decode(f'[{CHANNEL},"hb",18]'.encode(), on=on).closed == []

    @pytest.mark.parametrize(
        "content",
        [
            row(OPEN_MS + 1),
            row(OPEN_MS // 1000),
            row(OPEN_MS + 10 * MINUTE_MS),
            "[]]",
            "[1574698200000,1,2,3,4]",
            '["1574698200000",1,1,1,1,1]',
            f"[{row()},{row()}]",
            f"[{row()},5]",
            "5",
            "{}",
            "null",
        ],
    )
    def test_no_rows(self, content: str) -> None:
        decoded = decode(frame(content))
        assert (len(decoded.rejected), decoded.open, decoded.closed, decoded.ignored) == (1, {}, [], 0)

    @pytest.mark.parametrize(
        "values",
        ["0,1,1,1,1", "1,1,1,1,-1", "2,1,1,1,1", '"1",1,1,1,1', "1,1,1,1,null", "1,1,1,1,1e999", "-1,1,1,-1,1"],
    )
    def test_impossible_values_never_become_candles(self, values: str) -> None:
        on = session()
        decoded = decode(frame(row(values=values)), on=on)
        with pytest.raises(MalformedMessage):
            opened(decoded)
        decoded = decode(*silence(SENT_MS, OPEN_MS + 4 * MINUTE_MS), on=on)
        assert (decoded.closed, len(decoded.rejected)) == ([], 1)

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"nonsense",
            b"[",
            b"[]",
            b"[343351]",
            b'["343351","hb"]',
            b"[343351,[1574698200000,1,1,1,1,1],1574698205000",
            b"[343351,[1574698200000,1,1,1,1,01],1574698205000]",
            b"[343351,[1574698200000,1,1,1,1,NaN],1574698205000]",
            b'{"event":"subscribed","channel":"candles","chanId":1,"chanId":2,"key":"trade:1m:tBTCUSD"}',
            b'{"event":"subscribed","channel":"candles","chanId":true,"key":"trade:1m:tBTCUSD"}',
            b'{"event":"subscribed","channel":"candles","chanId":1}',
            b'{"event":"unsubscribed","status":"OK"}',
            b'{"event":"error","msg":"?"}',
            b'{"event":5}',
            b"{}",
            b"5",
            b"\xff",
            b'[343351,"\xff"]',
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"[343351," + b" " * MAX_FRAME_BYTES + b'"hb"]',
        ],
    )
    def test_nonsense(self, raw: bytes) -> None:
        decoded = decode(raw)
        assert (len(decoded.rejected), decoded.ignored, decoded.messages) == (1, 0, 1)

    def test_another_kind_of_update(self) -> None:
        assert decode(frame('"te",[401597395,1574694478808,0.005,7245.3]')).ignored == 1

    def test_frames_of_no_channel(self) -> None:
        decoded = decode(frame(row(), channel=1), heartbeat(OPEN_MS, 1), snapshot(row(), channel=1))
        assert (decoded.ignored, decoded.alive) == (3, {})


class TestCloses:
    def closed(self, decoded: Decoded) -> Sequence[tuple[int, Source, str]]:
        assert decoded.rejected == []
        assert {name for name, _ in decoded.closed} <= {NAME}
        assert all(candle.closed for _, candle in decoded.closed)
        return [
            ((c.open_time_ms - OPEN_MS) // MINUTE_MS, c.source, f"{c.close:f} {c.volume:f}") for _, c in decoded.closed
        ]

    def test_the_documented_snapshot(self) -> None:
        newer = "[1574698260000,7379.785503,7383.8,7388.3,7379.785503,1.68829482]"
        decoded = decode(snapshot(newer, row(), sent_ms=OPEN_MS + MINUTE_MS + 9_000))
        assert self.closed(decoded) == [(0, Source.WS, "7379.7 41.63633658")]
        assert opened(decoded).close == Decimal("7383.8")

    def test_a_heartbeat_closes_and_fills(self) -> None:
        on = session()
        decode(frame(row()), on=on)
        decoded = decode(*silence(SENT_MS, OPEN_MS + 2 * MINUTE_MS + 2_000), on=on)
        assert self.closed(decoded) == [(0, Source.WS, "7379.7 41.63633658"), (1, Source.FILLED, "7379.7 0")]
        flat = decoded.closed[1][1]
        assert flat.open == flat.high == flat.low == flat.close == Decimal("7379.7")
        assert (flat.close_time_ms, flat.received_ms) == (OPEN_MS + 2 * MINUTE_MS - 1, RECEIVED_MS)
        assert (flat.trades, flat.quote_volume) == (None, None)

    def test_a_heartbeat_that_proves_nothing_shows_life(self) -> None:
        on = session()
        decode(frame(row()), on=on)
        for raw in (heartbeat(SENT_MS + 5_000), heartbeat(None), f'[{CHANNEL},"hb",17]'.encode()):
            decoded = decode(raw, on=on)
            assert (list(decoded.alive), decoded.ignored, decoded.rejected) == ([NAME], 0, [])

    def test_a_row_that_waits_shows_life(self) -> None:
        on = session()
        decode(frame(row()), on=on)
        decoded = decode(frame(row(OPEN_MS + MINUTE_MS), OPEN_MS + MINUTE_MS + 100), on=on)
        assert (decoded.open, decoded.closed, list(decoded.alive)) == ({}, [], [NAME])

    def test_all_of_it_in_one_call(self) -> None:
        next_ms = OPEN_MS + MINUTE_MS
        on = session()
        decoded = decode(
            frame(row()),
            frame(row(next_ms, "1,1,1,1,1"), next_ms + 100),
            frame(row(values="7399.9,7379.7,7399.9,7371.8,42"), next_ms + 200),
            frame(row(next_ms, "1,2,2,1,1"), next_ms + 300),
            heartbeat(next_ms + 15_300),
            on=on,
        )
        assert self.closed(decoded) == [(0, Source.WS, "7379.7 42")]
        assert (opened(decoded).open_time_ms, opened(decoded).close) == (next_ms, Decimal(2))
        assert decoded.open[NAME].event_time_ms == next_ms + 300

    def test_a_candle_that_closes_twice_at_once_is_told_as_it_was_last(self) -> None:
        next_ms = OPEN_MS + MINUTE_MS
        frames = [
            frame(row()),
            frame(row(next_ms), next_ms + 5_000),
            frame(row(values="7399.9,7379.7,7399.9,7371.8,42"), next_ms + 5_000),
        ]
        assert self.closed(decode(*frames)) == [(0, Source.WS, "7379.7 42")]
        on = session()
        one_by_one = [said for raw in frames for said in self.closed(decode(raw, on=on))]
        assert one_by_one == [(0, Source.WS, "7379.7 41.63633658"), (0, Source.WS, "7379.7 42")]

    def test_what_is_not_listened_to_begins_anew(self) -> None:
        on = session()
        decode(frame(row()), on=on)
        assert decode(heartbeat(SENT_MS + 5_000), on=on, streams={}).ignored == 1
        assert self.closed(decode(*silence(SENT_MS, OPEN_MS + 5 * MINUTE_MS), on=on)) == []

    def test_channels_have_nothing_to_do_with_each_other(self) -> None:
        on = session(NAME, OTHER)
        streams = BOTH
        decode(frame(row()), frame(row(), channel=CHANNEL + 1), on=on, streams=streams)
        decoded = decode(*silence(SENT_MS, OPEN_MS + 2 * MINUTE_MS, CHANNEL + 1), on=on, streams=streams)
        assert [name for name, _ in decoded.closed] == [OTHER]

    def test_but_for_heartbeats_which_are_on_all_of_them_if_on_one(self) -> None:
        later_ms = OPEN_MS + 2 * MINUTE_MS
        for beats in (False, True):
            on = session(NAME, OTHER)
            decode(frame(row()), frame(row(), channel=CHANNEL + 1), on=on, streams=BOTH)
            if beats:
                decode(heartbeat(SENT_MS + 15_000, CHANNEL + 1), on=on, streams=BOTH)
            decoded = decode(frame(row(later_ms), later_ms + 10_000), on=on, streams=BOTH)
            assert [name for name, _ in decoded.closed] == ([] if beats else [NAME, NAME])
            assert list(decoded.open) == [NAME]

    def test_sessions_have_nothing_to_do_with_each_other(self) -> None:
        session()
        assert decode(frame(row()), on=CODEC.session()).ignored == 1

    def test_an_empty_snapshot(self) -> None:
        decoded = decode(snapshot())
        assert (decoded.rejected, decoded.closed, list(decoded.alive)) == ([], [], [NAME])

    def test_a_large_snapshot(self) -> None:
        rows = [row(OPEN_MS - minute * MINUTE_MS) for minute in range(1_000)]
        decoded = decode(snapshot(*rows))
        assert [minute for minute, _, _ in self.closed(decoded)] == [-5, -4, -3, -2, -1]
        assert opened(decoded).open_time_ms == OPEN_MS


def test_the_factory_is_of_the_venue() -> None:
    assert CODEC.rules is RULES
    assert CODEC.rules.venue == "bitfinex"
    assert set(WATCHED) == {CODEC.stream_name(one) for one in WATCHED.values()}

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from okx_payloads import DIALECT, OPEN_MS, RECEIVED_MS, decode, dumps, push, row, stream, watching

from candleactors.errors import InvalidSymbol, InvalidTimeframe, MalformedMessage
from candleactors.model import Source, Timeframe
from candleactors.venues.base import Acked, Decoded, Refused
from candleactors.venues.okx_reply import is_name
from candleactors.venues.okx_rules import MAX_SYMBOL_CHARACTERS

NAME = "candle1m:BTC-USDT"
CAPTURED = (  # by others, in September 2026, for BTC-USDT
    b'{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[["1789470120000","77082.7","77116.6","77082.6",'
    b'"77116.6","1.57843610","121697.290334104","121697.290334104","0"]]}'
)
NO_SUCH = (
    "{} channel:{},instId:{} doesn't exist. Please use the correct URL, channel and parameters referring to API "
    "document."
)


def error(code: str, msg: str, **more: object) -> bytes:
    return dumps({"event": "error", "code": code, "msg": msg, "connId": "a4d3ae55"} | more)


def only_reply(frame: bytes) -> object:
    decoded = decode(frame)
    assert (decoded.rejected, decoded.ignored, decoded.closing_soon) == ([], 0, False)
    (reply,) = decoded.replies
    return reply


class TestRules:
    def test_names_of_all_timeframes_are_names_and_differ(self) -> None:
        names = watching(*(stream(symbol, t.text) for t in DIALECT.rules.timeframes for symbol in ("A-B", "A-B-SWAP")))
        assert len(names) == 2 * len(DIALECT.rules.timeframes) == 36
        assert all(map(is_name, names))

    @pytest.mark.parametrize(
        ("timeframe", "channel"),
        [
            ("1s", "candle1s"),
            ("1m", "candle1m"),
            ("4h", "candle4H"),
            ("6h", "candle6Hutc"),
            ("1d", "candle1Dutc"),
            ("5d", "candle5Dutc"),
            ("1w", "candle1Wutc"),
            ("1M", "candle1Mutc"),
            ("3M", "candle3Mutc"),
        ],
    )
    def test_from_six_hours_on_candles_open_in_utc(self, timeframe: str, channel: str) -> None:
        watched = stream(timeframe=timeframe)
        assert DIALECT.stream_name(watched) == f"{channel}:BTC-USDT"
        params = dict(DIALECT.klines(watched, None, None, 10).params)
        assert f"candle{params['bar']}" == channel

    @pytest.mark.parametrize(
        ("timeframe", "nearest"), [("8h", None), ("7m", None), ("60m", "1h"), ("24h", "1d"), ("7d", "1w"), ("2M", None)]
    )
    def test_other_timeframes_are_refused(self, timeframe: str, nearest: str | None) -> None:
        with pytest.raises(InvalidTimeframe) as caught:
            DIALECT.stream_name(stream(timeframe=timeframe))
        assert caught.value.nearest == nearest

    @pytest.mark.parametrize(
        ("symbol", "nearest"),
        [
            ("btc-usdt", "BTC-USDT"),
            ("BTC/USDT", "BTC-USDT"),
            ("BTC/USDT:USDT", "BTC-USDT-SWAP"),
            ("btc-usdt-swap", "BTC-USDT-SWAP"),
            ("BTCUSDT", "BTC-USDT"),
            ("BTC_USDT", "BTC-USDT"),
            ("BTC", None),
            ("USDT", None),
            ("", None),
            ("BTC-USD-220624", None),
            ("BTC-USD-220624-50000-C", None),
            ("BTC-SWAP", None),
            ('BTC-US"DT', None),
            ("BTC-USDT:X", "BTC-USDT-SWAP"),
            ("BTC-" + "A" * 25, None),
            ("\ud800-USDT", None),
            ("BTC-US\u200bDT", None),
            ("btc-us\u200bdt", None),
        ],
    )
    def test_other_symbols_are_refused(self, symbol: str, nearest: str | None) -> None:
        with pytest.raises(InvalidSymbol) as caught:
            DIALECT.stream_name(stream(symbol))
        assert caught.value.nearest == nearest

    def test_symbols_in_any_script_and_with_an_underscore(self) -> None:
        for symbol in ("BTC-USD_UM-SWAP", "币安人生-USDT", "1INCH-USDC"):
            assert DIALECT.stream_name(stream(symbol)) == f"candle1m:{symbol}"

    def test_address(self) -> None:
        for endpoints in (DIALECT.rules.endpoints, DIALECT.rules.testnet):
            assert endpoints is not None
            assert DIALECT.websocket_url(endpoints.websocket) == f"{endpoints.websocket}/ws/v5/business"
        assert DIALECT.rules.testnet is not None
        assert dict(DIALECT.rules.testnet.rest_headers) == {"x-simulated-trading": "1"}

    def test_requests_keep_within_their_bytes(self) -> None:
        rules = DIALECT.rules
        symbol = "\U0001f600" * 24 + "-" + "\U0001f600" * 24 + "-SWAP"
        assert len(symbol) == MAX_SYMBOL_CHARACTERS
        name = max(watching(*(stream(symbol, t.text) for t in rules.timeframes)), key=len)
        assert rules.max_request_bytes == 65_536
        assert len(DIALECT.unsubscribe(2**53, [name] * rules.max_names_per_request)) < rules.max_request_bytes

    def test_requests(self) -> None:
        names = [NAME, "candle1Dutc:BTC-USDT-SWAP"]
        args = [
            {"channel": "candle1m", "instId": "BTC-USDT"},
            {"channel": "candle1Dutc", "instId": "BTC-USDT-SWAP"},
        ]
        assert json.loads(DIALECT.subscribe(7, names)) == {"id": "7", "op": "subscribe", "args": args}
        assert json.loads(DIALECT.unsubscribe(8, names)) == {"id": "8", "op": "unsubscribe", "args": args}
        assert (DIALECT.list_subscriptions(1), DIALECT.ping(), DIALECT.opening()) == (None, b"ping", ())


class TestCandles:
    def test_a_captured_candle(self) -> None:
        decoded = decode(CAPTURED)
        assert list(decoded.open) == [NAME]
        wire = decoded.open[NAME]
        assert (wire.open_time_ms, wire.event_time_ms) == (OPEN_MS, OPEN_MS)
        candle = wire.to_candle(stream(), RECEIVED_MS)
        assert (candle.open, candle.high, candle.low, candle.close) == tuple(
            map(Decimal, ("77082.7", "77116.6", "77082.6", "77116.6"))
        )
        assert str(candle.volume) == "1.57843610"
        assert str(candle.quote_volume) == "121697.290334104"
        assert (candle.trades, candle.taker_buy_volume, candle.taker_buy_quote_volume) == (None, None, None)
        assert (candle.closed, candle.source, candle.received_ms) == (False, Source.WS, RECEIVED_MS)
        assert candle.close_time_ms == OPEN_MS + 59_999

    def test_a_closed_candle(self) -> None:
        decoded = decode(push(row(closed=True)))
        ((name, candle),) = decoded.closed
        assert (name, candle.closed, candle.open_time_ms, candle.source) == (NAME, True, OPEN_MS, Source.WS)
        assert (str(candle.volume), str(candle.quote_volume)) == ("1.57843610", "121697.290334105")
        assert decoded.open == {}

    @pytest.mark.parametrize("closed", [False, True])
    @pytest.mark.parametrize("symbol", ["BTC-USDT-SWAP", "BTC-USD-SWAP"])
    def test_the_volume_of_a_swap_is_in_the_base_currency(self, symbol: str, closed: bool) -> None:
        watched = stream(symbol)
        decoded = decode(
            push(row(closed=closed, vol="4070", volCcy="40.7", volCcyQuote="842610.2"), symbol=symbol),
            streams=watching(watched),
        )
        name = f"candle1m:{symbol}"
        candle = decoded.closed[0][1] if closed else decoded.open[name].to_candle(watched, RECEIVED_MS)
        assert (candle.volume, candle.quote_volume) == (Decimal("40.7"), Decimal("842610.2"))

    def test_seven_elements_are_a_forming_candle(self) -> None:
        spot, swap = stream(), stream("BTC-USDT-SWAP")
        watched = watching(spot, swap)
        decoded = decode(push(row()[:7]), push(row()[:7], symbol=swap.symbol), streams=watched)
        first = decoded.open["candle1m:BTC-USDT"].to_candle(spot, 0)
        second = decoded.open["candle1m:BTC-USDT-SWAP"].to_candle(swap, 0)
        assert (str(first.volume), str(first.quote_volume), first.closed) == ("1.57843610", "121697.290334104", False)
        assert (str(second.volume), second.quote_volume, second.closed) == ("121697.290334104", None, False)

    def test_elements_and_members_to_come_are_tolerated(self) -> None:
        decoded = decode(
            push([*row(), "x"]),
            push([*row(closed=True), "x", "y"]),
            dumps({"arg": {"channel": "candle1m", "instId": "BTC-USDT", "new": 1}, "data": [row(closed=True)], "n": 1}),
        )
        assert decoded.rejected == []
        assert (list(decoded.open), len(decoded.closed)) == ([NAME], 2)

    def test_several_rows_in_any_order(self) -> None:
        later = OPEN_MS + 60_000
        for rows in ([row(later), row(closed=True)], [row(closed=True), row(later)]):
            decoded = decode(push(*rows))
            assert [candle.open_time_ms for _, candle in decoded.closed] == [OPEN_MS]
            assert decoded.open[NAME].open_time_ms == later

    def test_one_bad_row_spoils_its_message_alone(self) -> None:
        later = OPEN_MS + 60_000
        decoded = decode(push(row(closed=True, c="0"), row(later)), push(row(later, closed=True)))
        assert [candle.open_time_ms for _, candle in decoded.closed] == [later]
        assert (decoded.open, len(decoded.rejected)) == ({}, 1)

    def test_of_forming_candles_the_newest_counts(self) -> None:
        later = OPEN_MS + 60_000
        decoded = decode(push(row(c="77100")), push(row(later, c="77083")), push(row(c="77101")))
        assert decoded.open[NAME].to_candle(stream(), 0).close == Decimal(77083)
        decoded = decode(push(row(c="77100")), push(row(c="77101")))
        assert decoded.open[NAME].to_candle(stream(), 0).close == Decimal(77101)
        assert decoded.messages == 2

    def test_a_candle_without_trades(self) -> None:
        flat: dict[str, Any] = dict.fromkeys("ohlc", "77116.5")
        decoded = decode(push(row(closed=True, vol="0", volCcy="0", volCcyQuote="0", **flat)))
        assert decoded.closed[0][1].volume == 0

    def test_names_that_nobody_watches(self) -> None:
        decoded = decode(
            push(row(), symbol="ETH-USDT"),
            push(row(closed=True), channel="candle1D"),
            push(row(), channel="candle1M"),
            push(row(), channel="mark-price-candle1m"),
            push(),
            dumps({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [{}]}),
            dumps({"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": "snapshot", "data": [{}]}),
        )
        assert (decoded.ignored, decoded.rejected, decoded.open, decoded.closed) == (7, [], {}, [])

    @pytest.mark.parametrize(
        ("timeframe", "open_ms", "fits"),
        [
            ("1w", 1_789_344_000_000, True),  # Monday, 2026-09-14
            ("1d", 1_629_993_600_000, False),  # 2021-08-26 16:00, of the plain channels
            ("2d", 1_789_344_000_000, True),
            ("2d", 1_789_344_000_000 + 86_400_000, True),
            ("1M", 1_788_220_800_000, True),  # 2026-09-01
            ("1M", 1_788_220_800_000 + 86_400_000, False),
            ("3M", 1_788_220_800_000, True),
            ("3M", 1_788_220_800_000 - 86_400_000, False),
            ("6h", 1_789_452_000_000, True),  # 2026-09-15 06:00
            ("6h", 1_789_459_200_000, False),
        ],
    )
    @pytest.mark.parametrize("closed", [False, True])
    def test_open_times_are_on_the_grid(self, timeframe: str, open_ms: int, fits: bool, closed: bool) -> None:
        watched = watching(stream(timeframe=timeframe))
        (name,) = watched
        decoded = decode(push(row(open_ms, closed=closed), channel=name.partition(":")[0]), streams=watched)
        assert len(decoded.open) + len(decoded.closed) == fits
        assert len(decoded.rejected) == (not fits)

    @pytest.mark.parametrize(
        "changes",
        [
            {"ts": "1789470120"},
            {"ts": "1789470120000000"},
            {"ts": "-1789470120000"},
            {"ts": "17894７0120000"},
            {"ts": "1789470120001"},
            {"ts": ""},
            {"confirm": "2"},
            {"confirm": "true"},
        ],
    )
    def test_impossible_rows_are_rejected(self, changes: dict[str, Any]) -> None:
        frame = push(row(**changes))
        decoded = decode(push(row()), frame)
        assert len(decoded.rejected) == 1
        assert decoded.open[NAME].open_time_ms == OPEN_MS

    @pytest.mark.parametrize(
        "changes", [{"o": "0"}, {"h": "1"}, {"l": "NaN"}, {"c": "1e5"}, {"vol": "-1"}, {"volCcyQuote": "x"}]
    )
    def test_impossible_numbers(self, changes: dict[str, Any]) -> None:
        assert len(decode(push(row(closed=True, **changes))).rejected) == 1
        wire = decode(push(row(**changes))).open[NAME]
        with pytest.raises(MalformedMessage):
            wire.to_candle(stream(), 0)

    def test_a_key_twice_spoils_a_closed_candle(self) -> None:
        frame = push(row(closed=True))
        twice = frame.replace(b'"instId":', b'"instId":"ETH-USDT","instId":')
        assert len(decode(twice).rejected) == 1
        assert len(decode(frame.replace(b":", b" : ")).closed) == 1

    @pytest.mark.parametrize(
        "frame",
        [
            b"",
            b"ping",
            b"pong ",
            b"null",
            b"[]",
            b"{}",
            b'"pong"',
            b'{"event":1}',
            b'{"event":"subscribe"}',
            b'{"event":"subscribe","arg":{"channel":"candle1m"}}',
            b'{"event":"error"}',
            b'{"event":"error","code":"x","msg":""}',
            b'{"event":"error","code":"60012","msg":[]}',
            b'{"arg":{"channel":"candle1m","instId":"BTC-USDT"}}',
            b'{"arg":"candle1m","data":[]}',
            b'{"arg":{"channel":"candle1m"},"data":[]}',
            b'{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[["1789470120000"]]}',
            b'{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[[1789470120000,1,1,1,1,1,1,1,0]]}',
            b'{"op":"subscribe"}',
            b"\xff",
            b"[" * 60_000,
            b" " * 70_000,
        ],
    )
    def test_nonsense_is_rejected(self, frame: bytes) -> None:
        decoded = decode(frame)
        assert [type(problem) for problem in decoded.rejected] == [MalformedMessage]
        assert decoded == Decoded(rejected=decoded.rejected, messages=1)


class TestReplies:
    def test_acknowledgements_come_channel_by_channel(self) -> None:
        arg = {"channel": "candle1m", "instId": "BTC-USDT"}
        frame = dumps({"id": "1512", "event": "subscribe", "arg": arg, "connId": "a4d3ae55"})
        assert only_reply(frame) == Acked(1512, (NAME,))
        assert only_reply(dumps({"event": "unsubscribe", "arg": arg})) == Acked(None, (NAME,))

    def test_acknowledgements_of_other_channels_are_nobodys(self) -> None:
        decoded = decode(
            dumps({"id": "1", "event": "subscribe", "arg": {"channel": "candle1D", "instId": "BTC-USDT"}}),
            dumps({"event": "subscribe", "arg": {"channel": "tickers", "instId": "BTC-USD-220527"}}),
            dumps({"event": "subscribe", "arg": {"channel": "liquidation-orders", "instType": "SWAP"}}),
        )
        assert (decoded.replies, decoded.ignored, decoded.rejected) == ([], 3, [])

    @pytest.mark.parametrize("strange", ["a1", "007", "", "1" * 40, "１", 1.5, None, [1], {}, True, -1])
    def test_a_strange_id_is_none_of_ours(self, strange: object) -> None:
        arg = {"channel": "candle1m", "instId": "BTC-USDT"}
        assert only_reply(dumps({"id": strange, "event": "subscribe", "arg": arg})) == Acked(None, (NAME,))
        reply = only_reply(error("60012", "Invalid request", id=strange))
        assert isinstance(reply, Refused)
        assert reply.request_id is None

    @pytest.mark.parametrize("wording", ["Wrong URL or", "Subscribe failed, wrong URL or"])
    @pytest.mark.parametrize("request_id", [None, 7])
    def test_the_culprit_is_in_the_text(self, wording: str, request_id: int | None) -> None:
        text = NO_SUCH.format(wording, "candle1s", "BTC-USDT-SWAP")
        more = {} if request_id is None else {"id": str(request_id)}
        reply = only_reply(error("60018", text, **more))
        assert isinstance(reply, Refused)
        assert (reply.request_id, reply.code, reply.names) == (request_id, 60018, ("candle1s:BTC-USDT-SWAP",))
        assert (reply.voids, reply.passing) == (False, False)
        assert "doesn't exist" in reply.message

    @pytest.mark.parametrize(
        "text",
        [
            "channel:candle1s,instId:NOPE-USDT doesn't exist",
            "channel: candle1s, instId: NOPE-USDT, please check",
            "channel:candle1s,instType:SPOT,instId:NOPE-USDT. ",
        ],
    )
    def test_other_wordings(self, text: str) -> None:
        reply = only_reply(error("60018", text))
        assert isinstance(reply, Refused)
        assert reply.names == ("candle1s:NOPE-USDT",)

    def test_a_culprit_that_cannot_be_ours_is_none(self) -> None:
        for text in (
            "Subscribe failed, wrong URL or channel:orders doesn't exist.",
            NO_SUCH.format("Wrong URL or", "candle1D", "BTC-USDT"),
        ):
            reply = only_reply(error("60018", text, id="3"))
            assert reply == Refused(3, 60018, text, names=None, voids=True)

    def test_a_request_that_is_none_is_refused_as_a_whole(self) -> None:
        text = 'Invalid request: {"op": "subscribe", "argss":[{ "channel" : "candle1D", "instId" : "BTC-USD-191227"}]}'
        assert only_reply(error("60012", text, id="1512")) == Refused(1512, 60012, text, names=None, voids=True)

    @pytest.mark.parametrize(
        ("code", "passing"),
        [("60014", True), ("63999", True), ("64007", True), ("50011", True), ("60013", False), ("64003", False)],
    )
    def test_what_passes(self, code: str, passing: bool) -> None:
        reply = only_reply(error(code, "Requests too frequent", id="9"))
        assert reply == Refused(9, int(code), "Requests too frequent", names=None, voids=True, passing=passing)

    def test_notices(self) -> None:
        text = "The connection will soon be closed for a service upgrade. Please reconnect."
        decoded = decode(dumps({"event": "notice", "code": "64008", "msg": text, "connId": "a4d3ae55"}))
        assert (decoded.closing_soon, decoded.ignored, decoded.replies) == (True, 0, [])
        decoded = decode(dumps({"event": "notice", "code": "1", "msg": ""}))
        assert (decoded.closing_soon, decoded.ignored) == (False, 1)

    @pytest.mark.parametrize(
        "frame",
        [
            b"pong",
            b'{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"abcd1234"}',
            b'{"event":"channel-conn-count-error","channel":"orders","connCount":"20","connId":"a4d3ae55"}',
            b'{"event":"login","code":"0","msg":"","connId":"a4d3ae55"}',
        ],
    )
    def test_other_events(self, frame: bytes) -> None:
        assert decode(frame) == Decoded(ignored=1, messages=1)


def test_every_timeframe_is_one_of_the_venue() -> None:
    assert Timeframe("8h") not in DIALECT.rules.timeframes
    assert {t.text for t in DIALECT.rules.drifting} == {"2d", "3d", "5d"}

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from bybit_payloads import (
    DOCUMENTED_PUSH,
    LINEAR,
    LINEAR_ACK,
    MARKETS,
    NAME,
    OPEN_MS,
    PONGS,
    RECEIVED_MS,
    SPOT,
    SPOT_ACK,
    WIRE,
    decode,
    dumps,
    entry,
    message,
    push,
    reply,
    stream,
    watching,
)

from candleactors.errors import InvalidSymbol, InvalidTimeframe, MalformedMessage
from candleactors.model import DAY_MS, MINUTE_MS, Candle, Source, Stream, Timeframe
from candleactors.venues.base import Acked, Decoded, Keepalive, Refused
from candleactors.venues.bybit import MAX_FRAME_BYTES, BybitCodec

FIVE_MS = 5 * MINUTE_MS
TOPIC = "kline.1.NOPEUSDT"


def candle(**changes: Any) -> Candle:
    return Candle(
        venue="bybit-linear",
        symbol="BTCUSDT",
        timeframe=Timeframe("5m"),
        open_time_ms=OPEN_MS,
        close_time_ms=OPEN_MS + FIVE_MS - 1,
        open=Decimal("16649.50"),
        high=Decimal("16677.5"),
        low=Decimal(16608),
        close=Decimal(16677),
        volume=Decimal("2.0810"),
        quote_volume=Decimal("34666.4005"),
        trades=None,
        taker_buy_volume=None,
        taker_buy_quote_volume=None,
        closed=True,
        complete=True,
        source=Source.WS,
        revision=0,
        received_ms=RECEIVED_MS,
    ).replace(**changes)


def assert_rejected(frame: bytes) -> MalformedMessage:
    """Decode alone and between two good messages, which must not suffer."""
    decoded = decode(frame)
    assert decoded == Decoded(rejected=decoded.rejected, messages=1)
    (problem,) = decoded.rejected
    assert len(str(problem)) <= 500
    both = watching(stream(), stream("ETHUSDT"))
    neighbours = decode(push(), frame, push("ETHUSDT"), streams=both)
    assert set(neighbours.open) == set(both)
    assert len(neighbours.rejected) == 1
    assert neighbours.closed == []
    return problem


class TestClosed:
    def test_every_value(self) -> None:
        decoded = decode(push(closed=True))
        assert decoded == Decoded(closed=[(NAME, candle())], messages=1)
        assert str(decoded.closed[0][1].volume) == "2.0810"

    def test_the_spot_market_orders_its_keys_otherwise(self) -> None:
        said = message(entry(closed=True))
        frame = dumps({key: said[key] for key in ("type", "topic", "data", "ts")})
        assert decode(frame, dialect=SPOT, streams={NAME: stream(dialect=SPOT)}).closed == [
            (NAME, candle(venue="bybit-spot"))
        ]

    def test_together_with_the_candle_that_has_just_begun(self) -> None:
        next_ms = OPEN_MS + FIVE_MS
        flat: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), "16677")
        begun = entry(open_ms=next_ms, volume="0", turnover="0", **flat)
        decoded = decode(dumps(message(entry(closed=True), begun, ts=next_ms + 441)))
        assert decoded.closed == [(NAME, candle())]
        forming = decoded.open[NAME]
        assert (forming.open_time_ms, forming.event_time_ms) == (next_ms, next_ms + 441)
        assert forming.to_candle(stream(), 7).volume == 0
        assert decoded.messages == 1
        assert decoded.rejected == []

    @pytest.mark.parametrize("at", [0, 1])
    def test_a_push_with_one_impossible_candle_counts_for_nothing(self, at: int) -> None:
        entries = [entry(closed=True), entry(open_ms=OPEN_MS + FIVE_MS)]
        entries[at]["end"] += 1
        problem = assert_rejected(dumps(message(*entries)))
        assert "do not belong together" in problem.problem

    def test_a_closed_candle_with_an_impossible_price(self) -> None:
        assert_rejected(dumps(message(entry(closed=True, low="16700"), entry(open_ms=OPEN_MS + FIVE_MS))))
        assert_rejected(push(closed=True, volume="-1"))
        assert_rejected(push(closed=True, open="NaN"))

    def test_a_second_before_the_boundary_counts_as_clock_skew_and_more_does_not(self) -> None:
        end_ms = OPEN_MS + FIVE_MS
        assert decode(push(closed=True, ts=end_ms - 999)).closed == [(NAME, candle())]
        assert "closed before" in str(assert_rejected(push(closed=True, ts=end_ms - 1_001)))

    def test_order_of_arrival_is_kept_and_repeats_are_told(self) -> None:
        opens = [OPEN_MS + n * FIVE_MS for n in (0, 2, 1, 1)]
        decoded = decode(*(push(open_ms=open_ms, closed=True) for open_ms in opens))
        assert [c.open_time_ms for _, c in decoded.closed] == opens

    def test_a_duplicate_key(self) -> None:
        frame = push(closed=True)
        assert "twice" in str(assert_rejected(frame.replace(b'"close":"16677"', b'"close":"16677","close":"16676"')))
        # written so that a count of `":` would not see it
        hidden = frame.replace(b'"close":"16677"', b'"close" :"16677","close":"16676"')
        assert "twice" in str(assert_rejected(hidden))
        lost = hidden.replace(b',"timestamp":1672324988882', b"")
        assert "twice" in str(assert_rejected(lost))

    def test_further_keys_do_not_matter(self) -> None:
        said = message(entry(closed=True, trades=7), cs=123, timestamp=...)
        assert decode(dumps(said)).closed == [(NAME, candle())]
        assert decode(json.dumps(said, indent=1).encode()).closed == [(NAME, candle())]

    def test_without_the_time_of_the_last_trade(self) -> None:
        assert decode(push(closed=True, timestamp=...)).closed == [(NAME, candle())]

    @pytest.mark.parametrize(
        ("timeframe", "open_ms"),
        [
            ("1d", 1_672_272_000_000),
            ("1w", 1_672_012_800_000),  # Monday, 2022-12-26
            ("1M", 1_669_852_800_000),  # 2022-12-01
        ],
    )
    def test_long_intervals(self, timeframe: str, open_ms: int) -> None:
        watched = stream(timeframe=timeframe)
        decoded = decode(push(timeframe=timeframe, open_ms=open_ms, closed=True), streams=watching(watched))
        ((_, closed),) = decoded.closed
        assert (closed.stream, closed.open_time_ms) == (watched, open_ms)
        assert closed.close_time_ms == watched.timeframe.close_ms(open_ms)


class TestForming:
    def test_documented(self) -> None:
        forming = decode(DOCUMENTED_PUSH).open[NAME]
        assert forming.event_time_ms == 1_672_324_988_882
        assert forming.to_candle(stream(), 77) == candle(
            closed=False, received_ms=77, open=Decimal("16649.5"), high=Decimal(16677), volume=Decimal("2.081")
        )

    def test_the_newest_stays(self) -> None:
        later = push(close="16650", ts=OPEN_MS + 9_000)
        for frames in ((push(), later), (later, push()), (push(), later, push(open_ms=OPEN_MS - FIVE_MS))):
            decoded = decode(*frames)
            assert decoded.open[NAME].event_time_ms == OPEN_MS + 9_000
            assert decoded.open[NAME].to_candle(stream(), 1).close == 16650
            assert (decoded.messages, decoded.rejected) == (len(frames), [])

    def test_an_older_one_beside_a_closed_one_replaces_nothing(self) -> None:
        begun_ms = OPEN_MS + FIVE_MS
        newer = push(open_ms=begun_ms, ts=begun_ms + 2_000)
        late = dumps(message(entry(closed=True), entry(open_ms=begun_ms), ts=begun_ms + 441))
        decoded = decode(newer, late)
        assert decoded.open[NAME].event_time_ms == begun_ms + 2_000
        assert decoded.closed == [(NAME, candle())]

    def test_of_equal_times_the_later_arrival_stays(self) -> None:
        decoded = decode(push(), push(close="16650"))
        assert decoded.open[NAME].to_candle(stream(), 1).close == 16650

    def test_prices_are_checked_where_they_are_wanted(self) -> None:
        forming = decode(push(close="oops")).open[NAME]
        with pytest.raises(MalformedMessage):
            forming.to_candle(stream(), 1)

    def test_an_event_time_in_the_klines_itself_is_not_the_venue_s_clock(self) -> None:
        assert decode(push(event_time_ms=5)).open[NAME].event_time_ms == OPEN_MS + 2_000

    @pytest.mark.parametrize(
        "changes",
        [
            {"start": OPEN_MS + 1, "end": OPEN_MS + FIVE_MS},
            {"start": OPEN_MS + MINUTE_MS // 2},
            {"end": OPEN_MS + FIVE_MS},
            {"end": OPEN_MS + DAY_MS - 1},
            {"interval": "1"},
            {"interval": "7"},
            {"interval": 5},
            {"start": str(OPEN_MS)},
            {"start": 0},
            {"start": 10**30},
            {"open": 16649.5},
            {"confirm": "false"},
            {"confirm": ...},
            {"turnover": ...},
        ],
    )
    def test_impossible(self, changes: dict[str, Any]) -> None:
        said = message(entry(), ts=OPEN_MS + 2_000)
        said["data"] = [{k: v for k, v in (said["data"][0] | changes).items() if v is not ...}]
        assert_rejected(dumps(said))

    @pytest.mark.parametrize("ts", [OPEN_MS - 1_001, 0, 10**18, OPEN_MS // 1000, str(OPEN_MS), None, -1])
    def test_impossible_time(self, ts: Any) -> None:
        assert_rejected(dumps(message(entry()) | {"ts": ts}))

    @pytest.mark.parametrize(
        "changes",
        [
            {"type": "delta"},
            {"type": ...},
            {"data": []},
            {"data": {}},
            {"data": ...},
            {"data": [entry(), None]},
            {"topic": "kline.5."},
            {"topic": None},
        ],
    )
    def test_no_push(self, changes: dict[str, Any]) -> None:
        said = {k: v for k, v in (message(entry()) | changes).items() if v is not ...}
        decoded = decode(dumps(said), streams=watching(stream()) | {"kline.5.": stream()})
        assert decoded.open == {}
        assert len(decoded.rejected) == 1

    def test_a_name_that_is_not_the_stream_s(self) -> None:
        decoded = decode(push("ETHUSDT"), streams={"kline.5.ETHUSDT": stream("BTCUSDT")})
        assert len(decoded.rejected) == 1
        decoded = decode(push(timeframe="1m"), streams={"kline.1.BTCUSDT": stream()})
        assert len(decoded.rejected) == 1

    def test_nobody_asked(self) -> None:
        assert decode(push("ETHUSDT"), push("ETHUSDT", closed=True)) == Decoded(ignored=2, messages=2)


class TestOthers:
    def test_pushes_of_other_topics(self) -> None:
        frames = [
            {"topic": "tickers.BTCUSDT", "type": "delta", "data": {"symbol": "BTCUSDT"}, "cs": 1, "ts": OPEN_MS},
            {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": OPEN_MS, "data": [{"T": OPEN_MS}]},
            {"topic": "orderbook.50.BTCUSDT", "type": "snapshot", "ts": 1, "data": {"s": "BTCUSDT"}, "cts": 1},
        ]
        assert decode(*map(dumps, frames)) == Decoded(ignored=3, messages=3)

    @pytest.mark.parametrize(
        "frame",
        [
            b"",
            b"pong",
            b"null",
            b"[]",
            b"7",
            b"{}",
            b'{"success":1,"op":"subscribe"}',
            b'{"ret_msg":"subscribe"}',
            b"[" * 50_000,
            b'{"topic":' * 5_000,
            b"\xff\xfe",
            DOCUMENTED_PUSH[:-1],
            DOCUMENTED_PUSH + DOCUMENTED_PUSH,
            DOCUMENTED_PUSH.replace(b'"snapshot"', b'"snapshot","x":"\xff"'),
            DOCUMENTED_PUSH.replace(b"false", b"NaN"),
        ],
    )
    def test_nonsense(self, frame: bytes) -> None:
        assert_rejected(frame)

    def test_a_frame_that_is_too_long_is_not_read(self) -> None:
        assert "bytes" in assert_rejected(DOCUMENTED_PUSH + b" " * MAX_FRAME_BYTES).problem


class TestReplies:
    def test_acknowledgements(self) -> None:
        for frame in (SPOT_ACK, LINEAR_ACK):
            assert decode(frame) == Decoded(replies=[Acked(10001)], messages=1)
        assert decode(reply("", "12", "unsubscribe", success=True)).replies == [Acked(12)]

    @pytest.mark.parametrize("request_id", ["", None])
    def test_an_acknowledgement_that_does_not_say_of_what(self, request_id: str | None) -> None:
        assert decode(reply("subscribe", request_id, success=True)).replies == [Acked(None)]

    @pytest.mark.parametrize("request_id", ["test", "07", "-1", "1.0", "9" * 30, "\u0663"])
    def test_replies_to_others(self, request_id: str) -> None:
        assert decode(reply("", request_id, success=True)) == Decoded(ignored=1, messages=1)
        assert decode(reply("Invalid symbol", request_id)) == Decoded(ignored=1, messages=1)

    def test_a_number_that_is_no_text(self) -> None:
        assert_rejected(dumps({"success": True, "ret_msg": "", "req_id": 7, "op": "subscribe"}))

    @pytest.mark.parametrize("frame", PONGS)
    def test_pongs_acknowledge_nothing(self, frame: bytes) -> None:
        assert decode(frame) == Decoded(ignored=1, messages=1)
        numbered = dumps(json.loads(frame) | {"req_id": "7"})
        assert decode(numbered) == Decoded(ignored=1, messages=1)

    def test_a_refused_ping_is_no_refusal_of_a_request(self) -> None:
        assert decode(reply("Too many visits!", "", "ping")) == Decoded(ignored=1, messages=1)

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            (f"error:handler not found,topic:{TOPIC}", (TOPIC,)),
            ("error:handler not found,topic:publicTrade.NOTASYMBOL", ("publicTrade.NOTASYMBOL",)),
            (f"Invalid symbol :[{TOPIC}]", (TOPIC,)),
            (f"Invalid symbol :[{TOPIC},kline.D.BTC-26MAR27]", (TOPIC, "kline.D.BTC-26MAR27")),
            (f"Invalid symbol :[{TOPIC} kline.D.ETHUSDT {TOPIC}]", (TOPIC, "kline.D.ETHUSDT")),
            ("Invalid topic: invalid.topic.BTCUSDT", ("invalid.topic.BTCUSDT",)),
            ("Invalid symbol :[NOPEUSDT]", None),
            ("Params Error", None),
            ("Something is wrong. Please mend it.", None),
            ("", None),
        ],
    )
    def test_a_refusal_is_of_the_whole_request(self, text: str, names: tuple[str, ...] | None) -> None:
        for op in ("subscribe", "unsubscribe"):
            assert decode(reply(text, op=op)) == Decoded(replies=[Refused(7, 0, text, names)], messages=1)
        assert decode(reply(text, "")).replies == [Refused(None, 0, text, names)]
        (refused,) = decode(reply(text, None)).replies
        assert isinstance(refused, Refused)
        assert refused.voids

    def test_what_is_already_subscribed_is_as_it_should_be(self) -> None:
        text = f"error:already subscribed,topic:{NAME}"
        assert decode(reply(text)).replies == [Acked(None, (NAME,)), Refused(7, 0, text, names=())]

    @pytest.mark.parametrize(
        "text", ["args size >10", "args length >21000", "Too many visits!", "access too frequent", "system busy"]
    )
    def test_refused_for_the_moment(self, text: str) -> None:
        assert decode(reply(text)).replies == [Refused(7, 0, text, names=(), passing=True)]

    def test_an_unknown_op(self) -> None:
        frame = b'{"success":false,"ret_msg":"error:invalid op","conn_id":"x","request":{"op":"","args":null}}'
        assert decode(frame).replies == [Refused(None, 0, "error:invalid op")]

    def test_a_code_is_told_where_there_is_one(self) -> None:
        frame = dumps({"success": False, "retCode": 10003, "retMsg": "Invalid", "op": "subscribe"})
        assert decode(frame).replies == [Refused(None, 10003, "Invalid")]

    def test_other_valid_replies_are_ignored(self) -> None:
        frames = [
            {"success": True, "ret_msg": "", "op": "auth", "conn_id": "x"},
            {"success": True, "conn_id": "x", "data": {"failTopics": [], "successTopics": []}, "type": "COMMAND_RESP"},
            {"op": "notice", "args": []},
        ]
        assert decode(*map(dumps, frames)) == Decoded(ignored=3, messages=3)


class TestRequests:
    def test_requests(self) -> None:
        session = LINEAR.session()
        names = [NAME, "kline.D.ETHUSDT"]
        assert json.loads(session.subscribe(7, names)) == {"req_id": "7", "op": "subscribe", "args": names}
        assert json.loads(session.unsubscribe(8, names) or b"") == {"req_id": "8", "op": "unsubscribe", "args": names}
        assert session.list_subscriptions(9) is None
        assert session.ping() == b'{"op":"ping"}'
        assert session.opening() == ()

    def test_addresses(self) -> None:
        assert SPOT.websocket_url("wss://stream.bybit.com") == "wss://stream.bybit.com/v5/public/spot"
        assert LINEAR.websocket_url("wss://stream.bybit.com/") == "wss://stream.bybit.com/v5/public/linear"


@pytest.mark.parametrize("dialect", MARKETS)
class TestRules:
    def test_liveness(self, dialect: BybitCodec) -> None:
        assert dialect.rules.keepalive == Keepalive(20.0)
        assert dialect.rules.server_ping_s is None

    def test_timeframes(self, dialect: BybitCodec) -> None:
        assert [t.text for t in dialect.rules.timeframes] == list(WIRE)
        assert list(WIRE) == sorted(WIRE, key=lambda text: Timeframe(text).nominal_ms)

    @pytest.mark.parametrize("batch", [1, 3, 10])
    def test_the_longest_names_keep_within_the_characters_of_a_connection(
        self, dialect: BybitCodec, batch: int
    ) -> None:
        streams = [stream(f"{n:X>32}", "12h", dialect) for n in range(dialect.rules.max_streams_per_connection)]
        names = [dialect.stream_name(s) for s in streams]
        requests = [names[at : at + batch] for at in range(0, len(names), batch)]
        sent = [json.dumps(request, separators=(",", ":")) for request in requests]
        assert all(args.encode() in dialect.session().subscribe(1, r) for args, r in zip(sent, requests, strict=True))
        assert dialect.rules.max_characters_per_connection == 21_000
        assert 20_000 < sum(map(len, sent)) <= 21_000 or batch > 1
        assert sum(map(len, sent)) <= 21_000

    def test_assumptions_are_named(self, dialect: BybitCodec) -> None:
        assert "messages_per_s" in dialect.rules.assumed
        assert ("max_names_per_request" in dialect.rules.assumed) == (dialect is LINEAR)


class TestNames:
    @pytest.mark.parametrize(("timeframe", "interval"), WIRE.items())
    def test_intervals(self, timeframe: str, interval: str) -> None:
        assert LINEAR.stream_name(stream(timeframe=timeframe)) == f"kline.{interval}.BTCUSDT"

    @pytest.mark.parametrize("symbol", ["BTCUSDT", "1000PEPEPERP", "BTCUSDT-25DEC26", "BTC-26MAR27", "4"])
    def test_symbols(self, symbol: str) -> None:
        assert LINEAR.stream_name(stream(symbol)) == f"kline.5.{symbol}"

    @pytest.mark.parametrize(
        ("symbol", "nearest"),
        [
            ("btcusdt", "BTCUSDT"),
            ("BTC/USDT", "BTCUSDT"),
            ("btc/usdt", "BTCUSDT"),
            ("BTC/USDT:USDT", "BTCUSDT"),
            ("BTC/USDC:USDC", "BTCPERP"),
            ("BTC/USDT:USDT-261225", None),
            ("BTC_USDT", None),
            ("", None),
            ("X" * 33, None),
            ("BTCUSDT ", None),
            ("BTC.USDT", None),
            ("ＢＴＣ", None),
            ("BTCUSDT\n", None),
        ],
    )
    def test_no_symbols(self, symbol: str, nearest: str | None) -> None:
        with pytest.raises(InvalidSymbol) as caught:
            LINEAR.stream_name(Stream("bybit-linear", symbol, Timeframe("5m")))
        assert caught.value.nearest == nearest

    @pytest.mark.parametrize(("timeframe", "nearest"), [("60m", "1h"), ("7d", "1w"), ("8h", None), ("1s", None)])
    def test_no_timeframes(self, timeframe: str, nearest: str | None) -> None:
        with pytest.raises(InvalidTimeframe) as caught:
            LINEAR.stream_name(stream(timeframe=timeframe))
        assert caught.value.nearest == nearest

"""Broken messages and answers: no exception but the documented ones, no message uncounted, never a wrong candle."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from bybit_payloads import (
    DOCUMENTED_PUSH,
    LINEAR,
    LINEAR_ACK,
    OPEN_MS,
    PONGS,
    RECEIVED_MS,
    SPOT_ACK,
    answer,
    dumps,
    entry,
    message,
    push,
    refusal,
    reply,
    row,
    rows,
    stream,
    watching,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from candleactors.errors import InvalidSymbol, MalformedMessage, RateLimited, RequestFailed, VenueError
from candleactors.model import Candle
from candleactors.venues.base import Decoded

STREAMS = watching(
    stream(), stream("ETHUSDT", "1m"), stream(timeframe="1m"), stream(timeframe="1w"), stream(timeframe="1M")
)

MESSAGES = [
    message(entry()),
    message(entry(closed=True)),
    message(entry(closed=True), entry(open_ms=OPEN_MS + 300_000)),
    message(entry("1m", closed=True), symbol="ETHUSDT"),
    message(entry("1w", 1_672_012_800_000, closed=True)),
    message(entry("1M", 1_669_852_800_000)),
]
FRAMES = [
    *map(dumps, MESSAGES),
    *(push(closed=closed) for closed in (False, True)),
    DOCUMENTED_PUSH,
    SPOT_ACK,
    LINEAR_ACK,
    *PONGS,
    reply("Invalid symbol :[kline.1.X]"),
    reply("error:already subscribed,topic:kline.5.BTCUSDT"),
    reply("args size >10"),
]
ANSWERS = [
    rows(row(OPEN_MS + 300_000), row()),
    rows(),
    answer({"timeSecond": "1688639403", "timeNano": "1688639403423213947"}),
    answer(
        {
            "category": "linear",
            "list": [
                {
                    "symbol": "BTCUSDT-25DEC26",
                    "contractType": "LinearFutures",
                    "status": "Trading",
                    "baseCoin": "BTC",
                    "quoteCoin": "USDT",
                    "settleCoin": "USDT",
                    "deliveryTime": "1798185600000",
                    "lastPrice": "1.5",
                    "price24hPcnt": "-0.1",
                    "volume24h": "1",
                    "turnover24h": "2",
                }
            ],
            "nextPageCursor": "a%3Db",
        }
    ),
    refusal(10001, "params error: symbol invalid"),
    refusal(10006, "Too many visits!"),
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "0", "-1", "NaN", "1e5", "5", "M", "BTCUSDT", "subscribe", "ping", "linear", "Trading"])
    | st.sampled_from([0, 1, OPEN_MS, OPEN_MS + 300_000, 10**15, 2**64, -(2**63)])
    | st.text(max_size=8)
)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3), max_leaves=6
)
KEYS = ["topic", "data", "ts", "type", "start", "end", "interval", "confirm", "op", "success", "ret_msg", "req_id"]
KEYS += ["retCode", "retMsg", "result", "list", "time", "category", "symbol", "nextPageCursor", "timeNano"]
objects = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), values, max_size=5)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container in `value` with each of its keys."""
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        container = pending.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        found += [(container, key) for key in keys]
        pending += [container[key] for key in keys if isinstance(container[key], dict | list)]
    return found


@st.composite
def edited(draw: st.DrawFn, frames: list[bytes]) -> bytes:
    """A good message with some values replaced, removed or written twice."""
    said = json.loads(draw(st.sampled_from(frames)))
    for _ in range(draw(st.integers(1, 3))):
        found = places(said)
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        match draw(st.integers(0, 3)):
            case 0:
                del container[key]
            case 1:
                container[key] = [container[key]]
            case _:
                container[key] = draw(values)
    return dumps(said)


@st.composite
def damaged(draw: st.DrawFn, frames: list[bytes]) -> bytes:
    """A good message with bytes changed, cut or repeated."""
    raw = bytearray(draw(st.sampled_from(frames)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        match draw(st.integers(0, 3)):
            case 0:
                del raw[at:]
            case 1:
                raw[at:at] = draw(st.binary(max_size=4) | st.sampled_from([b'"', b"}", b",", b'"ts":1,', b"\\"]))
            case 2 if at < len(raw):
                raw[at] ^= 1 << draw(st.integers(0, 7))
            case _:
                upto = draw(st.integers(at, len(raw)))
                raw[upto:upto] = raw[at:upto]
    return bytes(raw)


def anything(frames: list[bytes]) -> st.SearchStrategy[bytes]:
    return (
        st.binary(max_size=300)
        | values.map(dumps_loosely)
        | objects.map(dumps_loosely)
        | edited(frames)
        | damaged(frames)
        | st.sampled_from(frames)
    )


def dumps_loosely(value: Any) -> bytes:
    """JSON with the infinities that Python adds to it."""
    return json.dumps(value).encode()


def assert_told(candle: Candle, kline: dict[str, Any]) -> None:
    assert candle.problem() is None
    assert (candle.open_time_ms, candle.close_time_ms) == (kline["start"], kline["end"])
    assert candle.closed is kline["confirm"]
    told = [candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote_volume]
    assert told == [Decimal(kline[key]) for key in ("open", "high", "low", "close", "volume", "turnover")]
    assert candle.timeframe.next_open(candle.open_time_ms) == candle.close_time_ms + 1


def alone(frame: bytes) -> Decoded:
    decoded = LINEAR.session().decode([frame], STREAMS, RECEIVED_MS)
    assert decoded.messages == 1
    candles = bool(decoded.open) or bool(decoded.closed)
    assert candles + bool(decoded.replies) + decoded.ignored + len(decoded.rejected) == 1
    assert not decoded.closing_soon
    if not candles:
        return decoded
    said = json.loads(frame)
    told = [candle for _, candle in decoded.closed]
    for name, wire in decoded.open.items():
        assert wire.event_time_ms == said["ts"]
        with suppress(MalformedMessage):
            told.append(wire.to_candle(STREAMS[name], RECEIVED_MS))
    for candle in told:
        assert LINEAR.stream_name(candle.stream) == said["topic"]
        (kline,) = [k for k in said["data"] if (k["start"], k["confirm"]) == (candle.open_time_ms, candle.closed)][:1]
        assert_told(candle, kline)
    return decoded


@settings(max_examples=1_500)
@given(anything(FRAMES))
@example(b'{"topic":"kline.5.BTCUSDT","topic":"kline.5.ETHUSDT"}')
def test_one_message(frame: bytes) -> None:
    alone(frame)


@settings(max_examples=300)
@given(st.lists(anything(FRAMES), max_size=12))
def test_a_batch_says_what_its_messages_say_one_by_one(frames: list[bytes]) -> None:
    batch = LINEAR.session().decode(frames, STREAMS, RECEIVED_MS)
    total = Decoded(messages=len(frames))
    for frame in frames:
        one = alone(frame)
        for name, wire in one.open.items():
            known = total.open.get(name)
            if known is None or (wire.open_time_ms, wire.event_time_ms) >= (known.open_time_ms, known.event_time_ms):
                total.open[name] = wire
        total.closed += one.closed
        total.replies += one.replies
        total.rejected += one.rejected
        total.ignored += one.ignored
    assert [str(problem) for problem in batch.rejected] == [str(problem) for problem in total.rejected]
    batch.rejected = total.rejected
    assert batch == total


def test_good_messages_survive_among_broken_ones() -> None:
    decoded = LINEAR.session().decode([b"\xff", *FRAMES, b"{"], STREAMS, RECEIVED_MS)
    assert len(decoded.rejected) == 2
    assert len(decoded.closed) == 5
    assert len(decoded.open) == 2


PARSERS: list[Callable[[bytes], object]] = [
    lambda body: LINEAR.parse_klines(stream(), body, RECEIVED_MS, RECEIVED_MS),
    lambda body: LINEAR.parse_server_time({}, body),
    lambda body: LINEAR.parse_instruments(body, "x"),
    LINEAR.parse_tickers,
]


@pytest.mark.parametrize("parse", PARSERS)
def test_answers_are_good_or_malformed(parse: Callable[[bytes], object]) -> None:
    outcomes = set()

    @settings(max_examples=400)
    @given(anything(ANSWERS))
    def feed(body: bytes) -> None:
        try:
            parse(body)
            outcomes.add("good")
        except MalformedMessage:
            outcomes.add("malformed")

    feed()
    assert outcomes == {"good", "malformed"}


@settings(max_examples=800)
@given(
    st.sampled_from([200, 200, 204, 302, 400, 403, 404, 418, 429, 500, 503]),
    st.dictionaries(st.sampled_from(["retry-after", "x-bapi-limit-reset-timestamp"]), st.text(max_size=20)),
    anything(ANSWERS),
)
def test_errors_are_the_documented_ones(status: int, headers: dict[str, str], body: bytes) -> None:
    raised: Exception | None = None
    try:
        LINEAR.check_answer(status, headers, body)
    except (RateLimited, InvalidSymbol, RequestFailed, VenueError) as error:
        raised = error
    if raised is None:
        assert 200 <= status < 300
    elif isinstance(raised, RateLimited):
        assert raised.retry_after_s is None or raised.retry_after_s >= 0
        assert raised.status in (403, 418, 429)
    else:
        assert status not in (403, 418, 429)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 5), st.decimals(1, 2, places=3)), min_size=1, max_size=6))
def test_rows_in_any_other_order_are_refused(said: list[tuple[int, Decimal]]) -> None:
    body = rows(*(row(OPEN_MS + n * 300_000, "1", str(p), "1", "1", "0", "0") for n, p in said))
    opens = [n for n, _ in said]
    if opens == sorted(set(opens), reverse=True):
        candles = LINEAR.parse_klines(stream(), body, RECEIVED_MS, RECEIVED_MS)
        assert [c.high for c in reversed(candles)] == [p for _, p in said]
    else:
        with pytest.raises(MalformedMessage):
            LINEAR.parse_klines(stream(), body, RECEIVED_MS, RECEIVED_MS)

"""Broken messages and answers: no exception but the documented ones, no message uncounted, and never a wrong candle."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from okx_payloads import DIALECT, OPEN_MS, RECEIVED_MS, answer, dumps, push, row, stream, watching

from candleactors.errors import InvalidSymbol, MalformedMessage, RateLimited, RequestFailed, VenueError
from candleactors.model import Candle
from candleactors.venues.base import Decoded

STREAMS = [stream(), stream("BTC-USDT-SWAP"), stream(timeframe="1d"), stream("BTC-USDT-SWAP", "1M")]
WATCHED = watching(*STREAMS)

NUMBERS = ["", "0", "1", "2", "-1", "NaN", "1e5", "0.05", "9" * 65, "１", str(OPEN_MS), str(OPEN_MS + 60_000)]
WORDS = ["candle1m", "candle1Mutc", "candle1D", "BTC-USDT", "subscribe", "error", "notice", "60018", "64008", "\ud800"]
TEXTS = st.sampled_from([*NUMBERS, *WORDS, "Wrong URL or channel:candle1m,instId:BTC-USDT doesn't exist"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), TEXTS)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))

SEEDS = [
    push(row()),
    push(row(closed=True)),
    push(row(OPEN_MS + 60_000), row(closed=True)),
    push(row()[:7]),
    push(row(closed=True), symbol="BTC-USDT-SWAP"),
    push(row(1_789_430_400_000, closed=True), channel="candle1Dutc"),
    push(row(1_788_220_800_000), symbol="BTC-USDT-SWAP", channel="candle1Mutc"),
    dumps({"id": "7", "event": "subscribe", "arg": {"channel": "candle1m", "instId": "BTC-USDT"}, "connId": "a4d3"}),
    dumps({"id": "7", "event": "error", "code": "60018", "msg": "Wrong URL or channel:candle1m,instId:A-B doesn't"}),
    dumps({"event": "notice", "code": "64008", "msg": "soon"}),
    b"pong",
]


def says(candle: Candle, frame: bytes) -> bool:
    """Whether a row of `frame`, read by the standard library alone, is `candle`."""
    message = json.loads(frame)
    texts = [candle.open, candle.high, candle.low, candle.close]
    for values in message["data"]:
        swap = message["arg"]["instId"].endswith("-SWAP")
        if (
            [str(candle.open_time_ms), *map(str, texts)] == values[:5]
            and str(candle.volume) == values[6 if swap else 5]
            and message["arg"]["instId"] == candle.symbol
            and candle.closed == (values[8:9] == ["1"])
        ):
            return True
    return False


def assert_right(frame: bytes) -> None:
    decoded = DIALECT.decode([frame], WATCHED, RECEIVED_MS)
    rows = len(decoded.open) + len(decoded.closed)
    others = len(decoded.rejected) + len(decoded.replies) + decoded.ignored + decoded.closing_soon
    assert decoded.messages == 1
    assert (rows >= 1 and others == 0) or (rows == 0 and others == 1)
    for problem in decoded.rejected:
        assert type(problem) is MalformedMessage
    for name, candle in decoded.closed:
        assert candle.stream == WATCHED[name]
        assert candle.problem() is None
        assert says(candle, frame)
    for name, wire in decoded.open.items():
        assert wire.open_time_ms > 0
        try:
            candle = wire.to_candle(WATCHED[name], RECEIVED_MS)
        except MalformedMessage:
            continue
        assert not candle.closed
        assert candle.problem() is None
        assert says(candle, frame)


@given(st.binary(max_size=300))
def test_any_bytes(frame: bytes) -> None:
    assert_right(frame)


@given(JSON)
@example({"event": [], "arg": {}})
@example({"arg": {"channel": "candle1m", "instId": "BTC-USDT"}, "data": [["1"] * 9] * 2})
def test_any_json(message: Any) -> None:
    frame = dumps(message)
    decoded = DIALECT.decode([frame], WATCHED, RECEIVED_MS)
    assert (decoded.open, decoded.closed, decoded.messages) == ({}, [], 1)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container in `value` with each of its keys."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@given(st.data())
def test_other_values_in_good_messages(data: st.DataObject) -> None:
    message = json.loads(data.draw(st.sampled_from(SEEDS[:-1])))
    for _ in range(data.draw(st.integers(1, 3))):
        found = places(message)
        if not found:
            break
        container, key = data.draw(st.sampled_from(found))
        if data.draw(st.booleans()):
            container[key] = data.draw(JSON)
        elif data.draw(st.booleans()) and isinstance(container[key], str):
            at = data.draw(st.integers(0, len(container[key])))
            container[key] = container[key][:at] + data.draw(st.sampled_from("0123456789.-e ")) + container[key][at:]
        else:
            del container[key]
    assert_right(dumps(message))


@given(st.sampled_from(SEEDS), st.data())
def test_other_bytes_in_good_messages(seed: bytes, data: st.DataObject) -> None:
    changed = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                changed[at] ^= 1 << data.draw(st.integers(0, 7))
            case 1:
                changed[at:at] = data.draw(st.sampled_from([b'"', b"]", b"}", b",", b"\\", b"\xff", b"0", b" ", b"["]))
            case _:
                changed[at:] = b"" if data.draw(st.booleans()) else changed[at + 1 :]
        if not changed:
            break
    assert_right(bytes(changed))


@given(st.lists(st.sampled_from(SEEDS), max_size=12))
def test_a_batch_says_what_its_messages_say_one_by_one(frames: list[bytes]) -> None:
    total = Decoded()
    for frame in frames:
        one = DIALECT.decode([frame], WATCHED, RECEIVED_MS)
        for name, wire in one.open.items():
            if name not in total.open or total.open[name].open_time_ms <= wire.open_time_ms:
                total.open[name] = wire
        total.closed += one.closed
        total.replies += one.replies
        total.closing_soon |= one.closing_soon
        total.ignored += one.ignored
        total.messages += one.messages
    assert DIALECT.decode(frames, WATCHED, RECEIVED_MS) == total


BODIES = [
    answer(row(OPEN_MS + 60_000), row(closed=True)),
    answer({"ts": "1597026383085"}),
    answer({"instType": "SWAP", "instId": "BTC-USDT-SWAP", "uly": "BTC-USDT", "settleCcy": "USDT", "state": "live"}),
    answer({"instType": "SPOT", "instId": "A-B", "last": "2", "open24h": "3", "vol24h": "0", "volCcy24h": "0"}),
    answer(code="50011", msg="Too Many Requests"),
]


def assert_only_documented_errors(status: int, body: bytes) -> None:
    with suppress(RateLimited, InvalidSymbol, RequestFailed, VenueError):
        DIALECT.check_answer(status, {}, body)
    for parse in (
        lambda: DIALECT.parse_klines(stream(), body, RECEIVED_MS, 7),
        lambda: DIALECT.parse_server_time({}, body),
        lambda: DIALECT.parse_instruments(body),
        lambda: DIALECT.parse_tickers(body),
    ):
        with suppress(MalformedMessage):
            parse()


STATUSES = st.sampled_from([200, 200, 204, 302, 400, 401, 403, 404, 418, 429, 500, 503])


@given(STATUSES, st.one_of(st.binary(max_size=200), JSON.map(dumps)))
def test_any_answer(status: int, body: bytes) -> None:
    assert_only_documented_errors(status, body)


@given(STATUSES, st.sampled_from(BODIES), st.data())
def test_other_values_in_good_answers(status: int, body: bytes, data: st.DataObject) -> None:
    message = json.loads(body)
    container, key = data.draw(st.sampled_from(places(message)))
    container[key] = data.draw(JSON)
    assert_only_documented_errors(status, dumps(message))


def test_a_deep_answer() -> None:
    assert_only_documented_errors(200, b'{"code":"0","data":' + b"[" * 50_000)
    assert_only_documented_errors(429, b"[" * 50_000)
    with pytest.raises(RequestFailed):
        DIALECT.check_answer(500, {}, b'{"code":"0","data":' + b"[" * 50_000)

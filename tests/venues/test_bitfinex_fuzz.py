"""Bytes of all kinds: no exception but the documented ones, no message uncounted, no wrong candle."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from bitfinex_payloads import (
    CHANNEL,
    CODEC,
    MINUTE_MS,
    NAME,
    OPEN_MS,
    RECEIVED_MS,
    VALUES,
    WATCHED,
    dumps,
    frame,
    heartbeat,
    row,
    session,
    snapshot,
    stream,
    subscribed,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from candleactors.errors import InvalidSymbol, MalformedMessage, RateLimited, RequestFailed, VenueError
from candleactors.model import Candle, Source
from candleactors.venues.base import Decoded, Session

SEEDS = [
    frame(row()),
    frame(row(OPEN_MS + MINUTE_MS), OPEN_MS + MINUTE_MS + 10),
    frame(row(values="1e-7,2e-7,3e-7,1e-7,0"), None),
    snapshot(row(), row(OPEN_MS - MINUTE_MS), row(OPEN_MS - 5 * MINUTE_MS)),
    heartbeat(OPEN_MS + 9 * MINUTE_MS),
    heartbeat(None),
    subscribed(),
    subscribed(subId="1"),
    dumps({"event": "unsubscribed", "status": "OK", "chanId": CHANNEL}),
    dumps({"event": "error", "code": 10301, "msg": "subscribe: dup", "key": NAME, "chanId": CHANNEL}),
    dumps({"event": "error", "code": 10400, "msg": "unsubscribe: invalid", "chanId": CHANNEL}),
    dumps({"event": "info", "version": 2, "serverId": "x", "platform": {"status": 1}}),
    dumps({"event": "info", "code": 20051, "msg": ""}),
    dumps({"event": "conf", "status": "OK", "flags": 32768}),
]
BODIES = [
    f"[[{OPEN_MS},{VALUES}],[{OPEN_MS - MINUTE_MS},{VALUES}]]".encode(),
    b'[["BTCUSD","DUSK:USD"],["BTCF0:USTF0"],[["UST","USDt"]]]',
    b'[["tBTCUSD",1,1,1,1,-1,-0.1,5,10,6,4],["fUSD",1,1,1]]',
    b'["error",10020,"limit: invalid"]',
    b'{"error":"ERR_RATE_LIMIT"}',
    b"[1]",
]
JUNK = (
    b'"',
    b"}",
    b"]",
    b",",
    b"[",
    b"{",
    b"\\",
    b"\x00",
    b"\xff",
    b"0",
    b"-",
    b"e",
    b"E9",
    b"null",
    b" ",
    b"\xe5\xb8",
)


def scalars() -> st.SearchStrategy[Any]:
    instants = st.sampled_from(
        [OPEN_MS, OPEN_MS + MINUTE_MS, 0, -1, 1, 2**63, 10**30, 4_102_444_800_000, CHANNEL, True]
    )
    texts = st.sampled_from(["hb", "te", "info", "error", "subscribed", "candles", NAME, "event", "error", ""])
    return st.none() | instants | texts | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)


def documents() -> st.SearchStrategy[Any]:
    keys = st.sampled_from(["event", "chanId", "key", "code", "msg", "subId", "channel", "status", "version", "x"])
    return st.recursive(
        scalars(), lambda inner: st.lists(inner, max_size=7) | st.dictionaries(keys, inner, max_size=6), max_leaves=30
    )


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    raw = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 3))):
        begin = draw(st.integers(0, len(raw)))
        end = min(len(raw), begin + draw(st.sampled_from((0, 0, 1, 1, 3, 20))))
        raw = raw[:begin] + draw(st.sampled_from((b"", *JUNK, raw[begin:end] * 2))) + raw[end:]
    return raw


def messages(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    return mutated(seeds) | documents().map(dumps) | st.binary(max_size=60)


def assert_counted(decoded: Decoded, frames: int) -> None:
    """Each frame leaves a trace."""
    said = len(decoded.closed) + len(decoded.open) + len(decoded.replies) + len(decoded.rejected) + decoded.ignored
    assert decoded.messages == frames
    assert said + len(decoded.alive) + decoded.closing_soon > 0


def assert_possible(candles: list[tuple[str, Candle]]) -> None:
    for name, candle in candles:
        assert candle.stream == WATCHED[name]
        assert candle.closed
        assert candle.problem() is None
        assert candle.open_time_ms % MINUTE_MS == 0
        assert candle.source in (Source.WS, Source.FILLED)


def fresh() -> Session:
    on = session()
    on.unsubscribe(2, [NAME])
    on.subscribe(3, [NAME])
    return on


@settings(max_examples=600)
@given(st.lists(messages(SEEDS), min_size=1, max_size=8))
def test_frames(frames: list[bytes]) -> None:
    on, batched = fresh(), fresh()
    total: list[tuple[str, Candle]] = []
    for raw in frames:
        decoded = on.decode([raw], WATCHED, RECEIVED_MS)
        assert_counted(decoded, 1)
        assert_possible(decoded.closed)
        total += decoded.closed
        for name, wire in decoded.open.items():
            with contextlib.suppress(MalformedMessage):
                assert wire.to_candle(WATCHED[name], RECEIVED_MS).problem() is None
    last = {(name, candle.open_time_ms): candle for name, candle in total}
    assert [candle for _, candle in batched.decode(frames, WATCHED, RECEIVED_MS).closed] == list(last.values())


@settings(max_examples=300)
@given(messages(BODIES), st.sampled_from([200, 204, 302, 400, 403, 404, 418, 429, 500, 503]))
def test_answers(body: bytes, status: int) -> None:
    with contextlib.suppress(MalformedMessage):
        candles = CODEC.parse_klines(stream(), body, RECEIVED_MS, 5)
        opens = [candle.open_time_ms for candle in candles]
        assert opens == sorted(set(opens))
        assert all(candle.problem() is None for candle in candles)
    with contextlib.suppress(MalformedMessage):
        for instrument in CODEC.parse_instruments(body).instruments:
            assert CODEC.stream_name(stream(instrument.symbol))
    with contextlib.suppress(MalformedMessage):
        CODEC.parse_tickers(body)
    with contextlib.suppress(RateLimited, RequestFailed, InvalidSymbol, VenueError):
        CODEC.check_answer(status, {}, body)
        assert 200 <= status < 300


@given(st.text(max_size=30), st.dictionaries(st.sampled_from(["date", "retry-after"]), st.text(max_size=30)))
def test_symbols_and_headers(symbol: str, headers: dict[str, str]) -> None:
    with contextlib.suppress(InvalidSymbol):
        assert CODEC.stream_name(stream(symbol)) == f"trade:1m:{symbol}"
    with contextlib.suppress(MalformedMessage):
        CODEC.parse_server_time(headers, b"")
    with contextlib.suppress(RateLimited):
        CODEC.check_answer(429, headers, b"")


def test_seeds_are_good() -> None:
    for raw in SEEDS:
        assert fresh().decode([raw], WATCHED, RECEIVED_MS).rejected == []
        assert isinstance(json.loads(raw), list | dict)

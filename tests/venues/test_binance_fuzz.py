"""Broken messages by the hundred thousand: no exception, no message uncounted, and never a wrong candle."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import binance_reference as reference
import pytest
from binance_payloads import OPEN_MS, RECEIVED_MS, VENUES, combined, dumps, event, stream, watching

from candleactors.errors import MalformedMessage
from candleactors.model import Candle, Stream
from candleactors.venues import codec
from candleactors.venues.base import Decoded

MESSAGES = 100_000
WATCHED = (("BTCUSDT", "1m"), ("BTCUSDT", "1M"), ("ETHUSDT", "3d"), ("币安人生USDT", "1h"), ("ETHUSDT", "1w"))


def seeds() -> list[bytes]:
    """Return good messages to start from."""
    found = []
    for symbol, timeframe in (*WATCHED, ("XRPUSDT", "1m")):
        opened = stream(symbol, timeframe).timeframe.floor(OPEN_MS)
        for closed in (False, True):
            found += [combined(event(symbol, timeframe, opened, closed=closed))] * 3
            found.append(dumps(event(symbol, timeframe, opened, closed=closed)))
            found.append(json.dumps(json.loads(found[-2]), indent=1).encode())
    flat: dict[str, Any] = dict.fromkeys("ohlc", "1870.76") | dict.fromkeys("vqVQ", "0.000")
    found.append(combined(event(closed=True, n=0, f=-1, L=-1, B=..., **flat)))
    others: list[Any] = [
        {"result": None, "id": 1},
        {"result": ["btcusdt@kline_1m"], "id": 3},
        {"error": {"code": 2, "msg": "Invalid request"}, "id": 4},
        {"code": 1, "msg": "Invalid value type", "id": 5},
        {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": OPEN_MS}},
        {"stream": "btcusdt@trade", "data": {"e": "trade", "E": OPEN_MS, "s": "BTCUSDT"}},
    ]
    return found + [dumps(message) for message in others]


NUMBERS = [
    0,
    -1,
    1,
    1.0,
    -0.0,
    1e5,
    1e308,
    2**31,
    2**53,
    2**63,
    2**64,
    10**40,
    OPEN_MS,
    OPEN_MS + 60_000,
    OPEN_MS // 1000,
]
TEXTS = ["", "0", "-1", "NaN", "Infinity", "1e5", "1_0", "0.05", "00.0412", "9" * 64, "9" * 65, "１", "\x00", "BTCUSDT"]
TEXTS += ["ETHUSDT", "1m", "1M", "3d", "kline", "trade", "btcusdt@kline_1m", "ethusdt@kline_3d", "😀", "\ud800"]
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"k": {}}, [1, "a"], {"e": "kline"})


def nested(rng: random.Random) -> Any:
    value = deepcopy(rng.choice(OTHERS))
    for _ in range(rng.choice((0, 0, 0, 1, 3, 30))):
        value = [value] if rng.random() < 0.5 else {rng.choice("ktoxE"): value}
    return value


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


def digits_changed(value: Any, rng: random.Random) -> Any:
    """Return a number, or a text of one, that differs a little."""
    if type(value) is int:
        return value + rng.choice((-1, 1)) * rng.choice(
            (1, 1000, 60_000, 3_600_000, 86_400_000, 10 ** rng.randrange(16))
        )
    if isinstance(value, str) and value:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice("0123456789.-e, ") + value[at + rng.randrange(2) :]
    return rng.choice(NUMBERS)


def edit(raw: bytes, rng: random.Random) -> bytes:
    """Change the values of a message, leaving it JSON."""
    message = json.loads(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = places(message)
        if not found:
            break
        container, key = rng.choice(found)
        other, other_key = rng.choice(found)
        match rng.randrange(9):
            case 0 | 1:
                container[key] = digits_changed(container[key], rng)
            case 2:
                container[key] = rng.choice(NUMBERS)
            case 3:
                container[key] = rng.choice(TEXTS)
            case 4:
                container[key] = nested(rng)
            case 5:
                values = container[key], other[other_key]
                if not any(isinstance(v, dict | list) for v in values):
                    other[other_key], container[key] = values
            case 6:
                del container[key]
            case 7 if isinstance(container, dict):
                container[rng.choice([*container, "B", "st", "new", key.swapcase()])] = container.pop(key)
            case _:
                value = container[key]
                container[key] = str(value) if isinstance(value, int | float) else [value]
    separators = rng.choice(((",", ":"), (", ", ": ")))
    text = json.dumps(message, ensure_ascii=rng.random() < 0.5, separators=separators)
    return text.encode("utf-8", "surrogatepass")


def cut(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(len(raw))]


def flip(raw: bytes, rng: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def repeat(raw: bytes, rng: random.Random) -> bytes:
    """Say a part twice, which at times gives an object a key twice."""
    parts = raw.split(b",")
    at = rng.randrange(len(parts))
    parts.insert(rng.randrange(len(parts)), flip(parts[at], rng) if rng.random() < 0.3 else parts[at])
    return b",".join(parts)


def drop(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + raw[at + rng.choice((1, 2, 20)) :]


def insert(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    junk = (b'"', b"}", b"]", b",", b"[", b"{", b"\\", b"\x00", b"\xff", b"0", b"-", b"null", b" ", b"\n", b"\xe5\xb8")
    return raw[:at] + rng.choice(junk) * rng.choice((1, 1, 1, 5000)) + raw[at:]


def join(raw: bytes, rng: random.Random) -> bytes:
    other = rng.choice(SEEDS)
    return rng.choice((raw + other, raw + b"\n" + other, raw[: len(raw) // 2] + other[len(other) // 2 :]))


def same(raw: bytes, rng: random.Random) -> bytes:
    return raw


SEEDS = seeds()
MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [
    *(edit, edit, edit, edit, flip, flip, flip),
    *(cut, repeat, repeat, drop, insert, join, same),
]


def assert_candle_says(candle: Candle, said: reference.Said) -> None:
    kline = said.kline
    assert candle.problem() is None
    assert (candle.symbol, candle.timeframe.text, candle.open_time_ms) == (kline["s"], kline["i"], kline["t"])
    assert (candle.closed, candle.trades) == (kline["x"], kline["n"])
    values = [candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote_volume]
    assert [*values, candle.taker_buy_volume, candle.taker_buy_quote_volume] == said.numbers
    assert reference.moment(candle.close_time_ms + 1) == said.end
    assert candle.timeframe.next_open(candle.open_time_ms) == candle.close_time_ms + 1


def assert_right(raw: bytes, decoded: Decoded, streams: dict[str, Stream], counts: Counter[str]) -> None:
    """Compare what the codec made of one message with the second opinion."""
    accepted = len(decoded.open) + len(decoded.closed)
    others = len(decoded.rejected) + len(decoded.replies) + decoded.ignored + decoded.closing_soon
    assert decoded.messages == 1 == accepted + others
    said = reference.read(raw)
    if not accepted:
        counts["rejected" if decoded.rejected else "other"] += 1
        if said is not None and not said.ambiguous and not decoded.ignored and reference.believable(said):
            assert said.kline["x"], "a good forming candle was lost"
            assert not reference.possible(said), "a good closed candle was lost"
        return
    assert said is not None
    assert reference.believable(said)
    if decoded.closed:
        counts["closed"] += 1
        ((name, candle),) = decoded.closed
        assert not said.ambiguous
        assert streams[name] == candle.stream
        assert_candle_says(candle, said)
        return
    ((name, wire),) = decoded.open.items()
    assert not said.kline["x"]
    assert (wire.open_time_ms, wire.event_time_ms) == (said.kline["t"], said.event["E"])
    try:
        candle = wire.to_candle(streams[name], RECEIVED_MS)
    except MalformedMessage:
        counts["impossible"] += 1
        assert not reference.possible(said)
    else:
        counts["forming"] += 1
        assert candle.stream == streams[name]
        assert_candle_says(candle, said)


@pytest.mark.parametrize("venue", VENUES)
def test_broken_messages(venue: str) -> None:
    seed = int(os.environ.get("CANDLEACTORS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"replay with CANDLEACTORS_SEED={seed}")
    rng = random.Random(seed)
    dialect = codec(venue)
    streams = watching(*(stream(symbol, timeframe, venue) for symbol, timeframe in WATCHED))
    counts: Counter[str] = Counter()
    batch: list[bytes] = []
    alone = Decoded()
    for _ in range(MESSAGES):
        raw = rng.choice(MUTATIONS)(rng.choice(SEEDS), rng)
        decoded = dialect.session().decode([raw], streams, RECEIVED_MS)
        try:
            assert_right(raw, decoded, streams, counts)
        except AssertionError:
            print(f"message {raw!r}")
            raise
        batch.append(raw)
        add(alone, decoded)
        if len(batch) == 400:
            assert_same(dialect.session().decode(batch, streams, RECEIVED_MS), alone)
            batch, alone = [], Decoded()
    print(counts)
    assert min(counts[kind] for kind in ("rejected", "other", "closed", "forming", "impossible")) > MESSAGES // 500


def add(total: Decoded, one: Decoded) -> None:
    for name, wire in one.open.items():
        known = total.open.get(name)
        if known is None or (wire.open_time_ms, wire.event_time_ms) >= (known.open_time_ms, known.event_time_ms):
            total.open[name] = wire
    total.closed += one.closed
    total.replies += one.replies
    total.rejected += one.rejected
    total.closing_soon |= one.closing_soon
    total.ignored += one.ignored
    total.messages += one.messages


def assert_same(batch: Decoded, alone: Decoded) -> None:
    """A batch says what its messages say one by one."""
    assert [str(problem) for problem in batch.rejected] == [str(problem) for problem in alone.rejected]
    batch.rejected = alone.rejected
    assert batch == alone

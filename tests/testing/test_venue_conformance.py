"""Every venue's codec conforms, and the suite finds what is wrong with codecs that do not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from importlib import import_module
from typing import Any, ClassVar

import pytest
import toy_exchange
from attrs import evolve
from toy_exchange_conformance import TestToyExchange as ToyExchange

import candleactors.sim
from candleactors import venues
from candleactors.errors import InvalidSymbol, MalformedMessage, RateLimited, RequestFailed, VenueError
from candleactors.model import Candle, Stream
from candleactors.sim import Rules
from candleactors.testing import Sample, VenueConformance, candle
from candleactors.testing.venue_conformance import Clock, Refusal, Rows
from candleactors.venues.base import Codec, Decoded, Endpoints, Session, VenueRules

# By another way than `import`, since the folder of the venues' tests is on the path only where these are run as well.
binance_payloads, bitfinex_payloads, bybit_payloads, okx_payloads = (
    import_module(f"venues.{name}_payloads") for name in ("binance", "bitfinex", "bybit", "okx")
)

SIMULATORS = {rules.name: rules for rules in vars(candleactors.sim).values() if isinstance(rules, Rules)}
MINUTE_MS = 60_000


def of(venue: str) -> Callable[[], Codec]:
    return lambda: venues.codec(venue)


# Binance


def binance_candle(venue: str, open_ms: int, *, closed: bool, symbol: str = "BTCUSDT") -> Candle:
    """Return what `binance_payloads.event` says."""
    return candle(
        Stream(venue, symbol, binance_payloads.stream().timeframe),
        open_ms,
        ("0.04110000", "0.04150000", "0.04100000", "0.04140000"),
        "243.00000000",
        quote_volume="9.98730000",
        trades=2,
        taker_buy_volume="143.00000000",
        taker_buy_quote_volume="5.87730000",
        closed=closed,
    )


def binance_row(open_ms: int) -> list[Any]:
    prices, amounts = ["0.04110000", "0.04150000", "0.04100000", "0.04140000"], ["9.98730000", 2, "143.00000000"]
    return [open_ms, *prices, "243.00000000", open_ms + MINUTE_MS - 1, *amounts, "5.87730000", "0"]


class BinanceConformance(VenueConformance):
    symbols: ClassVar[Sequence[str]] = ("1000SHIBUSDT", "币安人生USDT")
    no_symbols = ("btcusdt", "BTC-USDT")
    clocks = (Clock(b'{"serverTime":1681154000000}', 1_681_154_000_000),)
    refusals = (
        Refusal(429, b'{"code":-1003,"msg":"Too much request weight used."}', RateLimited),
        Refusal(418, b'{"code":-1003,"msg":"banned"}', RateLimited, (("retry-after", "120"),)),
        Refusal(400, b'{"code":-1121,"msg":"Invalid symbol."}', InvalidSymbol),
        Refusal(503, b"", RequestFailed),
    )

    def __init_subclass__(cls, venue: str, **more: Any) -> None:
        super().__init_subclass__(**more)
        at_ms = binance_payloads.OPEN_MS
        next_ms = at_ms + MINUTE_MS
        cls.codec = staticmethod(of(venue))
        cls.simulator = SIMULATORS.get(venue)
        cls.samples = (
            Sample(binance_payloads.kline(), [binance_candle(venue, at_ms, closed=False)]),
            Sample(binance_payloads.kline(open_ms=next_ms), [binance_candle(venue, next_ms, closed=False)]),
            Sample(binance_payloads.kline(closed=True), [binance_candle(venue, at_ms, closed=True)]),
            Sample(
                [binance_payloads.kline("ETHUSDT", closed=True), binance_payloads.kline("ETHUSDT", open_ms=next_ms)],
                [
                    binance_candle(venue, at_ms, closed=True, symbol="ETHUSDT"),
                    binance_candle(venue, next_ms, closed=False, symbol="ETHUSDT"),
                ],
            ),
            Sample(b'{"result":null,"id":1}', []),
        )
        cls.rows = (
            Rows(
                Stream(venue, "BTCUSDT", binance_payloads.stream().timeframe),
                binance_payloads.dumps([binance_row(at_ms), binance_row(next_ms)]),
                [binance_candle(venue, at_ms, closed=True), binance_candle(venue, next_ms, closed=False)],
                next_ms + 100,
            ),
        )


class TestBinanceSpot(BinanceConformance, venue="binance-spot"): ...


class TestBinanceUsdm(BinanceConformance, venue="binance-usdm"): ...


class TestAster(BinanceConformance, venue="aster"):
    symbols = ("1000SHIBUSDT",)


# Bybit


class BybitConformance(VenueConformance):
    symbols = ("1000000BABYDOGEUSDT",)
    no_symbols = ("btcusdt",)
    clocks = (
        Clock(
            b'{"retCode":0,"retMsg":"OK","result":{"timeSecond":"1688639403","timeNano":"1688639403423213947"},'
            b'"retExtInfo":{},"time":1688639403423}',
            1_688_639_403_423,
        ),
    )
    refusals = (
        Refusal(200, bybit_payloads.refusal(10006, "Too many visits!"), RateLimited),
        Refusal(503, b"", RequestFailed),
    )

    def __init_subclass__(cls, venue: str, **more: Any) -> None:
        super().__init_subclass__(**more)
        name = f"{venue}:BTCUSDT:5m"
        at_ms = bybit_payloads.OPEN_MS
        documented = ("16649.5", "16677", "16608", "16677"), "2.081"
        closed = bybit_payloads.push(closed=True)
        usual = ("16649.50", "16677.5", "16608", "16677"), "2.0810"
        cls.codec = staticmethod(of(venue))
        cls.simulator = SIMULATORS.get(venue)
        cls.samples = (
            Sample(
                bybit_payloads.DOCUMENTED_PUSH,
                [candle(name, at_ms, *documented, quote_volume="34666.4005", closed=False)],
            ),
            Sample(closed, [candle(name, at_ms, *usual, quote_volume="34666.4005")]),
            Sample(
                bybit_payloads.push(open_ms=at_ms + 300_000, closed=True),
                [candle(name, at_ms + 300_000, *usual, quote_volume="34666.4005")],
            ),
            Sample(
                bybit_payloads.push(open_ms=at_ms + 600_000),
                [candle(name, at_ms + 600_000, *usual, quote_volume="34666.4005", closed=False)],
            ),
            *(Sample(pong, []) for pong in bybit_payloads.PONGS),
        )
        cls.conversation = (bybit_payloads.SPOT_ACK, bybit_payloads.LINEAR_ACK)
        category = venue.removeprefix("bybit-")
        rows = [bybit_payloads.row(at_ms + 300_000), bybit_payloads.row(at_ms)]
        cls.rows = (
            Rows(
                Stream.parse(name),
                bybit_payloads.rows(*rows, category=category),
                [
                    candle(name, at_ms, *usual, quote_volume="34666.4005"),
                    candle(name, at_ms + 300_000, *usual, quote_volume="34666.4005", closed=False),
                ],
                at_ms + 400_000,
            ),
        )


class TestBybitSpot(BybitConformance, venue="bybit-spot"): ...


class TestBybitLinear(BybitConformance, venue="bybit-linear"): ...


# OKX


def okx_candle(at: int, *, closed: bool) -> Candle:
    """Return what `okx_payloads.row` says."""
    return candle(
        "okx:BTC-USDT:1m",
        okx_payloads.OPEN_MS + at * MINUTE_MS,
        ("77082.7", "77116.6", "77082.6", "77116.5"),
        "1.57843610",
        quote_volume="121697.290334105",
        closed=closed,
    )


class TestOkx(VenueConformance):
    codec = of("okx")
    simulator = SIMULATORS.get("okx")
    samples = (
        Sample(okx_payloads.push(okx_payloads.row()), [okx_candle(0, closed=False)]),
        Sample(okx_payloads.push(okx_payloads.row(closed=True)), [okx_candle(0, closed=True)]),
        Sample(
            okx_payloads.push(
                okx_payloads.row(closed=True), okx_payloads.row(okx_payloads.OPEN_MS + MINUTE_MS, closed=False)
            ),
            [okx_candle(0, closed=True), okx_candle(1, closed=False)],
        ),
        Sample(
            okx_payloads.push(okx_payloads.row(okx_payloads.OPEN_MS + MINUTE_MS, closed=True)),
            [okx_candle(1, closed=True)],
        ),
        Sample(b"pong", []),
    )
    conversation = (
        b'{"event":"subscribe","arg":{"channel":"candle1m","instId":"BTC-USDT"},"connId":"a4d3ae55","id":"1"}',
    )
    symbols = ("BTC-USDT-SWAP", "1000000BABYDOGE-USDT-SWAP")
    no_symbols = ("btc-usdt", "BTC_USDT")
    clocks = (Clock(okx_payloads.answer({"ts": "1597026383085"}), 1_597_026_383_085),)
    rows = (
        Rows(
            okx_payloads.stream(),
            okx_payloads.answer(okx_payloads.row(okx_payloads.OPEN_MS + MINUTE_MS), okx_payloads.row(closed=True)),
            [okx_candle(0, closed=True), okx_candle(1, closed=False)],
            okx_payloads.OPEN_MS + MINUTE_MS + 500,
        ),
    )
    refusals = (
        Refusal(429, okx_payloads.answer(code="50011", msg="Too Many Requests"), RateLimited),
        Refusal(200, okx_payloads.answer(code="51001", msg="Instrument ID doesn't exist"), InvalidSymbol),
        Refusal(503, okx_payloads.answer(code="50001", msg="Service temporarily unavailable"), RequestFailed),
    )


# Bitfinex


def bitfinex_candle(at: int, *, closed: bool) -> Candle:
    """Return what `bitfinex_payloads.row` says."""
    prices = ("7399.9", "7399.9", "7371.8", "7379.7")
    open_ms = bitfinex_payloads.OPEN_MS + at * MINUTE_MS
    return candle("bitfinex:tBTCUSD:1m", open_ms, prices, "41.63633658", closed=closed)


def bitfinex_row(at: int) -> str:
    return str(bitfinex_payloads.row(bitfinex_payloads.OPEN_MS + at * MINUTE_MS))


class TestBitfinex(VenueConformance):
    codec = of("bitfinex")
    simulator = SIMULATORS.get("bitfinex")
    conversation = (b'{"event":"info","version":2,"platform":{"status":1}}', bitfinex_payloads.subscribed(subId="1"))
    samples = (
        Sample(bitfinex_payloads.frame(bitfinex_row(0)), [bitfinex_candle(0, closed=False)]),
        Sample(
            bitfinex_payloads.frame(bitfinex_row(1), bitfinex_payloads.OPEN_MS + MINUTE_MS + 9_000),
            [bitfinex_candle(1, closed=False)],
        ),
        Sample(
            [
                bitfinex_payloads.frame(bitfinex_row(0)),
                bitfinex_payloads.frame(bitfinex_row(1), bitfinex_payloads.OPEN_MS + 2 * MINUTE_MS - 1),
                bitfinex_payloads.heartbeat(bitfinex_payloads.OPEN_MS + 3 * MINUTE_MS),
            ],
            [bitfinex_candle(0, closed=True), bitfinex_candle(1, closed=True)],
        ),
        Sample(b'{"event":"pong","ts":1574698205000,"cid":1}', []),
    )
    symbols = ("tTESTBTC:TESTUSD", "tBTCF0:USTF0")
    no_symbols = ("BTCUSD", "tbtcusd")
    rows = (
        Rows(
            bitfinex_payloads.stream(),
            f"[{bitfinex_row(0)},{bitfinex_row(1)},{bitfinex_row(3)}]".encode(),
            [bitfinex_candle(0, closed=True), bitfinex_candle(1, closed=True), bitfinex_candle(3, closed=False)],
            bitfinex_payloads.OPEN_MS + 3 * MINUTE_MS + 500,
        ),
    )
    clocks = (Clock(b"[1]", 1_681_154_000_500, (("date", "Mon, 10 Apr 2023 19:13:20 GMT"),)),)
    refusals = (
        Refusal(429, b'["error",11010,"ratelimit: error"]', RateLimited),
        Refusal(503, b"", RequestFailed),
    )


TestToyExchange = ToyExchange


def test_every_venue_is_here() -> None:
    here = {suite.new_codec().rules.venue for suite in _suites() if suite is not ToyExchange}
    assert here == set(venues.names())


def _suites() -> list[type[VenueConformance]]:
    return [one for name, one in globals().items() if name.startswith("Test") and issubclass(one, VenueConformance)]


# Codecs that do not conform: Toy Exchange's with one thing wrong.


class Broken(toy_exchange.ToyCodec):
    """Toy Exchange's codec, whose sessions are `kind` and whose rules are changed."""

    kind: ClassVar[type[toy_exchange.ToySession]] = toy_exchange.ToySession
    changes: ClassVar[dict[str, Any]] = {}

    @property
    def rules(self) -> VenueRules:
        return evolve(toy_exchange.RULES, **self.changes)

    def session(self) -> Session:
        return self.kind()


class Raises(Broken):
    class kind(toy_exchange.ToySession):
        def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
            for frame in frames:
                json.loads(frame)
            return super().decode(frames, streams, received_ms)


def changed(decoded: Decoded, change: Callable[[Candle], Candle]) -> Decoded:
    decoded.closed[:] = [(name, change(one)) for name, one in decoded.closed]
    return decoded


def through_float(number: Decimal) -> Decimal:
    return Decimal(str(float(number)))


class Floats(Broken):
    class kind(toy_exchange.ToySession):
        def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
            decoded = super().decode(frames, streams, received_ms)
            return changed(decoded, lambda one: one.replace(high=through_float(one.high)))


class FloatRows(Broken):
    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        rows = super().parse_klines(stream, body, venue_now_ms, received_ms)
        return [row.replace(volume=through_float(row.volume)) for row in rows]


class Remembering(toy_exchange.ToySession):
    """Tells of every closed candle once."""

    def __init__(self) -> None:
        self.told: set[tuple[str, int]] = set()

    def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
        decoded = super().decode(frames, streams, received_ms)
        keys = [(name, one.open_time_ms) for name, one in decoded.closed]
        decoded.closed[:] = [one for key, one in zip(keys, decoded.closed, strict=True) if key not in self.told]
        self.told.update(keys)
        return decoded


class Shares(Broken):
    def __init__(self) -> None:
        self.only = Remembering()

    def session(self) -> Session:
        return self.only


class ClosesRunning(Broken):
    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        rows = super().parse_klines(stream, body, venue_now_ms, received_ms)
        return [row.replace(closed=True) for row in rows]


class DoublesRows(Broken):
    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        rows = super().parse_klines(stream, body, venue_now_ms, received_ms)
        return [row.replace(volume=2 * row.volume) for row in rows]


class SkipsBadRows(Broken):
    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        try:
            return super().parse_klines(stream, body, venue_now_ms, received_ms)
        except MalformedMessage:
            return []


class Sorts(Broken):
    """Rows in whatever order are put in order: what is broken looks right."""

    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        message = json.loads(body)
        message["candles"].sort(key=lambda row: row["at"])
        return super().parse_klines(stream, json.dumps(message).encode(), venue_now_ms, received_ms)


class Invents(Broken):
    class kind(toy_exchange.ToySession):
        def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
            every = {"BTC-USD@1m": Stream.parse("toy-exchange:BTC-USD:1m"), **streams}
            return super().decode(frames, every, received_ms)


class Miscounts(Broken):
    class kind(toy_exchange.ToySession):
        def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
            decoded = super().decode(frames, streams, received_ms)
            decoded.messages -= len(decoded.rejected)
            return decoded


class Reverses(Broken):
    class kind(toy_exchange.ToySession):
        def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
            decoded = super().decode(frames, streams, received_ms)
            decoded.closed.reverse()
            return decoded


class KeepsTheOldest(Broken):
    class kind(toy_exchange.ToySession):
        def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
            decoded = super().decode(frames, streams, received_ms)
            for frame in frames[::-1]:
                decoded.open.update(super().decode([frame], streams, received_ms).open)
            return decoded


class Unfinal(Broken):
    """Takes whatever is pushed for closed."""

    class kind(toy_exchange.ToySession):
        def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
            final = [frame.replace(b'"final":false', b'"final":true') for frame in frames]
            return super().decode(final, streams, received_ms)


class NeverCloses(Broken):
    class kind(toy_exchange.ToySession):
        def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
            decoded = super().decode(frames, streams, received_ms)
            decoded.closed.clear()
            return decoded


class FoldsCase(Broken):
    def stream_name(self, stream: Stream) -> str:
        return super().stream_name(Stream(stream.venue, stream.symbol.upper(), stream.timeframe))


class ForgetsTheTimeframe(Broken):
    def stream_name(self, stream: Stream) -> str:
        return super().stream_name(stream).partition("@")[0]


class AnyTimeframe(Broken):
    def stream_name(self, stream: Stream) -> str:
        return f"{stream.symbol}@{stream.timeframe}"


class IgnoresTheEnd(Broken):
    def klines(self, stream: Stream, start_ms: int | None, end_ms: int | None, limit: int, now_ms: Any = None) -> Any:
        return super().klines(stream, start_ms, None, limit, now_ms)


class Silent(Broken):
    class kind(toy_exchange.ToySession):
        def ping(self) -> None:
            return None


class NoText(Broken):
    class kind(toy_exchange.ToySession):
        def subscribe(self, request_id: int, names: Sequence[str]) -> bytes:
            return super().subscribe(request_id, names)[:-1]


class TrustsErrors(Broken):
    def check_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        if b"error" in json.loads(body):
            raise VenueError(1, "no")
        super().check_answer(status, headers, body)


class Polite(Broken):
    """Takes every status with a body for success."""

    def check_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        if not body:
            super().check_answer(status, headers, body)


class LocalClock(Broken):
    def parse_server_time(self, headers: Mapping[str, str], body: bytes) -> int:
        return int(json.loads(body)["now"])


def with_rules(**changes: Any) -> type[Broken]:
    return type("Changed", (Broken,), {"changes": changes})


DEFECTS: list[tuple[type[Broken], str, str]] = [
    (Raises, "test_nasty_frames", "decode raises JSONDecodeError"),
    (Raises, "test_anything_is_survived", "decode raises"),
    (Floats, "test_every_digit_is_kept", "never through a float"),
    (FloatRows, "test_every_digit_of_rows_is_kept", "never through a float"),
    (Shares, "test_sessions_know_nothing_of_each_other", "two connections hear|a new connection makes"),
    (ClosesRunning, "test_no_row_is_closed_while_its_interval_runs", "ms before its interval is over"),
    (SkipsBadRows, "test_broken_rows_are_refused", "half an answer is no answer"),
    (Sorts, "test_broken_rows_are_refused", "in the wrong order are taken|raises JSONDecodeError"),
    (Invents, "test_nothing_is_told_of_what_is_not_watched", "not among `streams`"),
    (Miscounts, "test_nasty_frames", "1 frames are counted as 0"),
    (Reverses, "test_a_batch_says_what_its_frames_say", "as a batch close"),
    (KeepsTheOldest, "test_a_batch_says_what_its_frames_say", "the newest open candle"),
    (Unfinal, "test_samples_are_decoded_exactly", "and were decoded to"),
    (FoldsCase, "test_any_text_is_a_symbol_or_refused", "have the same name"),
    (ForgetsTheTimeframe, "test_every_stream_has_a_name_of_its_own", "are both called"),
    (AnyTimeframe, "test_foreign_timeframes_are_refused", "has the name"),
    (AnyTimeframe, "test_what_is_no_symbol_is_refused", "passes for a symbol"),
    (AnyTimeframe, "test_what_is_no_unicode_text_is_refused", "passes for a symbol"),
    (IgnoresTheEnd, "test_requests_for_rows", "are the same"),
    (IgnoresTheEnd, "test_the_simulators_rows", "due were"),
    (Silent, "test_the_keepalive_has_something_to_say", r"ping\(\) returns None"),
    (NoText, "test_requests_are_text_frames", "begins like JSON and is none"),
    (TrustsErrors, "test_any_answer_is_good_or_refused_as_documented", "check_answer raises"),
    (Polite, "test_statuses_that_say_enough", "became None"),
    (LocalClock, "test_the_clock", "KeyError|JSONDecodeError|TypeError"),
    (with_rules(timeframes=toy_exchange.RULES.timeframes[::-1]), "test_timeframes", "not the shortest first"),
    (with_rules(timeframes=toy_exchange.RULES.timeframes[1:]), "test_timeframes", "7m"),
    (with_rules(connects=0), "test_limits_are_positive", "connects is 0"),
    (with_rules(gives=frozenset({"volume"})), "test_samples_are_decoded_exactly", "not in `VenueRules.gives`"),
    (with_rules(gives=frozenset({"volume", "quote_volume", "trades"})), "test_rows_are_read_exactly", "no Decimal"),
    (with_rules(lists_subscriptions=True), "test_the_list_is_asked_for_exactly_where_the_venue_lists", "is True"),
    (with_rules(max_request_bytes=300), "test_the_longest_names_are_within_the_limits", "allowed are 300"),
    (with_rules(max_characters_per_connection=2_000), "test_the_longest_names_are_within_the_limits", "allowed are"),
    (
        with_rules(endpoints=Endpoints("wss://stream.toy.example/v1", "https://api.toy.example")),
        "test_endpoints_have_no_path",
        "is not wss://",
    ),
    (NeverCloses, "test_a_life_is_what_the_market_says", "no closed candle came over the WebSocket"),
    (with_rules(skips_empty=False), "test_a_life_is_what_the_market_says", "[1-9][0-9]* gaps"),
    (DoublesRows, "test_a_life_with_dropped_connections", "[1-9][0-9]* wrong"),
]


@pytest.mark.parametrize(("kind", "test", "says"), DEFECTS, ids=lambda value: getattr(value, "__name__", None))
def test_defects_are_found(kind: type[Broken], test: str, says: str) -> None:
    suite = type("Suite", (ToyExchange,), {"codec": kind})()
    with pytest.raises(AssertionError, match=says) as caught:
        getattr(suite, test)()
    assert "The rule: candleactors." in str(caught.value)


def test_a_suite_without_candles_is_no_suite() -> None:
    for samples, says in (
        ([0, 1, 2, 4], "no two open candles"),
        ([0, 1, 2, 3], None),
        ([0, 1, 3], "two different closed"),
    ):
        suite = type("Suite", (ToyExchange,), {"samples": [ToyExchange.samples[index] for index in samples]})()
        if says is None:
            suite.test_samples_are_enough()
            continue
        with pytest.raises(AssertionError, match=says):
            suite.test_samples_are_enough()

"""The codec of Toy Exchange, a spot market that does not exist."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from candleactors.errors import (
    InvalidSymbol,
    InvalidTimeframe,
    MalformedMessage,
    RateLimited,
    RequestFailed,
    VenueError,
    excerpt,
)
from candleactors.model import Candle, Source, Stream, Ticker, Timeframe
from candleactors.venues.answers import (
    MAX_ERROR_BYTES,
    MAX_LIST_BYTES,
    MAX_ROWS_BYTES,
    checked_ms,
    decode,
    retry_after_s,
)
from candleactors.venues.base import (
    Acked,
    Decoded,
    Endpoints,
    Instrument,
    InstrumentPage,
    Keepalive,
    Refused,
    RestRequest,
    Session,
    VenueRules,
)
from candleactors.venues.candles import build_candle, is_open_time
from candleactors.venues.decimals import plain_decimal
from candleactors.venues.unified import unified

RULES: Final = VenueRules(
    venue="toy-exchange",
    title="Toy Exchange",
    docs_url="https://docs.toy.example",
    endpoints=Endpoints("wss://stream.toy.example", "https://api.toy.example"),
    testnet=None,
    markets=("spot",),
    timeframes=tuple(map(Timeframe, ("1m", "5m", "1h", "1d"))),
    max_streams_per_connection=100,
    max_names_per_request=20,
    lifetime_s=86_400.0,
    messages_per_s=5.0,
    connects=60,
    connects_window_s=60.0,
    rest_weight=1_200,  # every request weighs 1
    rest_window_s=60.0,
    klines_limit=500,
    keepalive=Keepalive(interval_s=20.0),
    skips_empty=True,
    gives=frozenset({"volume", "trades"}),
)
MAX_FRAME_BYTES: Final = 64 << 10
_SYMBOL: Final = re.compile(r"[A-Z0-9]{1,15}-[A-Z0-9]{2,10}")


# WebSocket: every message is an object, and its members say what it is.


class _Numbers(msgspec.Struct, forbid_unknown_fields=True):
    """A candle. Prices and volumes are strings, so that no digit is lost."""

    at: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    trades: int

    def candle(self, stream: Stream, source: Source, received_ms: int, *, closed: bool) -> Candle:
        """Return the exact candle; raises `ValueError` where it is none."""
        if not is_open_time(stream.timeframe, self.at):
            raise ValueError(f"no candle of {stream.timeframe} opens then")
        return build_candle(
            stream,
            self.at,
            prices=(self.open, self.high, self.low, self.close),
            amounts=(self.volume, None, None, None),
            trades=self.trades,
            closed=closed,
            source=source,
            received_ms=received_ms,
        )


class _Message(msgspec.Struct):
    channel: str | None = None
    sent: int = 0
    candle: _Numbers | None = None
    final: bool = False
    id: int | None = None
    ok: bool | None = None
    error: str = ""
    culprits: tuple[str, ...] = ()
    closing: bool = False


class _Forming(msgspec.Struct):
    """An open candle as it came: converted only when somebody wants it."""

    numbers: _Numbers
    event_time_ms: int

    @property
    def open_time_ms(self) -> int:
        return self.numbers.at

    @property
    def traded(self) -> float:
        return 0.0  # the event time already tells which of two is newer

    def to_candle(self, stream: Stream, received_ms: int) -> Candle:
        try:
            return self.numbers.candle(stream, Source.WS, received_ms, closed=False)
        except ValueError as error:
            raise MalformedMessage(str(error), repr(self.numbers)) from None


_message: Final = msgspec.json.Decoder(_Message).decode


class ToySession:
    """One connection. This exchange gives nothing to remember."""

    def opening(self) -> Sequence[bytes]:
        return ()

    def subscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        return msgspec.json.encode({"op": "subscribe", "id": request_id, "channels": list(names)})

    def unsubscribe(self, request_id: int, names: Sequence[str]) -> bytes | None:
        return msgspec.json.encode({"op": "unsubscribe", "id": request_id, "channels": list(names)})

    def list_subscriptions(self, request_id: int) -> bytes | None:
        return None

    def ping(self) -> bytes | None:
        return b'{"op":"ping"}'

    def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
        decoded = Decoded(messages=len(frames))
        for frame in frames:
            try:
                if len(frame) > MAX_FRAME_BYTES:
                    raise ValueError(f"a frame of {len(frame)} bytes")
                frame.decode()  # msgspec looks only at the text that it keeps
                _understand(_message(frame), streams, received_ms, decoded)
            except (ValueError, RecursionError) as error:
                decoded.rejected.append(MalformedMessage(excerpt(str(error)), frame))
        return decoded


def _understand(message: _Message, streams: Mapping[str, Stream], received_ms: int, decoded: Decoded) -> None:
    """Add what `message` says to `decoded`; raises `ValueError` where it makes no sense."""
    name, numbers = message.channel, message.candle
    if message.closing:
        decoded.closing_soon = True
    elif message.id is not None and message.ok is not None:
        answer = Acked(message.id) if message.ok else Refused(message.id, 0, message.error, message.culprits or None)
        decoded.replies.append(answer)
    elif name is None or numbers is None or name not in streams:
        decoded.ignored += 1
    elif message.final:
        decoded.closed.append((name, numbers.candle(streams[name], Source.WS, received_ms, closed=True)))
    else:
        if not is_open_time(streams[name].timeframe, numbers.at):
            raise ValueError("no candle opens then")
        known = decoded.open.get(name)
        if known is None or known.open_time_ms <= numbers.at:
            decoded.open[name] = _Forming(numbers, message.sent)


# REST


class _Rows(msgspec.Struct):
    candles: list[_Numbers]


class _Clock(msgspec.Struct):
    now: int


class _Market(msgspec.Struct):
    symbol: str
    base: str
    quote: str
    trades: bool


class _Markets(msgspec.Struct):
    markets: list[_Market]


class _Last(msgspec.Struct):
    symbol: str
    last: str
    volume: str


class _Tickers(msgspec.Struct):
    tickers: list[_Last]


class _Error(msgspec.Struct):
    code: int
    message: str


_ROWS: Final = msgspec.json.Decoder(_Rows)
_CLOCK: Final = msgspec.json.Decoder(_Clock)
_MARKETS: Final = msgspec.json.Decoder(_Markets)
_TICKERS: Final = msgspec.json.Decoder(_Tickers)
_ERROR: Final = msgspec.json.Decoder(_Error)


class ToyCodec:
    """The dialect of Toy Exchange, see `candleactors.venues.base.Codec`."""

    @property
    def rules(self) -> VenueRules:
        return RULES

    def websocket_url(self, base: str) -> str:
        return f"{base}/v1"

    def stream_name(self, stream: Stream) -> str:
        if stream.timeframe not in RULES.timeframes:
            raise InvalidTimeframe(f'{RULES.title} has no timeframe "{stream.timeframe}"')
        if _SYMBOL.fullmatch(stream.symbol) is None:
            guess = stream.symbol.upper().replace("/", "-").replace("_", "-")
            nearest = guess if _SYMBOL.fullmatch(guess) else None
            raise InvalidSymbol(f'"{excerpt(stream.symbol, 64)}" is not a symbol of {RULES.title}', nearest=nearest)
        return f"{stream.symbol}@{stream.timeframe}"

    def session(self) -> Session:
        return ToySession()

    def klines(
        self, stream: Stream, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int | None = None
    ) -> RestRequest:
        params = [("symbol", stream.symbol), ("timeframe", str(stream.timeframe)), ("limit", str(limit))]
        if start_ms is not None:
            params.append(("start", str(start_ms)))
        if end_ms is not None:
            params.append(("end", str(end_ms)))
        return RestRequest("/v1/candles", tuple(params))

    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        candles: list[Candle] = []
        for row in decode(_ROWS, body, MAX_ROWS_BYTES).candles:
            if candles and row.at <= candles[-1].open_time_ms:
                raise MalformedMessage("rows are not in ascending order", repr(row))
            try:
                candle = row.candle(stream, Source.REST, received_ms, closed=False)
            except ValueError as error:
                raise MalformedMessage(str(error), repr(row)) from None
            candles.append(candle.replace(closed=candle.next_open_time_ms <= venue_now_ms))
        return candles

    def server_time(self) -> RestRequest:
        return RestRequest("/v1/time")

    def parse_server_time(self, headers: Mapping[str, str], body: bytes) -> int:
        return checked_ms(decode(_CLOCK, body, MAX_ERROR_BYTES).now, body)

    def instruments(self, page: str | None = None) -> RestRequest:
        return RestRequest("/v1/markets")

    def parse_instruments(self, body: bytes, page: str | None = None) -> InstrumentPage:
        markets = decode(_MARKETS, body, MAX_LIST_BYTES).markets
        return InstrumentPage(
            tuple(Instrument(one.symbol, unified(one.base, one.quote), one.trades) for one in markets)
        )

    def tickers(self) -> tuple[RestRequest, ...]:
        return (RestRequest("/v1/tickers"),)

    def parse_tickers(self, body: bytes) -> list[Ticker]:
        try:
            return [
                Ticker(RULES.venue, one.symbol, plain_decimal(one.last), None, plain_decimal(one.volume), None)
                for one in decode(_TICKERS, body, MAX_LIST_BYTES).tickers
            ]
        except ValueError as error:
            raise MalformedMessage(str(error), body) from None

    def check_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        if 200 <= status < 300:
            return
        try:
            error = decode(_ERROR, body, MAX_ERROR_BYTES)
        except MalformedMessage:
            error = _Error(status, "")
        message = excerpt(error.message)
        if status in (418, 429):
            raise RateLimited(status, retry_after_s(headers), message)
        if status == 404 and error.code == 7:
            raise InvalidSymbol("the venue does not know this symbol")
        if not 400 <= status < 500:
            raise RequestFailed(f"answered with {status}: {message}", status=status)
        raise VenueError(error.code, message, status=status)

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        return None


def codec() -> ToyCodec:
    """Return the codec: what the entry point names."""
    return ToyCodec()

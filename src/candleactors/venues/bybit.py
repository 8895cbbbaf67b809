"""The codecs of Bybit's public v5 interface: spot, and linear futures (perpetual and dated, settled in USDT or USDC).

Both markets trade symbols of the same names over connections of their own. `decode` is the hot path: one typed
decoding of the frame, a handful of comparisons, and nothing converted that may be conflated away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

import msgspec

from candleactors.errors import InvalidSymbol, LocalProtocolError, MalformedMessage, excerpt
from candleactors.model import Candle, Stream, Ticker
from candleactors.venues import bybit_rest
from candleactors.venues.base import (
    Decoded,
    InstrumentPage,
    RestRequest,
    Session,
    VenueRules,
    is_newer,
)
from candleactors.venues.bybit_kline import LATEST_EVENT_MS, Kline, KlinePush, has_each_key_once
from candleactors.venues.bybit_reply import understand
from candleactors.venues.bybit_rules import INTERVALS, LINEAR, MAX_SYMBOL_CHARACTERS, SPOT, Market, topic
from candleactors.venues.unified import is_unified

MAX_FRAME_BYTES: Final = 64 << 10
"""Longer frames are refused unread. A kline takes 280 bytes."""

_SYMBOL: Final = re.compile(rf"[A-Z0-9-]{{1,{MAX_SYMBOL_CHARACTERS}}}", re.ASCII)
_PING: Final = b'{"op":"ping"}'
_INSTRUMENTS_LIMIT: Final = 1000

_decode: Final = msgspec.json.Decoder(KlinePush).decode


class BybitCodec:
    """The dialect of one Bybit market, see `candleactors.venues.base.Codec`.

    Nothing has to be remembered of a connection, so that the codec is the `Session` of all of them.
    """

    def __init__(self, market: Market) -> None:
        self._market = market

    @property
    def rules(self) -> VenueRules:
        """Limits and addresses of this market."""
        return self._market.rules

    def websocket_url(self, base: str) -> str:
        """Return the URL of this market's public streams."""
        return f"{base.rstrip('/')}/v5/public/{self._market.category}"

    def stream_name(self, stream: Stream) -> str:
        """Return ``kline.<interval>.<symbol>``.

        Raises `InvalidSymbol` or `InvalidTimeframe` where Bybit can have no such stream.
        """
        symbol, timeframe = stream.symbol, stream.timeframe
        self.rules.check_timeframe(timeframe)
        if _SYMBOL.fullmatch(symbol) is None:
            raise InvalidSymbol(
                f'"{excerpt(symbol, 64)}" is not a symbol of {self.rules.title}', nearest=_nearest(symbol)
            )
        return topic(INTERVALS[timeframe], symbol)

    def session(self) -> Session:
        """Return the codec itself: a connection has no state of its own."""
        return self

    def opening(self) -> Sequence[bytes]:
        """Return nothing: the venue waits for requests."""
        return ()

    def ping(self) -> bytes:
        """Return the text frame that keeps a connection alive; the venue answers it."""
        return _PING

    def subscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the text frame that subscribes `names`."""
        return _request(request_id, "subscribe", names)

    def unsubscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the text frame that unsubscribes `names`."""
        return _request(request_id, "unsubscribe", names)

    def list_subscriptions(self, request_id: int) -> None:
        """Return ``None``: the venue has no such request."""

    def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
        """Return what `frames` say about `streams`; never raises, see `candleactors.venues.base.Session.decode`.

        Forming candles are checked here but for their prices, which `to_candle` checks: a candle that is conflated
        away costs no more. Of a duplicate key in a lone forming candle the last counts; any other message with one is
        rejected. A push of several candles counts as a whole or not at all.
        """
        decoded = Decoded(messages=len(frames))
        forming = cast("dict[str, Kline]", decoded.open)  # which is all that this codec puts there
        for frame in frames:
            if len(frame) <= MAX_FRAME_BYTES:
                try:
                    push = _decode(frame)
                    _ = frame.isascii() or frame.decode()  # msgspec checks only the text that it keeps
                except (ValueError, RecursionError):
                    pass
                else:
                    klines = push.klines
                    if len(klines) == 1 and not klines[0].closed:
                        kline = klines[0]
                        name = push.name
                        kline.event_time_ms = event_ms = push.ts
                        known = forming.get(name)
                        # What agrees with a checked one about everything that is checked needs no check of its own.
                        if (
                            known is not None
                            and kline.open_time_ms == known.open_time_ms
                            and kline.end_time_ms == known.end_time_ms
                            and kline.interval == known.interval
                            and known.event_time_ms <= event_ms <= LATEST_EVENT_MS
                        ):
                            forming[name] = kline
                            continue
                        stream = streams.get(name)
                        if stream is not None and kline.problem(name, stream) is None:
                            if known is None or not is_newer(known, kline):
                                forming[name] = kline
                            continue
                    elif klines and has_each_key_once(frame, push):
                        try:
                            _add(push, streams, received_ms, decoded)
                        except (MalformedMessage, ValueError) as error:
                            decoded.reject(error, frame)
                        continue
            _decode_strictly(frame, streams, received_ms, decoded)
        return decoded

    def klines(
        self, stream: Stream, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int | None = None
    ) -> RestRequest:
        """Return the request for rows opening in [`start_ms`, `end_ms`]; `limit` is cut to the venue's own.

        It is not documented whether an answer from a start on holds the rows right behind it or the newest ones, so
        no more intervals are ever asked for than the answer may have rows. Neither is it documented whether an end
        belongs to what is asked for: it is the last millisecond of an interval, which reads the same either way.
        """
        if limit < 1:
            raise LocalProtocolError(f"a request for {limit} rows")
        limit = min(limit, self.rules.klines_limit)
        timeframe = stream.timeframe
        params = [
            ("category", self._market.category),
            ("symbol", stream.symbol),
            ("interval", INTERVALS[timeframe]),
        ]
        last_ms = None if end_ms is None else timeframe.close_ms(timeframe.floor(end_ms))
        if start_ms is not None:
            window_ms = timeframe.advance(start_ms, limit) - 1
            last_ms = window_ms if last_ms is None else min(last_ms, window_ms)
            params.append(("start", str(start_ms)))
        if last_ms is not None:
            params.append(("end", str(last_ms)))
        params.append(("limit", str(limit)))
        return RestRequest("/v5/market/kline", tuple(params))

    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        """Return the rows as candles; raises `MalformedMessage` if one of them is not valid or out of order."""
        return bybit_rest.parse_klines(self._market.category, stream, body, venue_now_ms, received_ms)

    def server_time(self) -> RestRequest:
        """Return the request for the venue's clock."""
        return RestRequest("/v5/market/time")

    def parse_server_time(self, headers: Mapping[str, str], body: bytes) -> int:
        """Return the venue's clock in ms; raises `MalformedMessage`."""
        return bybit_rest.parse_server_time(body)

    def instruments(self, page: str | None = None) -> RestRequest:
        """Return the request for the list of instruments; the `page` is a cursor of the venue's.

        Unless asked for another status, the venue lists what trades now, and nothing else.
        """
        params = [("category", self._market.category), ("limit", str(_INSTRUMENTS_LIMIT))]
        if page is not None:
            params.append(("cursor", page))
        return RestRequest("/v5/market/instruments-info", tuple(params))

    def parse_instruments(self, body: bytes, page: str | None = None) -> InstrumentPage:
        """Return the instruments of one answer, to the request for `page`; raises `MalformedMessage`."""
        return bybit_rest.parse_instruments(self._market.category, body, page)

    def tickers(self) -> tuple[RestRequest, ...]:
        """Return the request for the tickers of all symbols."""
        return (RestRequest("/v5/market/tickers", (("category", self._market.category),)),)

    def parse_tickers(self, body: bytes) -> list[Ticker]:
        """Return the tickers; raises `MalformedMessage`."""
        return bybit_rest.parse_tickers(self._market.category, self.rules.venue, body)

    def check_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raise what a REST answer means; most refusals come with HTTP 200."""
        bybit_rest.check_answer(status, headers, body)

    def used_weight(self, headers: Mapping[str, str]) -> None:
        """Return ``None``: what the venue's headers count is one user's requests of one kind, not the address's."""


def spot() -> BybitCodec:
    """Return the codec of Bybit's spot market."""
    return BybitCodec(SPOT)


def linear() -> BybitCodec:
    """Return the codec of Bybit's linear futures."""
    return BybitCodec(LINEAR)


def _request(request_id: int, op: str, names: Sequence[str]) -> bytes:
    return msgspec.json.encode({"req_id": str(request_id), "op": op, "args": list(names)})


def _nearest(symbol: str) -> str | None:
    """Guess the symbol meant by one in lower case, or in the unified notation of all but dated contracts."""
    guess = symbol.upper()
    if is_unified(guess):
        pair, _, settle = guess.partition(":")
        base, _, quote = pair.partition("/")
        guess = f"{base}PERP" if quote == settle == "USDC" else base + quote
        if settle not in ("", quote):
            return None
    return guess if _SYMBOL.fullmatch(guess) else None


def _decode_strictly(frame: bytes, streams: Mapping[str, Stream], received_ms: int, decoded: Decoded) -> None:
    """Add to `decoded` what a message means that is no plain push of believable candles."""
    try:
        if len(frame) > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {len(frame)} bytes")
        meaning = understand(frame)
        if isinstance(meaning, KlinePush):
            _add(meaning, streams, received_ms, decoded)
        elif meaning:
            decoded.replies += meaning
        else:
            decoded.ignored += 1
    except (MalformedMessage, ValueError) as error:
        decoded.reject(error, frame)


def _add(push: KlinePush, streams: Mapping[str, Stream], received_ms: int, decoded: Decoded) -> None:
    """Add the candles of `push` to `decoded`; raises `MalformedMessage` or `ValueError` for it as a whole."""
    name = push.name
    stream = streams.get(name)
    if stream is None:
        decoded.ignored += 1
        return
    forming: list[Kline] = []
    closed: list[tuple[str, Candle]] = []
    for kline in push.klines:
        kline.event_time_ms = push.ts
        problem = kline.problem(name, stream)
        if problem is not None:
            raise ValueError(problem)
        if kline.closed:
            closed.append((name, kline.to_candle(stream, received_ms)))
        else:
            forming.append(kline)
    decoded.closed += closed
    for kline in forming:
        known = decoded.open.get(name)
        if known is None or not is_newer(known, kline):
            decoded.open[name] = kline

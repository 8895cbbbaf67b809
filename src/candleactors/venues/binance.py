"""The codecs of Binance: spot and USD-M futures speak one language with different addresses and limits.

Connections always use the combined form, in which every message names its stream. `decode` is the hot path of the whole
package: one typed decoding of the frame, a handful of comparisons, and nothing converted that may be conflated away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

import msgspec

from candleactors.errors import InvalidSymbol, LocalProtocolError, MalformedMessage, excerpt
from candleactors.model import Candle, Stream, Ticker
from candleactors.venues import binance_rest
from candleactors.venues.base import (
    ClosingSoon,
    Decoded,
    InstrumentPage,
    RestRequest,
    Session,
    VenueRules,
    is_newer,
)
from candleactors.venues.binance_kline import LATEST_EVENT_MS, CombinedKline, KlineEvent, has_each_key_once
from candleactors.venues.binance_reply import Ignored, KlineMessage, understand
from candleactors.venues.binance_rules import SPOT, USDM, Market

MAX_FRAME_BYTES: Final = 64 << 10
"""Longer frames are refused unread. A kline takes 360 bytes, the longest list of 1,024 subscriptions about 30,000."""

# What would end a name, be escaped in it or be no text at all, and the hyphen, which other venues put between two
# currencies and Binance never does. Letters of any script are allowed: Binance trades such symbols.
_SYMBOL: Final = re.compile(r"""[^-\s@/\\"'?&#%,:\x00-\x1f\x7f\ud800-\udfff]{1,64}""")

_decode: Final = msgspec.json.Decoder(CombinedKline).decode


class BinanceCodec:
    """The dialect of one Binance market, see `candleactors.venues.base.Codec`.

    Nothing has to be remembered of a connection, so that the codec is the `Session` of all of them.
    """

    def __init__(self, market: Market) -> None:
        self._market = market

    @property
    def rules(self) -> VenueRules:
        """Limits and addresses of this market."""
        return self._market.rules

    def websocket_url(self, base: str) -> str:
        """Return the URL of the combined streams."""
        return base.rstrip("/") + self._market.websocket_path

    def stream_name(self, stream: Stream) -> str:
        """Return ``<symbol in lower case>@kline_<timeframe>``.

        Raises `InvalidSymbol` or `InvalidTimeframe` where Binance can have no such stream.
        """
        symbol, timeframe = stream.symbol, stream.timeframe
        self.rules.check_timeframe(timeframe)
        if _SYMBOL.fullmatch(symbol) is None:
            raise InvalidSymbol(f'"{excerpt(symbol, 64)}" is not a symbol of {self.rules.title}')
        if symbol != symbol.upper():
            raise InvalidSymbol(f'"{symbol}" is not a symbol of {self.rules.title}', nearest=symbol.upper())
        return _name(symbol, timeframe.text)

    def session(self) -> Session:
        """Return the codec itself: a connection has no state of its own."""
        return self

    def opening(self) -> Sequence[bytes]:
        """Return nothing: the venue waits for requests."""
        return ()

    def ping(self) -> None:
        """Return ``None``: ping frames it is."""

    def subscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the text frame that subscribes `names`."""
        return msgspec.json.encode({"method": "SUBSCRIBE", "params": list(names), "id": request_id})

    def unsubscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the text frame that unsubscribes `names`."""
        return msgspec.json.encode({"method": "UNSUBSCRIBE", "params": list(names), "id": request_id})

    def list_subscriptions(self, request_id: int) -> bytes:
        """Return the text frame that asks for the names subscribed on this connection."""
        return msgspec.json.encode({"method": "LIST_SUBSCRIPTIONS", "id": request_id})

    def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
        """Return what `frames` say about `streams`; never raises, see `candleactors.venues.base.Codec.decode`.

        Forming candles are checked here but for their prices, which `to_candle` checks: a candle that is conflated
        away costs no more. Of a duplicate key in a forming candle the last counts; any other message with one is
        rejected.
        """
        decoded = Decoded(messages=len(frames))
        forming = cast("dict[str, KlineEvent]", decoded.open)  # which is all that this codec puts there
        for frame in frames:
            if len(frame) <= MAX_FRAME_BYTES:
                try:
                    message = _decode(frame)
                    _ = frame.isascii() or frame.decode()  # msgspec checks only the text that it keeps
                except (ValueError, RecursionError):
                    pass
                else:
                    event = message.data
                    name = message.stream
                    stream = streams.get(name)
                    kline = event.kline
                    known = forming.get(name)
                    # What agrees with a checked event about everything that is checked needs no check of its own.
                    if known is not None and not kline.closed:
                        checked = known.kline
                        if (
                            kline.open_time_ms == checked.open_time_ms
                            and kline.end_time_ms == checked.end_time_ms
                            and kline.symbol == event.symbol == checked.symbol
                            and kline.interval == checked.interval
                            and known.event_time_ms <= event.event_time_ms <= LATEST_EVENT_MS
                        ):
                            forming[name] = event
                            continue
                    if stream is not None and event.problem(stream) is None:
                        if not kline.closed:
                            if known is None or not is_newer(known, event):
                                forming[name] = event
                            continue
                        if has_each_key_once(frame, event):
                            try:
                                decoded.closed.append((name, event.to_candle(stream, received_ms)))
                            except MalformedMessage as error:
                                decoded.reject(error, frame)
                            continue
            _decode_strictly(frame, streams, received_ms, decoded)
        return decoded

    def klines(
        self, stream: Stream, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int | None = None
    ) -> RestRequest:
        """Return the request for rows opening in [`start_ms`, `end_ms`]; `limit` is cut to the venue's own."""
        if limit < 1:
            raise LocalProtocolError(f"a request for {limit} rows")
        limit = min(limit, self.rules.klines_limit)
        params = [("symbol", stream.symbol), ("interval", stream.timeframe.text)]
        if start_ms is not None:
            params.append(("startTime", str(start_ms)))
        if end_ms is not None:
            params.append(("endTime", str(end_ms)))
        params.append(("limit", str(limit)))
        return RestRequest(self._market.rest_prefix + "/klines", tuple(params), self._market.klines_weight(limit))

    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        """Return the rows as candles; raises `MalformedMessage` if one of them is not valid or out of order."""
        return binance_rest.parse_klines(stream, body, venue_now_ms, received_ms)

    def server_time(self) -> RestRequest:
        """Return the request for the venue's clock."""
        return RestRequest(self._market.rest_prefix + "/time")

    def parse_server_time(self, headers: Mapping[str, str], body: bytes) -> int:
        """Return the venue's clock in ms; raises `MalformedMessage`."""
        return binance_rest.parse_server_time(body)

    def instruments(self, page: str | None = None) -> RestRequest:
        """Return the request for the list of symbols, which has one page."""
        return RestRequest(self._market.rest_prefix + "/exchangeInfo", weight=self._market.symbols_weight)

    def parse_instruments(self, body: bytes, page: str | None = None) -> InstrumentPage:
        """Return every symbol; raises `MalformedMessage`."""
        return InstrumentPage(binance_rest.parse_instruments(body))

    def tickers(self) -> tuple[RestRequest, ...]:
        """Return the request for the tickers of all symbols."""
        return (RestRequest(self._market.rest_prefix + "/ticker/24hr", weight=self._market.tickers_weight),)

    def parse_tickers(self, body: bytes) -> list[Ticker]:
        """Return the tickers; raises `MalformedMessage`."""
        return binance_rest.parse_tickers(self.rules.venue, body)

    def check_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raise what a REST answer other than success means; 403, the firewall, is `RateLimited` too."""
        binance_rest.check_answer(status, headers, body)

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        """Return the weight used in the current minute as Binance counts it."""
        return binance_rest.used_weight(headers)


def spot() -> BinanceCodec:
    """Return the codec of Binance's spot market."""
    return BinanceCodec(SPOT)


def usdm() -> BinanceCodec:
    """Return the codec of Binance's USD-M futures."""
    return BinanceCodec(USDM)


def _name(symbol: str, interval: str) -> str:
    return f"{symbol.lower()}@kline_{interval}"


def _decode_strictly(frame: bytes, streams: Mapping[str, Stream], received_ms: int, decoded: Decoded) -> None:
    """Add to `decoded` what a message means that is no believable forming candle: a closed one, most of the time."""
    try:
        if len(frame) > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {len(frame)} bytes")
        meaning = understand(frame)
        if isinstance(meaning, KlineMessage):
            _add_kline(meaning, streams, received_ms, decoded)
        elif isinstance(meaning, ClosingSoon):
            decoded.closing_soon = True
        elif isinstance(meaning, Ignored):
            decoded.ignored += 1
        else:
            decoded.replies.append(meaning)
    except (MalformedMessage, ValueError) as error:
        decoded.reject(error, frame)


def _add_kline(message: KlineMessage, streams: Mapping[str, Stream], received_ms: int, decoded: Decoded) -> None:
    event = message.event
    name = _name(event.symbol, event.kline.interval)
    if message.name is not None and not _same_name(message.name, name):
        raise ValueError("symbol or interval contradict the name of the stream")
    stream = streams.get(name)
    if stream is None:
        decoded.ignored += 1
        return
    if event.kline.closed:
        decoded.closed.append((name, event.to_candle(stream, received_ms)))
        return
    problem = event.problem(stream)
    if problem is not None:
        raise ValueError(problem)
    known = decoded.open.get(name)
    if known is None or not is_newer(known, event):
        decoded.open[name] = event


def _same_name(one: str, other: str) -> bool:
    """Whether both name one stream, however the venue lowers the letters of a symbol; ``1m`` is never ``1M``."""
    one_symbol, _, one_kind = one.partition("@")
    other_symbol, _, other_kind = other.partition("@")
    return one_kind == other_kind and one_symbol.casefold() == other_symbol.casefold()

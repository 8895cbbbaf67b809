"""The codec of OKX v5: one venue, spot and perpetual swaps together.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-candlesticks-channel

Wire names are ``<channel>:<instId>``, such as ``candle1m:BTC-USDT``. Timeframes from 6 hours on use the channels that
open in UTC, for which REST has the same word: the plain ones open in UTC+8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import msgspec

from candleactors.errors import InvalidSymbol, LocalProtocolError, MalformedMessage, excerpt
from candleactors.model import Candle, Stream, Ticker
from candleactors.venues import okx_rest
from candleactors.venues.base import ClosingSoon, Decoded, InstrumentPage, RestRequest, Session, VenueRules
from candleactors.venues.okx_candle import Push, Row, has_each_key_once
from candleactors.venues.okx_reply import Ignored, understand
from candleactors.venues.okx_rules import BARS, RULES, SYMBOL, WEBSOCKET_PATH

MAX_FRAME_BYTES: Final = 64 << 10
"""Longer frames are refused unread. A push takes about 200 bytes."""

_QUOTES: Final = ("USDT", "USDC", "USD", "EUR", "BTC", "ETH")
_PAGES: Final = {None: "SPOT", "SWAP": "SWAP"}

_decode: Final = msgspec.json.Decoder(Push).decode


class OkxCodec:
    """The dialect of OKX, see `candleactors.venues.base.Codec`.

    Nothing has to be remembered of a connection, so that the codec is the `Session` of all of them.
    """

    @property
    def rules(self) -> VenueRules:
        """Limits and addresses."""
        return RULES

    def websocket_url(self, base: str) -> str:
        """Return the URL of the connections that carry candles."""
        return base.rstrip("/") + WEBSOCKET_PATH

    def stream_name(self, stream: Stream) -> str:
        """Return ``candle<bar>:<instId>``.

        Raises `InvalidSymbol` or `InvalidTimeframe` where OKX can have no such stream.
        """
        symbol, timeframe = stream.symbol, stream.timeframe
        RULES.check_timeframe(timeframe)
        if not _is_symbol(symbol):
            raise InvalidSymbol(
                f'"{excerpt(symbol, 64)}" is not a symbol of {RULES.title}', nearest=_nearest_symbol(symbol)
            )
        return f"candle{BARS[timeframe]}:{symbol}"

    def session(self) -> Session:
        """Return the codec itself: a connection has no state of its own."""
        return self

    def opening(self) -> Sequence[bytes]:
        """Return nothing: the venue waits for requests."""
        return ()

    def ping(self) -> bytes:
        """Return the text ``ping``, which is answered with the text ``pong``."""
        return b"ping"

    def subscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the text frame that subscribes `names`."""
        return _request("subscribe", request_id, names)

    def unsubscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the text frame that unsubscribes `names`."""
        return _request("unsubscribe", request_id, names)

    def list_subscriptions(self, request_id: int) -> bytes | None:
        """Return ``None``: the venue cannot list."""
        return None

    def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
        """Return what `frames` say about `streams`; never raises, see `candleactors.venues.base.Session.decode`.

        Forming candles are checked here but for their prices, which `to_candle` checks. Of a duplicate key in a
        forming candle the last counts; any other message with one is rejected. The venue's word that a candle is
        closed is taken: there is no time in a push to compare it with.
        """
        decoded = Decoded(messages=len(frames))
        forming = cast("dict[str, Row]", decoded.open)  # which is all that this codec puts there
        for frame in frames:
            if len(frame) <= MAX_FRAME_BYTES:
                try:
                    push = _decode(frame)
                    _ = frame.isascii() or frame.decode()  # msgspec checks only the text that it keeps
                except (ValueError, RecursionError):
                    pass
                else:
                    rows = push.data
                    if len(rows) == 1:
                        row = rows[0]
                        arg = push.arg
                        name = f"{arg.channel}:{arg.instrument}"
                        known = forming.get(name)
                        # What agrees with a checked row about its time needs no check of its own.
                        if known is not None and row.confirm == "0" and row.time == known.time:
                            forming[name] = row
                            continue
                        stream = streams.get(name)
                        if stream is not None and row.problem(stream.timeframe) is None:
                            if not row.closed:
                                if known is None or known.open_time_ms <= row.open_time_ms:
                                    forming[name] = row
                                continue
                            if has_each_key_once(frame):
                                try:
                                    decoded.closed.append((name, row.to_candle(stream, received_ms)))
                                except MalformedMessage as error:
                                    decoded.reject(error, frame)
                                continue
            _decode_strictly(frame, streams, received_ms, decoded)
        return decoded

    def klines(
        self, stream: Stream, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int | None = None
    ) -> RestRequest:
        """Return the request for rows opening in [`start_ms`, `end_ms`]; `limit` is cut to the venue's own.

        With a start it is about a window of `limit` intervals, see `VenueRules.windowed_klines`.
        """
        if limit < 1:
            raise LocalProtocolError(f"a request for {limit} rows")
        return okx_rest.klines(stream, start_ms, end_ms, limit, now_ms)

    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        """Return the rows as candles; raises `MalformedMessage` if one of them is not valid or out of order."""
        return okx_rest.parse_klines(stream, body, venue_now_ms, received_ms)

    def server_time(self) -> RestRequest:
        """Return the request for the venue's clock."""
        return RestRequest("/api/v5/public/time", weight=4)

    def parse_server_time(self, headers: Mapping[str, str], body: bytes) -> int:
        """Return the venue's clock in ms; raises `MalformedMessage`."""
        return okx_rest.parse_server_time(body)

    def instruments(self, page: str | None = None) -> RestRequest:
        """Return the request for the spot market's symbols, or for the page ``SWAP`` of the perpetual swaps."""
        kind = _PAGES.get(page)
        if kind is None:
            raise LocalProtocolError(f"no page {page}")
        return RestRequest("/api/v5/public/instruments", (("instType", kind),), weight=2)

    def parse_instruments(self, body: bytes, page: str | None = None) -> InstrumentPage:
        """Return the symbols of one page; raises `MalformedMessage`."""
        return InstrumentPage(okx_rest.parse_instruments(body), next="SWAP" if page is None else None)

    def tickers(self) -> tuple[RestRequest, ...]:
        """Return the requests for the tickers of the spot market and of the perpetual swaps."""
        return tuple(RestRequest("/api/v5/market/tickers", (("instType", kind),), weight=2) for kind in _PAGES.values())

    def parse_tickers(self, body: bytes) -> list[Ticker]:
        """Return the tickers; raises `MalformedMessage`."""
        return okx_rest.parse_tickers(body)

    def check_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raise what a REST answer other than success means, whatever its HTTP status."""
        okx_rest.check_answer(status, headers, body)

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        """Return ``None``: the venue does not say."""
        return None


def okx() -> OkxCodec:
    """Return the codec of OKX."""
    return OkxCodec()


def _request(op: str, request_id: int, names: Sequence[str]) -> bytes:
    args = [dict(zip(("channel", "instId"), name.split(":", 1), strict=True)) for name in names]
    return msgspec.json.encode({"id": str(request_id), "op": op, "args": args})


def _is_symbol(text: str) -> bool:
    return SYMBOL.fullmatch(text) is not None and text == text.upper() and text.isprintable()


def _nearest_symbol(symbol: str) -> str | None:
    """Guess the symbol meant by ``btc-usdt``, ``BTC_USDT``, ``BTCUSDT``, or a unified ``BTC/USDT:USDT``."""
    pair, settled, _ = symbol.upper().partition(":")
    guess = pair.replace("/", "-").replace("_", "-")
    quote = next((quote for quote in _QUOTES if guess.endswith(quote) and guess != quote), None)
    if "-" not in guess and quote is not None:
        guess = f"{guess.removesuffix(quote)}-{quote}"
    guess += "-SWAP" if settled else ""
    return guess if _is_symbol(guess) else None


def _decode_strictly(frame: bytes, streams: Mapping[str, Stream], received_ms: int, decoded: Decoded) -> None:
    """Add to `decoded` what a message means that is no single believable row."""
    try:
        if len(frame) > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {len(frame)} bytes")
        meaning = understand(frame)
        if isinstance(meaning, Push):
            _add_rows(meaning, streams, received_ms, decoded)
        elif isinstance(meaning, ClosingSoon):
            decoded.closing_soon = True
        elif isinstance(meaning, Ignored):
            decoded.ignored += 1
        else:
            decoded.replies.append(meaning)
    except (MalformedMessage, ValueError) as error:
        decoded.reject(error, frame)


def _add_rows(push: Push, streams: Mapping[str, Stream], received_ms: int, decoded: Decoded) -> None:
    """Add the rows of a push, all of them or, where one is not valid, none."""
    name = f"{push.arg.channel}:{push.arg.instrument}"
    stream = streams.get(name)
    if stream is None or not push.data:
        decoded.ignored += 1
        return
    for row in push.data:
        problem = row.problem(stream.timeframe)
        if problem is not None:
            raise ValueError(problem)
    rows = sorted(push.data, key=lambda row: row.open_time_ms)
    closed = [(name, row.to_candle(stream, received_ms)) for row in rows if row.closed]
    decoded.closed += closed
    for row in rows:
        known = decoded.open.get(name)
        if not row.closed and (known is None or known.open_time_ms <= row.open_time_ms):
            decoded.open[name] = row

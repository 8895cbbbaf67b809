"""The codec of Bitfinex, version 2 of its API: spot pairs and perpetual futures, on one address.

Streams are ``trade:<timeframe>:<symbol>``, the key by which the venue knows a candle channel:
https://docs.bitfinex.com/reference/ws-public-candles
"""

from __future__ import annotations

from collections.abc import Mapping

from candleactors.errors import InvalidSymbol, LocalProtocolError, excerpt
from candleactors.model import Candle, Stream, Ticker
from candleactors.venues import bitfinex_rest
from candleactors.venues.base import InstrumentPage, RestRequest, Session, VenueRules
from candleactors.venues.bitfinex_rules import RULES, WIRE_TIMEFRAMES
from candleactors.venues.bitfinex_session import BitfinexSession
from candleactors.venues.bitfinex_symbols import is_symbol, nearest


class BitfinexCodec:
    """The dialect of Bitfinex, see `candleactors.venues.base.Codec`."""

    @property
    def rules(self) -> VenueRules:
        """Limits and addresses."""
        return RULES

    def websocket_url(self, base: str) -> str:
        """Return the URL of the second version's WebSocket."""
        return base.rstrip("/") + "/ws/2"

    def stream_name(self, stream: Stream) -> str:
        """Return ``trade:<timeframe>:<symbol>``, with the venue's spelling of the timeframe.

        Raises `InvalidSymbol` or `InvalidTimeframe` where Bitfinex can have no such stream.
        """
        symbol, timeframe = stream.symbol, stream.timeframe
        RULES.check_timeframe(timeframe)
        if not is_symbol(symbol):
            raise InvalidSymbol(f'"{excerpt(symbol, 64)}" is not a symbol of {RULES.title}', nearest=nearest(symbol))
        return f"trade:{WIRE_TIMEFRAMES[timeframe]}:{symbol}"

    def session(self) -> Session:
        """Return the state of a new connection, which has no channels yet."""
        return BitfinexSession()

    def klines(
        self, stream: Stream, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int | None = None
    ) -> RestRequest:
        """Return the request for rows opening in [`start_ms`, `end_ms`]; `limit` is cut to the venue's own.

        With a start, the oldest of them; without one, the newest.
        """
        if limit < 1:
            raise LocalProtocolError(f"a request for {limit} rows")
        params = []
        if start_ms is not None:
            params.append(("start", str(start_ms)))
        if end_ms is not None:
            params.append(("end", str(end_ms)))
        params.append(("limit", str(min(limit, RULES.klines_limit))))
        params.append(("sort", "-1" if start_ms is None else "1"))
        return RestRequest(f"/v2/candles/{self.stream_name(stream)}/hist", tuple(params))

    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        """Return the rows as candles, ascending; raises `MalformedMessage` if one is not valid or out of order."""
        return bitfinex_rest.parse_klines(stream, body, venue_now_ms, received_ms)

    def server_time(self) -> RestRequest:
        """Return a request whose answer is short; the time is in its Date header."""
        return RestRequest("/v2/platform/status")

    def parse_server_time(self, headers: Mapping[str, str], body: bytes) -> int:
        """Return the venue's clock in ms, half a second more or less; raises `MalformedMessage`."""
        return bitfinex_rest.parse_server_time(headers)

    def instruments(self, page: str | None = None) -> RestRequest:
        """Return the request for all pairs and the names of currencies, which has one page."""
        return RestRequest(f"/v2/conf/{bitfinex_rest.INSTRUMENTS}")

    def parse_instruments(self, body: bytes, page: str | None = None) -> InstrumentPage:
        """Return every pair; raises `MalformedMessage`."""
        return InstrumentPage(bitfinex_rest.parse_instruments(body))

    def tickers(self) -> tuple[RestRequest, ...]:
        """Return the request for the tickers of all pairs."""
        return (RestRequest("/v2/tickers", (("symbols", "ALL"),)),)

    def parse_tickers(self, body: bytes) -> list[Ticker]:
        """Return the tickers; raises `MalformedMessage`."""
        return bitfinex_rest.parse_tickers(RULES.venue, body)

    def check_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raise what a REST answer other than success means; see `candleactors.venues.bitfinex_rest.check_answer`."""
        bitfinex_rest.check_answer(status, headers, body)

    def used_weight(self, headers: Mapping[str, str]) -> None:
        """Return ``None``: no answer says so."""


def bitfinex() -> BitfinexCodec:
    """Return the codec of Bitfinex."""
    return BitfinexCodec()

"""The rules of a venue: limits and addresses that make sense, and hold together."""

from __future__ import annotations

import math
import re
from urllib.parse import urlsplit

import attrs

from candleactors.model import Stream, Timeframe
from candleactors.testing.conformance.rule import require, shown
from candleactors.testing.conformance.subject import Subject
from candleactors.venues.base import Codec, Endpoints, VenueRules
from candleactors.venues.sources import source_of

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_AMOUNTS = frozenset(("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"))
_POSITIVE = (
    "max_streams_per_connection",
    "max_names_per_request",
    "lifetime_s",
    "messages_per_s",
    "connects",
    "connects_window_s",
    "rest_weight",
    "rest_window_s",
    "klines_limit",
    "server_ping_s",
    "names_per_connection",
    "names_window_s",
    "max_characters_per_connection",
    "max_request_bytes",
)
_MINUTE = Timeframe("1m")


class RulesConformance(Subject):
    """Tests of `VenueRules`."""

    def test_rules_are_the_same_each_time(self) -> None:
        require(
            self.new_codec().rules == self.new_codec().rules,
            "two codecs of this factory have different rules",
            Codec,
            "A `Codec` is stateless; `rules` are data.",
        )

    def test_names_and_markets(self) -> None:
        rules = self.new_codec().rules
        says = "`venue` is what streams and settings call the venue, written venue:symbol:timeframe"
        require(
            _NAME.fullmatch(rules.venue),
            f'"{rules.venue}" is no name: lower case letters, digits and hyphens',
            VenueRules,
            says,
        )
        require(rules.title.strip(), "the title is empty: people read it in messages", VenueRules)
        require(urlsplit(rules.docs_url).scheme == "https", f"docs_url is no https URL: {rules.docs_url}", VenueRules)
        says = "`markets`: what is traded there: ``spot``, ``swap`` (perpetual futures)"
        require(rules.markets and all(rules.markets), "no markets", VenueRules, says)

    def test_endpoints_have_no_path(self) -> None:
        rules = self.new_codec().rules
        for place in (rules.endpoints, rules.testnet):
            if place is not None:
                _check_url(place.websocket, "wss")
                _check_url(place.rest, "https")

    def test_websocket_url_keeps_the_base(self) -> None:
        codec = self.new_codec()
        for base in (codec.rules.endpoints.websocket, "ws://127.0.0.1:8080", "wss://example.org"):
            url = codec.websocket_url(base)
            says = "websocket_url: the URL to connect to, made from `base`, which the user may have changed"
            require(
                url == base or url.startswith((f"{base}/", f"{base}?")),
                f"the URL made from {base} is {url}, which does not begin with it",
                Codec,
                says,
            )
            require("#" not in url and url.isascii() and " " not in url, f"{url} is no WebSocket URL", Codec, says)

    def test_timeframes(self) -> None:
        rules = self.new_codec().rules
        says = "`timeframes`: native timeframes, shortest first"
        require(rules.timeframes, "there are no timeframes", VenueRules, says)
        lengths = [frame.nominal_ms for frame in rules.timeframes]
        require(lengths == sorted(lengths), f"not the shortest first: {shown(rules.timeframes)}", VenueRules, says)
        require(len(set(rules.timeframes)) == len(lengths), "a timeframe occurs twice", VenueRules, says)
        try:
            source_of(Stream(rules.venue, "", Timeframe("7m")), rules, ())
        except ValueError as error:
            require(False, str(error), source_of, "others are made from 1m or 1s, so that one of them must be native")
        require(rules.drifting <= set(rules.timeframes), "a drifting timeframe is not native", VenueRules)
        require(_MINUTE not in rules.drifting, "1m cannot be drifting", VenueRules)

    def test_limits_are_positive(self) -> None:
        rules = self.new_codec().rules
        for name in _POSITIVE:
            value = getattr(rules, name)
            says = f"`{name}` is positive and finite, or `None` where that is allowed: then there is no limit"
            require(value is None or 0 < value < math.inf, f"{name} is {value}", VenueRules, says)
        require(rules.klines_limit >= 2, "klines_limit is 1: no history can be read", VenueRules)
        require(0 <= rules.close_lag_s < math.inf, f"close_lag_s is {rules.close_lag_s}", VenueRules)
        if rules.keepalive is not None:
            require(0 < rules.keepalive.interval_s < math.inf, "keepalive.interval_s is not positive", VenueRules)
        require(
            rules.max_names_per_request <= rules.max_streams_per_connection,
            "a request may carry more names than a connection streams",
            VenueRules,
        )
        known = {one.name for one in attrs.fields(VenueRules)}
        says = "`assumed`: limits named here are not documented by the venue"
        require(rules.assumed <= known, f"assumed names no fields: {sorted(rules.assumed - known)}", VenueRules, says)

    def test_amounts_that_are_given(self) -> None:
        gives = self.new_codec().rules.gives
        says = "`gives`: the amounts of a candle that the venue gives, by the names of `Candle`'s fields"
        require("volume" in gives, "every candle has a volume", VenueRules, says)
        require(gives <= _AMOUNTS, f"no amounts of a candle: {sorted(gives - _AMOUNTS)}", VenueRules, says)

    def test_the_longest_names_are_within_the_limits(self) -> None:
        codec = self.new_codec()
        rules = codec.rules
        longest = max(self.known_names(codec).values(), key=len)
        if rules.max_characters_per_connection is not None:
            most = rules.max_streams_per_connection * len(longest)
            says = "`max_characters_per_connection`: `max_streams_per_connection` keeps within it"
            require(
                most <= rules.max_characters_per_connection,
                f"{rules.max_streams_per_connection} names like {longest} have {most} characters,"
                f" allowed are {rules.max_characters_per_connection}",
                VenueRules,
                says,
            )
        if rules.max_request_bytes is not None:
            session = codec.session()
            names = [longest] * rules.max_names_per_request
            frames = [session.subscribe(10**9, names), session.unsubscribe(10**9, names)]
            size = max(len(frame) for frame in frames if frame is not None)
            says = "`max_request_bytes`: of one subscription request; `max_names_per_request` keeps within it"
            require(
                size <= rules.max_request_bytes,
                f"a request with {len(names)} names like {longest} has {size} bytes,"
                f" allowed are {rules.max_request_bytes}",
                VenueRules,
                says,
            )


def _check_url(url: str, scheme: str) -> None:
    parts = urlsplit(url)
    is_base = parts.scheme == scheme and parts.hostname and not (parts.path or parts.query or parts.fragment)
    require(is_base and "@" not in parts.netloc, f"{url} is not {scheme}://host[:port]", Endpoints)

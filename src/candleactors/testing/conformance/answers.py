"""REST: requests that mean what they should, and answers read exactly or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from candleactors.errors import (
    CandleactorsError,
    InvalidSymbol,
    MalformedMessage,
    RateLimited,
    RequestFailed,
    VenueError,
)
from candleactors.model import Candle, Source, Stream, Ticker
from candleactors.testing.conformance.material import NASTY_FRAMES, anything, nasty, rewritten, tokens
from candleactors.testing.conformance.rule import broken, require, shown
from candleactors.testing.conformance.samples import Rows, facts
from candleactors.testing.conformance.subject import RECEIVED_MS, Subject, fuzzing
from candleactors.testing.conformance.told import check_candle
from candleactors.venues.base import Codec, Instrument, InstrumentPage, RestRequest, VenueRules
from candleactors.venues.candles import EARLIEST_MS, LATEST_MS

_ALLOWED: Final = (RateLimited, RequestFailed, InvalidSymbol, VenueError)
_MORE_DIGITS: Final = "000000000000000000001"
_NOWHERE: Final = "31415926535897"
"""A number that stands in no sample."""
_LATE_MS: Final = LATEST_MS + 1


class AnswersConformance(Subject):
    """Tests of `Codec`'s REST half."""

    def test_requests(self) -> None:
        codec = self.new_codec()
        _check_request(codec.server_time(), codec.rules, Codec.server_time)
        _check_request(codec.instruments(), codec.rules, Codec.instruments)
        for page in self.pages:
            _check_request(codec.instruments(page.page), codec.rules, Codec.instruments)
        requests = codec.tickers()
        require(isinstance(requests, tuple), f"tickers() returns {shown(requests)}", Codec.tickers)
        for request in requests:
            _check_request(request, codec.rules, Codec.tickers)

    def test_requests_for_rows(self) -> None:
        codec = self.new_codec()
        rules = codec.rules
        now_ms = 1_760_000_000_000
        for stream in self.known_streams(codec):
            frame = stream.timeframe
            start_ms = frame.floor(now_ms - 40 * frame.nominal_ms)
            seen: dict[object, str] = {}
            for start in (None, start_ms, frame.next_open(start_ms)):
                for end in (None, start_ms if start is None else start):
                    for limit in (1, 2, rules.klines_limit):
                        for known in (None, now_ms):
                            request = codec.klines(stream, start, end, limit, known)
                            _check_request(request, rules, Codec.klines)
                    said = f"start {start}, end {end}"
                    request = codec.klines(stream, start, end, 2, now_ms)
                    key = (request.path, request.params)
                    require(
                        key not in seen,
                        f"the requests for rows of {stream} with {said} and with {seen.get(key)} are the same:"
                        f" {shown(request)}",
                        Codec.klines,
                    )
                    seen[key] = said

    def test_rows_are_read_exactly(self) -> None:
        codec = self.new_codec()
        for rows in self.rows:
            found = self._rows(codec, rows, rows.body, rows.now_ms)
            if found is None or [facts(one) for one in found] != [facts(one) for one in rows.candles]:
                broken(
                    f"the rows {shown(rows.body, 900)}\nstand for {shown(rows.candles, 1500)}\nand were read as"
                    f" {shown(found, 1500)}",
                    Codec.parse_klines,
                )

    def test_every_digit_of_rows_is_kept(self) -> None:
        codec = self.new_codec()
        for rows in self.rows:
            for text in dict.fromkeys(str(one.volume) for one in rows.candles):
                if tokens(rows.body, text):
                    longer = text + ("" if "." in text else ".") + _MORE_DIGITS
                    found = self._rows(codec, rows, rewritten(rows.body, text, longer), rows.now_ms)
                    wanted = [longer if str(one.volume) == text else str(one.volume) for one in rows.candles]
                    volumes = None if found is None else [str(one.volume) for one in found]
                    if volumes != wanted:
                        broken(
                            f"of rows with the volumes {wanted} became {volumes}",
                            Codec.parse_klines,
                            "candles are exact: decimal text to Decimal, never through a float",
                        )

    def test_no_row_is_closed_while_its_interval_runs(self) -> None:
        codec = self.new_codec()
        for rows in self.rows:
            instants = {
                at for one in rows.candles for at in (one.open_time_ms, one.close_time_ms, one.close_time_ms + 1)
            }
            for now_ms in sorted(instants | {_LATE_MS}):
                self._rows(codec, rows, rows.body, now_ms)

    def test_broken_rows_are_refused(self) -> None:
        codec = self.new_codec()
        for rows in self.rows:
            for what, body in _broken(rows):
                if self._rows(codec, rows, body, rows.now_ms) is not None:
                    broken(
                        f"rows with {what} are taken: {shown(body, 900)}",
                        Codec.parse_klines,
                        "raises `MalformedMessage` if any row is not valid: half an answer is no answer",
                    )

    def test_rows_of_another_grid_are_refused(self) -> None:
        codec = self.new_codec()
        for rows in self.rows:
            for frame in codec.rules.timeframes:
                is_off = any(one.open_time_ms % frame.nominal_ms for one in rows.candles)
                if is_off and frame.duration_ms is not None and frame.duration_ms <= 86_400_000:
                    other = Rows(Stream(codec.rules.venue, rows.stream.symbol, frame), rows.body, (), rows.now_ms)
                    found = self._rows(codec, other, rows.body, rows.now_ms)
                    require(not found, f"rows of {rows.stream} pass for such of {frame}", Codec.parse_klines)

    def test_any_rows_are_survived(self) -> None:
        codec = self.new_codec()
        bodies = [rows.body for rows in self.rows]
        streams = [rows.stream for rows in self.rows] or self.streams
        for stream in streams:
            whole = Rows(stream, b"", (), _LATE_MS)
            for body in (*NASTY_FRAMES, *(bad for good in bodies for bad in nasty(good))):
                self._rows(codec, whole, body, _LATE_MS)

        @fuzzing
        @given(st.sampled_from(streams), anything(bodies), st.sampled_from([0, 1_760_000_000_000, _LATE_MS]))
        def check(stream: Stream, body: bytes, now_ms: int) -> None:
            self._rows(codec, Rows(stream, body, (), now_ms), body, now_ms)

        check()

    def test_the_clock(self) -> None:
        codec = self.new_codec()
        for clock in self.clocks:
            now_ms = codec.parse_server_time(dict(clock.headers), clock.body)
            require(now_ms == clock.now_ms, f"{shown(clock)} was read as {now_ms}", Codec.parse_server_time)

        def parse(body: bytes, headers: dict[str, str]) -> None:
            now_ms = codec.parse_server_time(headers, body)
            is_instant = type(now_ms) is int and EARLIEST_MS <= now_ms <= LATEST_MS
            require(is_instant, f"{shown(body)} is read as the time {now_ms!r}", Codec.parse_server_time)

        headers = st.dictionaries(st.sampled_from(["date", "server"]), st.text(max_size=30), max_size=2)
        _survives(parse, [clock.body for clock in self.clocks], Codec.parse_server_time, headers)

    def test_instruments(self) -> None:
        codec = self.new_codec()
        for page in self.pages:
            read = codec.parse_instruments(page.body, page.page)
            if read != page.instruments:
                broken(
                    f"the instruments {shown(page.instruments, 900)}\nwere read as {shown(read, 900)}",
                    Codec.parse_instruments,
                )
            for instrument in read.instruments:
                self._check_instrument(codec, instrument)
            if read.next is not None:
                _check_request(codec.instruments(read.next), codec.rules, Codec.instruments)

        def parse(body: bytes, _: object) -> None:
            read = codec.parse_instruments(body, None)
            require(isinstance(read, InstrumentPage), f"{shown(read)} is no InstrumentPage", Codec.parse_instruments)
            for one in read.instruments:
                texts = (one.symbol, one.unified)
                require(all(isinstance(text, str) for text in texts), f"no text: {one}", Instrument)
                require(_is_unicode("".join(texts)), f"no Unicode text: {texts!a}", Instrument)

        _survives(parse, [page.body for page in self.pages], Codec.parse_instruments, st.none())

    def test_tickers(self) -> None:
        codec = self.new_codec()
        for sample in self.tickers:
            read = codec.parse_tickers(sample.body)
            if [*map(_text, read)] != [*map(_text, sample.tickers)]:
                broken(
                    f"the tickers {shown(sample.tickers, 900)}\nwere read as {shown(read, 900)}", Codec.parse_tickers
                )

        def parse(body: bytes, _: object) -> None:
            for ticker in codec.parse_tickers(body):
                require(isinstance(ticker, Ticker), f"{shown(ticker)} is no Ticker", Codec.parse_tickers)
                require(
                    ticker.venue == codec.rules.venue and ticker.last.is_finite(),
                    f"an impossible ticker: {shown(ticker)}",
                    Codec.parse_tickers,
                )

        _survives(parse, [sample.body for sample in self.tickers], Codec.parse_tickers, st.none())

    def test_good_answers_pass(self) -> None:
        codec = self.new_codec()
        for body in self._good_bodies():
            error = _refused(codec, 200, {}, body)
            require(error is None, f"a good answer is refused with {error!r}: {shown(body)}", Codec.check_answer)

    def test_refusals(self) -> None:
        codec = self.new_codec()
        for refusal in self.refusals:
            error = _refused(codec, refusal.status, dict(refusal.headers), refusal.body)
            require(
                type(error) is refusal.error,
                f"{refusal.status} {shown(refusal.body)} means {refusal.error.__name__} and became {error!r}",
                Codec.check_answer,
            )

    def test_statuses_that_say_enough(self) -> None:
        codec = self.new_codec()
        for status, wanted in ((429, RateLimited), (418, RateLimited), (500, RequestFailed), (503, RequestFailed)):
            for body in (b"", b"<html>"):
                error = _refused(codec, status, {}, body)
                is_right = isinstance(error, wanted | RateLimited)
                require(is_right, f"the status {status} with {body!r} became {error!r}", Codec.check_answer)
        for status in (301, 400, 401, 403, 404, 451):
            error = _refused(codec, status, {}, b"")
            require(error is not None, f"the status {status} is taken for success", Codec.check_answer)

    def test_any_answer_is_good_or_refused_as_documented(self) -> None:
        codec = self.new_codec()
        bodies = [*self._good_bodies(), *(refusal.body for refusal in self.refusals)]
        for body in NASTY_FRAMES:
            for status in (200, 400, 429, 500):
                _refused(codec, status, {}, body)
        for good in bodies:
            for body in nasty(good):
                _refused(codec, 200, {}, body)
                _refused(codec, 400, {}, body)
        names = st.sampled_from(["retry-after", "date", "content-type", "x-ratelimit-reset"])
        headers = st.dictionaries(names, st.text(max_size=30) | st.integers().map(str), max_size=3)

        @fuzzing
        @given(st.integers(100, 599), headers, anything(bodies))
        def check(status: int, headers: dict[str, str], body: bytes) -> None:
            error = _refused(codec, status, headers, body)
            if isinstance(error, RateLimited) and error.retry_after_s is not None:
                wait_s = error.retry_after_s
                require(0 <= wait_s < 10**7, f"a wait of {wait_s} seconds, from {headers}", RateLimited)
            if status >= 300:
                require(error is not None, f"the status {status} is taken for success", Codec.check_answer)

        check()

    def test_used_weight(self) -> None:
        codec = self.new_codec()

        @fuzzing
        @given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=3))
        def check(headers: dict[str, str]) -> None:
            used = codec.used_weight(headers)
            is_count = used is None or (type(used) is int and used >= 0)
            require(is_count, f"{headers} was read as a weight of {used!r}", Codec.used_weight)

        check()

    def _good_bodies(self) -> list[bytes]:
        rows, clocks = [one.body for one in self.rows], [one.body for one in self.clocks]
        return [*rows, *clocks, *(one.body for one in self.pages), *(one.body for one in self.tickers)]

    def _rows(self, codec: Codec, rows: Rows, body: bytes, now_ms: int) -> list[Candle] | None:
        """Return the rows in `body`, checked, ``None`` where they are refused as they should be."""
        stream = rows.stream
        try:
            found = codec.parse_klines(stream, body, now_ms, RECEIVED_MS)
        except MalformedMessage:
            return None
        except Exception as error:
            broken(f"parse_klines raises {type(error).__name__} for {shown(body)}: {error}", Codec.parse_klines)
        require(isinstance(found, list), f"parse_klines returns {shown(found)}", Codec.parse_klines)
        previous_ms = -1
        for candle in found:
            check_candle(candle, stream, codec.rules, Source.REST, Codec.parse_klines)
            require(
                candle.open_time_ms > previous_ms,
                f"the row of {candle.open_time_ms} comes after that of {previous_ms}",
                Codec.parse_klines,
            )
            previous_ms = candle.open_time_ms
            is_over = candle.next_open_time_ms <= now_ms
            require(
                is_over or not candle.closed,
                f"the row of {candle.open_time_ms} is closed at {now_ms}, {candle.next_open_time_ms - now_ms} ms"
                " before its interval is over",
                Codec.parse_klines,
            )
        return found

    def _check_instrument(self, codec: Codec, instrument: Instrument) -> None:
        require("/" in instrument.unified, f"{instrument.unified} is not unified", Instrument)
        if instrument.trades:
            try:
                codec.stream_name(Stream(codec.rules.venue, instrument.symbol, codec.rules.timeframes[0]))
            except InvalidSymbol as error:
                broken(f"the venue lists {instrument.symbol}, and stream_name refuses it: {error}", Codec.stream_name)


def _broken(rows: Rows) -> Iterator[tuple[str, bytes]]:
    """Yield what is wrong, and a body with it."""
    body, candles = rows.body, rows.candles
    for size in {0, 1, len(body) // 3, len(body) // 2, len(body) - 1}:
        yield f"only {size} of {len(body)} bytes", body[:size]
    for candle in candles[:3]:
        for name in ("open", "high", "low", "close", "volume"):
            text = str(getattr(candle, name))
            if tokens(body, text):
                for other in ("-" + text, "NaN", '"' * 2, "1e999"):
                    yield f"{name} {text} replaced by {other}", rewritten(body, text, other)
        opened = str(candle.open_time_ms)
        if tokens(body, opened) == 1:
            yield "an open time off the grid", rewritten(body, opened, str(candle.open_time_ms + 1))
            yield "an open time in microseconds", rewritten(body, opened, opened + "000")
    for earlier, later in pairwise(candles):
        first, second = str(earlier.open_time_ms), str(later.open_time_ms)
        if tokens(body, first) == tokens(body, second) == 1:
            yield "a row twice", rewritten(body, second, first)
            # Two rows alone would only be in the opposite order, in which some venues answer.
            if len(candles) > 2 and not tokens(body, _NOWHERE):
                swapped = rewritten(rewritten(rewritten(body, first, _NOWHERE), second, first), _NOWHERE, second)
                yield "two of its rows in the wrong order", swapped


def _check_request(request: object, rules: VenueRules, stated: Any) -> None:
    if not isinstance(request, RestRequest):
        broken(f"{shown(request)} is no RestRequest", stated)
    is_path = request.path.startswith("/") and "?" not in request.path and "#" not in request.path
    require(is_path, f"the path {request.path!r} does not begin with a slash, or holds parameters", RestRequest)
    texts = [text for pair in request.params for text in pair]
    require(all(isinstance(text, str) for text in texts), f"parameters are texts: {request.params}", RestRequest)
    require(
        1 <= request.weight <= rules.rest_weight,
        f"a request of weight {request.weight}, where {rules.rest_weight} are allowed in {rules.rest_window_s:g} s",
        RestRequest,
    )


def _refused(codec: Codec, status: int, headers: dict[str, str], body: bytes) -> CandleactorsError | None:
    try:
        codec.check_answer(status, headers, body)
    except _ALLOWED as error:
        return error
    except Exception as error:
        broken(
            f"check_answer raises {type(error).__name__} for {status} {headers} {shown(body)}: {error}",
            Codec.check_answer,
        )
    return None


def _survives(
    parse: Callable[[bytes, Any], None],
    samples: list[bytes],
    stated: Any,
    more: st.SearchStrategy[Any],
) -> None:
    """Check that `parse` raises only `MalformedMessage` for any body."""

    def attempt(body: bytes, extra: Any) -> None:
        try:
            parse(body, extra)
        except (MalformedMessage, AssertionError) as error:
            if isinstance(error, AssertionError):
                raise
        except Exception as error:
            broken(f"{type(error).__name__} for {shown(body)}: {error}", stated)

    for body in (*NASTY_FRAMES, *(bad for good in samples for bad in nasty(good))):
        attempt(body, {})

    @fuzzing
    @given(anything(samples), more)
    def check(body: bytes, extra: Any) -> None:
        attempt(body, extra)

    check()


def _text(ticker: Ticker) -> str:
    return str(ticker)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

"""Decoding: candles exactly as they were sent, in order, and nothing else, whatever the bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import product
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from candleactors.model import Candle, Stream
from candleactors.testing.conformance.material import NASTY_FRAMES, anything, nasty, rewritten, tokens
from candleactors.testing.conformance.rule import broken, require, shown
from candleactors.testing.conformance.samples import Sample, facts
from candleactors.testing.conformance.subject import RECEIVED_MS, Subject, fuzzing
from candleactors.testing.conformance.told import Told, check_decoded, told
from candleactors.venues.base import Closes, Codec, Decoded, Session, WireCandle

_MORE_DIGITS: Final = "000000000000000000001"
_NUMBERS: Final = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)


class DecodingConformance(Subject):
    """Tests of `Session.decode` and `WireCandle.to_candle`."""

    def test_samples_are_decoded_exactly(self) -> None:
        codec = self.new_codec()
        watched = self.watched(codec)
        for sample in self.samples:
            heard = self._decode(codec, self.connected(codec), sample.frames, watched)
            _compare(sample, [*(candle for _, candle in heard.closed), *heard.newest.values()], heard)
            for name, candle in heard.closed:
                require(watched[name] == candle.stream, f"{candle.stream} is told as {name}", Codec.stream_name)
            require(not heard.rejected, f"a part of a sample is rejected: {shown(sample.frames)}", Session.decode)

    def test_every_digit_is_kept(self) -> None:
        """The samples' numbers get more digits than a float has."""
        codec = self.new_codec()
        watched = self.watched(codec)
        for sample in self.samples:
            for candle in sample.candles:
                for text in dict.fromkeys(str(getattr(candle, name)) for name in _NUMBERS):
                    if not any(tokens(frame, text) for frame in sample.frames):
                        continue
                    longer = text + ("" if "." in text else ".") + _MORE_DIGITS
                    frames = [rewritten(frame, text, longer) for frame in sample.frames]
                    heard = self._decode(codec, self.connected(codec), frames, watched)
                    wanted = [_with_number(one, text, longer) for one in sample.candles]
                    if any(one.problem() for one in wanted):
                        continue  # two of its prices were equal and written differently
                    found = [*(one for _, one in heard.closed), *heard.newest.values()]
                    if [one if isinstance(one, str) else facts(one) for one in found] != [facts(one) for one in wanted]:
                        broken(
                            f"{text} was replaced by {longer} in {shown(sample.frames)},"
                            f" which became\n  {shown(found, 900)}",
                            WireCandle.to_candle,
                            "return the exact candle: decimal text to Decimal, never through a float",
                        )

    def test_impossible_numbers_are_refused(self) -> None:
        codec = self.new_codec()
        watched = self.watched(codec)
        for sample in self.samples:
            for candle in sample.candles:
                for text in dict.fromkeys(str(getattr(candle, name)) for name in ("open", "high", "low", "close")):
                    for other in ("-" + text, "0"):
                        frames = [rewritten(frame, text, other) for frame in sample.frames]
                        self._decode(codec, self.connected(codec), frames, watched)

    def test_nothing_is_told_of_what_is_not_watched(self) -> None:
        codec = self.new_codec()
        watched = self.watched(codec)
        for sample in self.samples:
            about = {candle.stream for candle in sample.candles}
            others = {name: stream for name, stream in watched.items() if stream not in about}
            for some in ({}, others):
                # Subscribed a moment ago, unsubscribed by now: the venue still sends.
                heard = self._decode(codec, self.connected(codec), sample.frames, some)
                require(heard.nothing, f"a candle of a stream that is not watched: {shown(heard)}", Session.decode)
                require(
                    not sample.candles or heard.ignored or heard.rejected,
                    f"candles of streams that are not watched leave no trace: {shown(sample.frames)}",
                    Decoded,
                    "`ignored`: valid messages nobody asked for: other event kinds, names not subscribed",
                )
                heard = self._decode(codec, codec.session(), sample.frames, some)
                require(heard.nothing, f"a candle of a stream that is not watched: {shown(heard)}", Session.decode)

    def test_no_frames_say_nothing(self) -> None:
        codec = self.new_codec()
        watched = self.watched(codec)
        heard = self._decode(codec, self.connected(codec), [], watched)
        require(heard.nothing and not heard.replies, f"nothing was said and became {shown(heard)}", Session.decode)

    def test_nasty_frames(self) -> None:
        codec = self.new_codec()
        watched = self.watched(codec)
        session = self.connected(codec)
        for frame in NASTY_FRAMES:
            self._decode(codec, session, [frame], watched)
        for frame in (b"\xff\xfe", b"\xed\xa0\x80", b'{"a":"\xff"}'):
            heard = self._decode(codec, session, [frame], watched)
            require(heard.rejected == 1, f"{frame!r}, no UTF-8, is not among the rejected", Session.decode)

    def test_samples_with_one_value_wrong(self) -> None:
        codec = self.new_codec()
        watched = self.watched(codec)
        for frame in self.pool():
            for bad in nasty(frame):
                self._decode(codec, self.connected(codec), [bad], watched)

    def test_anything_is_survived(self) -> None:
        codec = self.new_codec()
        watched = self.watched(codec)

        @fuzzing
        @given(st.lists(anything(self.pool()), max_size=5))
        def check(frames: list[bytes]) -> None:
            self._decode(codec, self.connected(codec), frames, watched)

        check()

    def test_a_batch_says_what_its_frames_say(self) -> None:
        codec = self.new_codec()
        watched = self.watched(codec)
        pool = self.pool()

        def compare(frames: list[bytes]) -> None:
            batch = self._decode(codec, self.connected(codec), frames, watched)
            session = self.connected(codec)
            single = [self._decode(codec, session, [frame], watched) for frame in frames]
            _compare_batch(frames, batch, single, codec.rules.closes)

        for frames in (pool, pool[::-1], *map(list, product(pool, repeat=2))):
            compare(frames)

        @fuzzing
        @given(st.lists(st.one_of(st.sampled_from(pool), st.sampled_from(pool), anything(pool)), max_size=8))
        def check(frames: list[bytes]) -> None:
            compare(frames)

        check()

    def _decode(self, codec: Codec, session: Session, frames: Sequence[bytes], watched: Mapping[str, Stream]) -> Told:
        """Return what `frames` say, after checking all that holds for anything."""
        try:
            decoded = session.decode(list(frames), watched, RECEIVED_MS)
        except Exception as error:
            broken(f"decode raises {type(error).__name__} for {shown(list(frames))}: {error}", Session.decode)
        check_decoded(decoded, len(frames), watched, codec.rules)
        return told(decoded, watched)


def _compare(sample: Sample, found: list[Candle | str], heard: Told) -> None:
    wanted = list(sample.candles)
    closed = [facts(one) for one in wanted if one.closed]
    opened = sorted(map(str, (facts(one) for one in wanted if not one.closed)))
    found_closed = [facts(one) for one in found if isinstance(one, Candle) and one.closed]
    found_open = sorted(str(one if isinstance(one, str) else facts(one)) for one in found if _is_open(one))
    if (closed, opened) != (found_closed, found_open):
        broken(
            f"the frames {shown(sample.frames, 900)}\nstand for {shown(wanted, 1500)}\nand were decoded to"
            f" {shown(found, 1500)}\nwith {heard.rejected} rejected, {heard.ignored} ignored",
            Session.decode,
            "return what `frames` say about `streams`, closed candles in order of arrival",
        )


def _is_open(one: Candle | str) -> bool:
    return isinstance(one, str) or not one.closed


def _with_number(candle: Candle, text: str, longer: str) -> Candle:
    changed = {name: Decimal(longer) for name in _NUMBERS if str(getattr(candle, name)) == text}
    return candle.replace(**changed)


def _compare_batch(frames: Sequence[bytes], batch: Told, single: Sequence[Told], closes: Closes) -> None:
    closed = [one for heard in single for one in heard.closed]
    # What was inferred may turn out otherwise at once, and then need not be told.
    is_same = batch.closed == closed or (closes is Closes.INFERRED and _final(batch.closed) == _final(closed))
    require(
        is_same,
        f"{shown(list(frames))} as a batch close {shown(batch.closed)}, one by one {shown(closed)}",
        Decoded,
    )
    replies = [one for heard in single for one in heard.replies]
    require(batch.replies == replies, f"{shown(list(frames))} as a batch have other replies than one by one", Decoded)
    soon = any(heard.closing_soon for heard in single)
    require(batch.closing_soon == soon, "closing_soon depends on the batch", Decoded)
    for what, of_batch, of_single in (
        ("rejected", batch.rejected, sum(heard.rejected for heard in single)),
        ("ignored", batch.ignored, sum(heard.ignored for heard in single)),
    ):
        if of_batch != of_single:
            broken(
                f"{shown(list(frames))} as a batch have {of_batch} {what}, one by one {of_single}",
                Decoded,
                "what a frame means does not depend on which frames arrive together with it",
            )
    last_closed = {name: candle.open_time_ms for name, candle in closed}
    for name, candle in _newest(single).items():
        if candle.open_time_ms > last_closed.get(name, -1):
            known = batch.open.get(name)
            require(
                known == candle,
                f"the newest open candle of {name} in {shown(list(frames))} is {shown(candle)},"
                f" the batch has {shown(known)}",
                Decoded,
            )
    extra = batch.open.keys() - {name for heard in single for name in heard.open}
    require(not extra, f"open candles only as a batch: {sorted(extra)}", Decoded)


def _final(closed: Sequence[tuple[str, Candle]]) -> dict[tuple[str, int], Candle]:
    """Return what was said last of each interval."""
    return {(name, candle.open_time_ms): candle for name, candle in closed}


def _newest(single: Sequence[Told]) -> dict[str, Candle]:
    """Return the open candle of the latest interval of each stream; of equal ones the one that came last.

    A stream is left out where it is for the codec to say which one is newer, because one of them is no candle.
    """
    newest: dict[str, Candle] = {}
    unclear: set[str] = set()
    for heard in single:
        for name, candle in heard.open.items():
            known = newest.get(name)
            if isinstance(candle, str):
                unclear.add(name)
            elif known is None or candle.open_time_ms >= known.open_time_ms:
                newest[name] = candle
    return {name: candle for name, candle in newest.items() if name not in unclear}

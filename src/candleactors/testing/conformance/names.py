"""Wire names: one for each stream, and none for what cannot be one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from candleactors.errors import ConfigError, InvalidSymbol, InvalidTimeframe
from candleactors.model import Stream
from candleactors.testing.conformance.rule import broken, require, shown
from candleactors.testing.conformance.subject import Subject, fuzzing
from candleactors.venues import unified
from candleactors.venues.base import Codec

_NEVER = ("", " ", "\n", "A\x00B", "A B", "A" * 10_000)


class NamesConformance(Subject):
    """Tests of `Codec.stream_name`."""

    def test_every_stream_has_a_name_of_its_own(self) -> None:
        codec, other = self.new_codec(), self.new_codec()
        named: dict[str, Stream] = {}
        for stream, name in self.known_names(codec).items():
            require(isinstance(name, str) and name, f"the name of {stream} is {name!r}", Codec.stream_name)
            require(
                name == codec.stream_name(stream) == other.stream_name(stream),
                f"{stream} has another name each time: {name}, {other.stream_name(stream)}",
                Codec.stream_name,
                "the key of every map by name; a `Codec` is stateless",
            )
            require(name not in named, f'{stream} and {named.get(name)} are both called "{name}"', Codec.stream_name)
            named[name] = stream

    def test_foreign_timeframes_are_refused(self) -> None:
        codec = self.new_codec()
        native = codec.rules.timeframes
        for frame in self.foreign_timeframes(codec):
            for symbol in self.known_symbols()[:2]:
                try:
                    name = codec.stream_name(Stream(codec.rules.venue, symbol, frame))
                except InvalidTimeframe as error:
                    require(
                        str(frame) in str(error),
                        f'the error about {frame} does not name it: "{error}"',
                        InvalidTimeframe,
                    )
                    is_native = error.nearest is None or error.nearest in map(str, native)
                    require(is_native, f"instead of {frame} it names {error.nearest}, no timeframe either", ConfigError)
                except Exception as error:
                    broken(f"{type(error).__name__} for the timeframe {frame}: {error}", Codec.stream_name)
                else:
                    broken(f'{frame}, not among `VenueRules.timeframes`, has the name "{name}"', Codec.stream_name)

    def test_what_is_no_symbol_is_refused(self) -> None:
        codec = self.new_codec()
        for symbol in (*_NEVER, *self.no_symbols, *self._unified()):
            problem = self._name_or_refusal(codec, symbol)
            require(problem is None, f"{shown(symbol)} passes for a symbol: {shown(problem)}", Codec.stream_name)

    def test_what_is_no_unicode_text_is_refused(self) -> None:
        codec = self.new_codec()
        for symbol in ("\ud800", *(f"{known}\udcff" for known in self.known_symbols()[:2])):
            name = self._name_or_refusal(codec, symbol)
            says = "a name goes into requests, which are UTF-8: half a surrogate pair can be no symbol"
            require(name is None, f"{symbol!a} passes for a symbol, with the name {name!a}", Codec.stream_name, says)

    def test_any_text_is_a_symbol_or_refused(self) -> None:
        codec = self.new_codec()
        known = self.known_symbols()
        near = st.sampled_from(known).flatmap(
            lambda symbol: st.sampled_from([symbol.lower(), symbol.upper(), symbol.title(), f" {symbol}", symbol + "-"])
        )
        texts = st.text(max_size=20) | near | st.text("ABCabc019-_:/!.", max_size=12)

        @fuzzing
        @given(st.lists(texts, min_size=1, max_size=6, unique=True))
        def check(symbols: list[str]) -> None:
            named: dict[str, str] = {name: symbol for symbol in known if (name := self._name_or_refusal(codec, symbol))}
            for symbol in symbols:
                name = self._name_or_refusal(codec, symbol)
                if name is not None:
                    require(
                        named.setdefault(name, symbol) == symbol,
                        f'the symbols {symbol!r} and {named[name]!r} have the same name "{name}"',
                        Codec.stream_name,
                        "two spellings are two streams; what the venue takes for another one is an `InvalidSymbol`",
                    )
                    frame = codec.session().subscribe(1, [name])
                    require(_is_text(frame), f"{symbol!r} makes a request that is no text", Codec.stream_name)

        check()

    def _name_or_refusal(self, codec: Codec, symbol: str) -> str | None:
        """Return the name of a stream of `symbol`, ``None`` if that is refused as it should be."""
        rules = codec.rules
        try:
            return codec.stream_name(Stream(rules.venue, symbol, rules.timeframes[0]))
        except InvalidSymbol as error:
            is_line = len(str(error).splitlines()) == 1 and "\x00" not in str(error)
            require(is_line, f"the error is not one line: {shown(str(error))}", ConfigError)
            if error.nearest is not None:
                try:
                    codec.stream_name(Stream(rules.venue, error.nearest, rules.timeframes[0]))
                except InvalidSymbol:
                    broken(f"instead of {symbol!r} it names {error.nearest!r}, which is refused as well", ConfigError)
            return None
        except Exception as error:
            broken(f"{type(error).__name__} for the symbol {shown(symbol)}: {error}", Codec.stream_name)

    def _unified(self) -> list[str]:
        """Return unified symbols, which no venue's own are."""
        return [symbol for symbol in ("BTC/USDT", "BTC/USDT:USDT") if unified.is_unified(symbol)]


def _is_text(frame: object) -> bool:
    try:
        return isinstance(frame, bytes) and frame.decode("utf-8") != ""
    except UnicodeDecodeError:
        return False

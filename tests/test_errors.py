from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candleactors.errors import InvalidTimeframe, MalformedMessage, excerpt


@given(st.one_of(st.binary(max_size=2_000), st.text(st.characters(), max_size=2_000)), st.integers(1, 300))
def test_an_excerpt_is_short_and_printable(raw: bytes | str, limit: int) -> None:
    found = excerpt(raw, limit)
    assert len(found) <= limit + 1
    assert found.isprintable()
    assert found.endswith("…") or len(raw) <= limit


def test_an_excerpt_of_a_short_text_is_the_text() -> None:
    assert excerpt(b'{"a":"\xe5\xb8\x81"}') == '{"a":"币"}'
    assert excerpt("a\nb\x00c\ud800") == "a�b�c�"


def test_an_excerpt_reads_no_more_than_it_needs() -> None:
    assert excerpt(b"\xff" * 10_000_000, 4) == "\\xff…"


def test_a_malformed_message_shows_what_it_was() -> None:
    assert str(MalformedMessage("not JSON", b"{")) == "not JSON: {"
    assert str(MalformedMessage("empty")) == "empty"
    assert len(str(MalformedMessage("long", b"x" * 1_000))) == len("long: ") + 201


def test_a_configuration_error_names_key_value_and_near_miss() -> None:
    with pytest.raises(InvalidTimeframe) as caught:
        raise InvalidTimeframe('"1H" is not a timeframe', key="venues.binance-spot.timeframes", nearest="1h")
    assert str(caught.value) == 'venues.binance-spot.timeframes: "1H" is not a timeframe; did you mean "1h"?'

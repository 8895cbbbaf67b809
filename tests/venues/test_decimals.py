from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candleactors.venues.decimals import MAX_CHARACTERS, plain_decimal


@given(st.from_regex(r"[0-9]{1,31}(\.[0-9]{1,31})?", fullmatch=True))
def test_every_digit_survives(text: str) -> None:
    with localcontext(prec=3):
        value = plain_decimal(text)
    assert f"{value:f}".lstrip("0") == text.lstrip("0") or value == 0
    assert value == Decimal(text)


@given(st.text(max_size=70))
def test_anything_else_is_refused(text: str) -> None:
    digits, point, decimals = text.partition(".")
    plain = all(part.isascii() and part.isdigit() for part in ([digits, decimals] if point else [digits]))
    if plain and len(text) <= MAX_CHARACTERS:
        assert plain_decimal(text) == Decimal(text)
    else:
        with pytest.raises(ValueError, match="not a plain decimal number"):
            plain_decimal(text)


@pytest.mark.parametrize(
    "text",
    ["", "NaN", "sNaN", "Infinity", "-1", "+1", "1e5", "1E-5", " 1", "1 ", "1\n", "1_0", ".5", "5.", "１", "1" * 65],
)
def test_what_decimal_would_take_but_no_venue_sends(text: str) -> None:
    with pytest.raises(ValueError, match="not a plain decimal number"):
        plain_decimal(text)

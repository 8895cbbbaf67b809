"""Points in time as people write them."""

from __future__ import annotations

import pytest

from candleactors.instants import instant_ms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("60000", 60_000),
        ("1763683200000", 1_763_683_200_000),
        ("20251121", 1_763_683_200_000),
        ("2025-11-21", 1_763_683_200_000),
        ("2025-11-21T00:00Z", 1_763_683_200_000),
        ("2025-11-21T01:00:00.500+01:00", 1_763_683_200_500),
    ],
)
def test_what_is_understood(text: str, expected: int) -> None:
    assert instant_ms(text) == expected


@pytest.mark.parametrize("text", ["", "now", "-5", "1.5", "12345678", "2025-13-01", "9" * 19, "9" * 5000, "١٢", "a\nb"])
def test_what_is_not(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time; write ") as caught:
        instant_ms(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200

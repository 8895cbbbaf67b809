"""The names that the package itself offers."""

from __future__ import annotations

import pytest

import candleactors


def test_every_public_name_is_there() -> None:
    for name in candleactors.__all__:
        assert getattr(candleactors, name).__module__.startswith("candleactors.") or name in ("Cursor", "Event")


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(candleactors, "nonsense")  # noqa: B009 - mypy knows that there is none

"""Histograms: exact counts, and quantiles that are wrong by a bucket's width at most."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.histogram import Histogram

BOUNDS = (0.1, 0.5, 1.0, 5.0)


def test_a_bound_belongs_to_its_own_bucket() -> None:
    histogram = Histogram(BOUNDS)
    for value in (0.0, 0.1, 0.11, 5.0, 5.1):
        histogram.observe(value)
    histogram.observe(0.7, times=3)
    assert histogram.cumulative() == [(0.1, 2), (0.5, 3), (1.0, 6), (5.0, 7), (math.inf, 8)]
    assert histogram.count == 8
    assert histogram.total == pytest.approx(0.1 + 0.11 + 5.0 + 5.1 + 2.1)


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0, 1))
def test_quantiles_are_wrong_by_a_bucket_at_most(values: list[float], share: float) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    estimate = histogram.quantile(share)
    assert estimate is not None
    true = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    lower, upper = next(pair for pair in zip((0.0, *BOUNDS), (*BOUNDS, math.inf), strict=True) if true <= pair[1])
    assert lower <= estimate + 1e-9
    assert estimate <= upper + 1e-9


def test_of_nothing_there_are_no_quantiles() -> None:
    assert Histogram(BOUNDS).quantile(0.5) is None


@given(st.lists(st.floats(0, 10)), st.lists(st.floats(0, 10)))
def test_adding_is_observing_everything(some: list[float], more: list[float]) -> None:
    one, other, both = Histogram(BOUNDS), Histogram(BOUNDS), Histogram(BOUNDS)
    for value in some:
        one.observe(value)
        both.observe(value)
    for value in more:
        other.observe(value)
        both.observe(value)
    twin = one.copy()
    twin.add(other)
    assert twin.cumulative() == both.cumulative()
    assert twin.total == pytest.approx(both.total)
    assert one.count == len(some)


@pytest.mark.parametrize("bounds", [(), (1.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan,)])
def test_bounds_are_finite_and_ascend(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="bounds"):
        Histogram(bounds)


def test_other_bounds_cannot_be_added() -> None:
    with pytest.raises(ValueError, match="bounds"):
        Histogram(BOUNDS).add(Histogram((1.0,)))

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.backoff import Backoff
from candleactors.settings import BackoffSettings


def test_waits_double_up_to_the_cap_and_begin_anew_after_a_reset() -> None:
    backoff = Backoff(BackoffSettings(initial_s=1, factor=2, max_s=10, jitter=0), lambda: 0.5)
    assert [backoff.failed() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    backoff.reset()
    assert backoff.failed() == 1


def test_jitter_shortens_by_its_share_of_chance() -> None:
    backoff = Backoff(BackoffSettings(initial_s=8, factor=1, max_s=8, jitter=0.25), lambda: 0.5)
    assert backoff.failed() == 7


@given(
    initial=st.floats(0.001, 1e3),
    factor=st.floats(1, 1e6),
    span=st.floats(1, 1e4),
    jitter=st.floats(0, 1),
    failures=st.integers(1, 2000),
    seed=st.integers(0, 2**32),
)
def test_every_wait_is_positive_and_capped(
    initial: float, factor: float, span: float, jitter: float, failures: int, seed: int
) -> None:
    cap = initial * span
    settings = BackoffSettings(initial_s=initial, factor=factor, max_s=cap, jitter=jitter)
    backoff = Backoff(settings, random.Random(seed).random)
    full = Backoff(BackoffSettings(initial_s=initial, factor=factor, max_s=cap, jitter=0), lambda: 0)
    previous = 0.0
    for _ in range(failures):
        wait, longest = backoff.failed(), full.failed()
        assert previous <= longest <= cap
        assert 0 < wait <= longest
        assert wait >= longest * (1 - jitter) * (1 - 1e-9)
        previous = longest

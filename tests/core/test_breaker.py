from __future__ import annotations

from candleactors.core.breaker import Breaker


def test_opens_at_the_limit_rests_after_each_failed_trial_and_closes_when_reset() -> None:
    breaker = Breaker(3)
    assert [breaker.failed() for _ in range(5)] == [False, False, True, True, True]
    assert breaker.is_open is True
    assert breaker.failures == 5
    breaker.reset()
    assert breaker.failures == 0
    assert [breaker.failed() for _ in range(3)] == [False, False, True]

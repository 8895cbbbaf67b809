"""Backoff: how long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable

from candleactors.settings import BackoffSettings


class Backoff:
    """Waits that grow with each failure, up to a cap, each shortened by a random share.

    `uniform` returns a random number in [0, 1), for example ``rng.random``.
    """

    def __init__(self, settings: BackoffSettings, uniform: Callable[[], float]) -> None:
        self._settings = settings
        self._uniform = uniform
        self._next_s = settings.initial_s

    def failed(self) -> float:
        """Note a failure and return the wait: in [w·(1-jitter), w] seconds, w growing from `initial_s` to `max_s`."""
        wait = self._next_s
        self._next_s = min(wait * self._settings.factor, self._settings.max_s)
        return wait * (1 - self._settings.jitter * self._uniform())

    def reset(self) -> None:
        """Let the next failure be the first again."""
        self._next_s = self._settings.initial_s

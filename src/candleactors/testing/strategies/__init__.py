"""Hypothesis strategies for timeframes, candles, trades, what a feed may say of them, and what may happen to it."""

try:
    import hypothesis as _hypothesis  # noqa: F401 - only to say which extra is missing
except ModuleNotFoundError as error:  # pragma: no cover - tested in a process of its own
    raise ImportError(
        "the strategies of candleactors.testing need Hypothesis: pip install 'candleactors[testing]'"
    ) from error

from candleactors.testing.strategies.arrivals import arrivals
from candleactors.testing.strategies.histories import gappy_runs, revised_runs
from candleactors.testing.strategies.plans import acts, plans
from candleactors.testing.strategies.runs import candle_runs, candles
from candleactors.testing.strategies.timeframes import timeframes
from candleactors.testing.strategies.times import open_times
from candleactors.testing.strategies.trades import trades

__all__ = [
    "acts",
    "arrivals",
    "candle_runs",
    "candles",
    "gappy_runs",
    "open_times",
    "plans",
    "revised_runs",
    "timeframes",
    "trades",
]

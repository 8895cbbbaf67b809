"""What users import to test code of their own that deals in candles.

- Hypothesis strategies (extra ``testing``): `timeframes`, `open_times`, `candles`, `candle_runs`, `gappy_runs`,
  `revised_runs`, `arrivals`, `trades`.
- A slow aggregation that is obviously right: `reference_resample`, `reference_from_trades`, `final_candles`; and the
  candle contract as a check, `contract_breaches`.
- A feed in a simulated world and in virtual time: `open_simulated_feed`, `run_simulated`, `SimulatedFeed`; with
  pytest, the fixture ``simulated_feed``.
- The conformance suite for codecs of one's own: `VenueConformance`, with `Sample` and `candle` for what a venue sends;
  more in `candleactors.testing.venue_conformance`. See docs/how-to/add-a-venue.md.
- The simulation that this project proves itself with: `simulate` for a seed of it, its `Outcome` and
  `SimulationFailed`; the strategies `plans` and `acts` for small ones. See docs/simulation.md.

See docs/testing.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from candleactors.testing.contract import contract_breaches
    from candleactors.testing.reference import final_candles, reference_from_trades, reference_resample
    from candleactors.testing.simulation import SimulatedFeed, open_simulated_feed, run_simulated
    from candleactors.testing.strategies import (
        acts,
        arrivals,
        candle_runs,
        candles,
        gappy_runs,
        open_times,
        plans,
        revised_runs,
        timeframes,
        trades,
    )
    from candleactors.testing.trouble import Outcome, SimulationFailed, simulate
    from candleactors.testing.venue_conformance import Sample, VenueConformance, candle

__all__ = [
    "Outcome",
    "Sample",
    "SimulatedFeed",
    "SimulationFailed",
    "VenueConformance",
    "acts",
    "arrivals",
    "candle",
    "candle_runs",
    "candles",
    "contract_breaches",
    "final_candles",
    "gappy_runs",
    "open_simulated_feed",
    "open_times",
    "plans",
    "reference_from_trades",
    "reference_resample",
    "revised_runs",
    "run_simulated",
    "simulate",
    "timeframes",
    "trades",
]

_HOMES = {
    **dict.fromkeys(("final_candles", "reference_from_trades", "reference_resample"), "reference"),
    **dict.fromkeys(("SimulatedFeed", "open_simulated_feed", "run_simulated"), "simulation"),
    **dict.fromkeys(("Outcome", "SimulationFailed", "simulate"), "trouble"),
    **dict.fromkeys(("Sample", "VenueConformance", "candle"), "venue_conformance"),
    "contract_breaches": "contract",
}


def __getattr__(name: str) -> object:
    # Late: pytest imports this package for its plugin in every run, Hypothesis may be absent, and the feed is large.
    if name in __all__:
        module = import_module(f"{__name__}.{_HOMES.get(name, 'strategies')}")
        value: object = getattr(module, name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

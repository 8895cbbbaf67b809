"""Brief plans: a quarter of an hour of one sort of trouble, and time to recover from it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from attrs import evolve

from candleactors.settings import SubscriberSettings
from candleactors.sim import BinanceRules, FaultKind
from candleactors.simulation import Plan, Scale, draw
from candleactors.simulation.acts import ClockStep, Crash, Dawdle, Kill, Restart, Stall, Unwatch, Watch

_BEGINS_S, _ENDS_S = 30.0, 900.0
_LONGEST_S = 160.0
_PEACE_S, _LONG_PEACE_S = 600.0, 1_400.0
"""The long one is for gaps, which are looked for again after a quarter of an hour among others."""
_DEADLINES_S = (150.0, 10.0)
"""Some defects take a gap to be seen, others a candle that is waited for."""
_MOST_PENDING = 6
"""A reader that sleeps for a minute or two has more than that to catch up with; of one that resumed less is certain."""
_MOST_TRADES = 12.0
"""A minute: what is pushed more often takes time and proves nothing more."""
NAMES = frozenset(
    (
        *(kind.value for kind in FaultKind),
        *(f"store-{kind}" for kind in ("full", "unreadable", "slow", "unsure")),
        *(act.name for act in (Kill(0, 0), Restart(0, 0), Crash(0, ""), ClockStep(0, 0), Stall(0, 1))),
        *(act.name for act in (Watch(0, ()), Unwatch(0, ()), Dawdle(0, 0, 1))),
    )
)
"""Of everything that can happen."""
NARROW = "narrow-limits"
"""No act: at venues that allow little of everything."""
_NARROW: dict[str, Any] = {"connects": 3, "connects_window_s": 60.0}
_NARROW_WEIGHT = 40


def brief(seed: int, names: Collection[str]) -> Plan:
    """Return the plan of `seed` in which nothing happens but acts of these `names`."""
    plan = _narrow(_brief(seed, names)) if NARROW in names else _brief(seed, names)
    return evolve(plan, peace_s=_LONG_PEACE_S) if {"rest-timeout", NARROW} & set(names) else plan


def _brief(seed: int, names: Collection[str]) -> Plan:
    plan = draw(seed, Scale(streams=3, faults_per_hour=300, calm=NAMES.difference(names)))
    return evolve(
        plan,
        settings=evolve(
            plan.settings,
            repair=evolve(plan.settings.repair, deadline_s=_DEADLINES_S[seed % 2]),
            subscriber=SubscriberSettings(max_pending=_MOST_PENDING if "dawdle" in names else 100_000),
        ),
        symbols=tuple(evolve(s, trades_per_minute=min(s.trades_per_minute, _MOST_TRADES)) for s in plan.symbols),
        acts=tuple(act for act in plan.acts if act.at_s < _ENDS_S - _LONGEST_S),
        troubles=((_BEGINS_S, _ENDS_S),),
        peace_s=_PEACE_S,
    )


def _narrow(plan: Plan) -> Plan:
    venues = plan.settings.venues
    own = {name: rules for name, rules in plan.rules.items() if isinstance(rules, BinanceRules)}
    return evolve(
        plan,
        rules={name: evolve(rules, weight_per_minute=_NARROW_WEIGHT, **_NARROW) for name, rules in own.items()},
        settings=evolve(
            plan.settings,
            venues={name: evolve(venue, rest_weight=_NARROW_WEIGHT, **_NARROW) for name, venue in venues.items()},
        ),
    )

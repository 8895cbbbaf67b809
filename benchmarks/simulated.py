"""``python -m benchmarks.simulated REPEAT``: how fast simulations pass, in times real time on one core; prints JSON.

Twenty streams of 1m candles on one venue, updated every two seconds, first in peace and then in trouble; and what
`draw` makes of a few seeds, with derived timeframes, three readers and often two venues.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterable
from itertools import count
from typing import Any

from attrs import evolve

from candleactors.model import Timeframe
from candleactors.simulation import Plan, Scale, draw, run
from candleactors.simulation.plan import Audience

VENUE = "binance-spot"
TRADES_PER_MINUTE = 90.0
"""So many that a candle changes within two seconds nearly always."""
UNUSED = frozenset({"dawdle", "watch", "unwatch", "delist"})
SEEDS = range(1, 7)


def twenty_streams(faults_per_hour: float) -> Plan:
    """Return the first plan of the one venue, without anything derived, and with one reader."""
    scale = Scale(streams=20, faults_per_hour=faults_per_hour, calm=UNUSED)
    plan = next(plan for plan in (draw(seed, scale) for seed in count(1)) if list(plan.settings.venues) == [VENUE])
    venue = evolve(
        plan.settings.venues[VENUE],
        symbols=tuple(spec.symbol for spec in plan.symbols[:20]),
        timeframes=(Timeframe("1m"),),
        derived=(),
    )
    return evolve(
        plan,
        settings=evolve(plan.settings, venues={VENUE: venue}),
        symbols=tuple(evolve(spec, trades_per_minute=TRADES_PER_MINUTE) for spec in plan.symbols),
        readers=(Audience(),),
    )


def speed(plans: Iterable[Plan], repeat: int) -> dict[str, Any]:
    """Return how fast all of `plans` pass, the best of `repeat` times."""
    todo, runs = list(plans), []
    for _ in range(repeat):
        gc.collect()
        begun_s = time.process_time()
        outcomes = [run(plan) for plan in todo]
        runs.append(time.process_time() - begun_s)
    for outcome in outcomes:
        outcome.check()
    seconds, messages = sum(each.seconds for each in outcomes), sum(each.messages for each in outcomes)
    return {
        "simulated_s": seconds,
        "messages": messages,
        "faults": sum(each.faults.total() for each in outcomes),
        "times_real": round(seconds / min(runs)),
        "runs_times_real": [round(seconds / each) for each in runs],
    }


def main() -> None:
    repeat = int(sys.argv[1])
    results = {
        "20 streams, peace": speed([twenty_streams(0)], repeat),
        "20 streams, 200 faults an hour": speed([twenty_streams(200)], repeat),
        f"seeds {SEEDS.start} to {SEEDS.stop - 1}": speed(map(draw, SEEDS), 1),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()

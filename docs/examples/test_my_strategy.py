"""Test a strategy against a simulated exchange that misbehaves. Run it with pytest; needs candleactors[testing]."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

import trio

import candleactors
from candleactors.sim import Fault
from candleactors.testing import contract_breaches, run_simulated

if TYPE_CHECKING:
    from candleactors.testing import SimulatedFeed
    from candleactors.testing.plugin import SimulatedFeeds

STREAM = "binance-spot:BTCUSDT:1m"
TROUBLE = (
    Fault("drop", at_s=300),  # the connection breaks
    Fault("lost-close", at_s=900, duration_s=240),  # the closing messages of some minutes never come
    Fault("rest-error", at_s=930, duration_s=20),  # and REST is down when they are asked for
)


async def buy_three_rises(feed: candleactors.Feed, buy: Callable[[int], object]) -> None:
    """Yours: buy, at this time, when three minutes in a row have closed higher than the one before."""
    closes: deque[Decimal] = deque(maxlen=4)
    async for event in feed.candles([STREAM]):
        if isinstance(event, candleactors.Gap):
            closes.clear()
        elif isinstance(event, candleactors.Candle):
            closes.append(event.close)
            if rises(closes):
                buy(event.close_time_ms)


def rises(closes: Iterable[Decimal]) -> bool:
    steps = list(pairwise(closes))
    return len(steps) == 3 and all(before < after for before, after in steps)


async def an_hour_of_trading(world: SimulatedFeed) -> tuple[list[int], list[int]]:
    """Return when the strategy bought in an hour, and when it should have."""
    bought: list[int] = []
    with trio.move_on_after(3600):
        await buy_three_rises(world.feed, bought.append)
    # What the market really did, from the first candle on that the feed delivered.
    first = (await world.feed.history(STREAM, limit=1))[0]
    truth = world.truth(STREAM, first.open_time_ms)
    right = [truth[at].close_time_ms for at in range(3, len(truth)) if rises([c.close for c in truth[at - 3 : at + 1]])]
    return bought, right


async def test_it_buys_the_same_in_trouble(simulated_feed: SimulatedFeeds, autojump_clock: object) -> None:
    async with simulated_feed(faults=TROUBLE) as world:
        bought, right = await an_hour_of_trading(world)
    assert bought == right != []


def test_it_buys_the_same_in_trouble_without_async(simulated_feed: SimulatedFeeds) -> None:
    bought, right = simulated_feed.run(an_hour_of_trading, faults=TROUBLE, seed=5)
    assert bought == right != []


def test_a_seed_tells_the_same_story_again() -> None:
    async def story(world: SimulatedFeed) -> list[tuple[float, candleactors.Event]]:
        told: list[tuple[float, candleactors.Event]] = []
        async for event in world.feed.candles():
            told.append((trio.current_time(), event))
            if len(told) == 210:
                break
        return told

    first, again, other = (run_simulated(story, seed=seed, faults=TROUBLE) for seed in (1, 1, 2))
    assert first == again != other
    assert contract_breaches(event for _, event in first) == []

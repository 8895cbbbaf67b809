"""Two ways to run a feed inside a Trio program. Try it with a simulator:

    candleactors sim &
    python docs/examples/embed.py ws://127.0.0.1:9443 http://127.0.0.1:9443

Without arguments it asks the real venue.
"""

from __future__ import annotations

import sys
from functools import partial

import trio

import candleactors
from candleactors.settings import Settings, VenueSettings


def settings(websocket_url: str | None = None, rest_url: str | None = None) -> Settings:
    """Return what to watch."""
    return Settings(
        venues={
            "binance-spot": VenueSettings(
                symbols=("BTCUSDT",),
                timeframes=(candleactors.Timeframe("1s"), candleactors.Timeframe("1m")),
                websocket_url=websocket_url,
                rest_url=rest_url,
            )
        }
    )


async def around_a_block(chosen: Settings, events: int) -> list[candleactors.Event]:
    """The feed lives as long as the ``async with``; whatever ends the block ends the feed, in order."""
    seen: list[candleactors.Event] = []
    async with candleactors.open_feed(chosen) as feed:
        feed.watch(["binance-spot:ETHUSDT:1s"], owner="my strategy")
        async for event in feed.candles():
            match event:
                case candleactors.Candle():
                    print(f"{event.stream} closed at {event.close}, from {event.source}")
                case candleactors.Gap():
                    print(f"{event.stream} lacks {event.count} candles: {event.reason}")
                case candleactors.Revision():
                    print(f"{event.stream} corrected: {event.candle}")
            seen.append(event)
            if len(seen) == events:
                break
    return seen


async def as_a_task(chosen: Settings, events: int) -> list[candleactors.Event]:
    """The feed is a task in the program's own nursery; a reader cut off for being slow goes on from its cursor."""
    seen: list[candleactors.Event] = []
    async with trio.open_nursery() as nursery:
        feed = await nursery.start(partial(candleactors.run_feed, chosen))
        cursor = None
        while len(seen) < events:
            try:
                async for event in feed.candles(["binance-spot:BTCUSDT:1s"], after=cursor):
                    seen.append(event)
                    if len(seen) == events:
                        break
            except candleactors.SubscriberLagged as lagged:
                cursor = lagged.cursor
        print(f"healthy: {feed.status().healthy}")
        feed.stop()
    return seen


async def main(websocket_url: str | None = None, rest_url: str | None = None) -> None:
    """Run one after the other, on the same store."""
    chosen = settings(websocket_url, rest_url)
    await around_a_block(chosen, 620)
    await as_a_task(chosen, 3)


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:3]))

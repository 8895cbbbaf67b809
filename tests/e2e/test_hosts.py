"""Programs that embed a feed: however they end, the feed ends with them, in order and in time."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from e2e_world import SPOT, Judge, World, open_world, spot

from candleactors.errors import ConfigError, FeedClosed, StoreUnavailable
from candleactors.feed import Feed, open_feed, run_feed
from candleactors.settings import Settings, StoreSettings, SupervisionSettings
from candleactors.sim.faults import FaultKind
from candleactors.stores.sqlite import SqliteStore


class HostError(Exception):
    """Something the host did wrong."""


def tasks() -> int:
    """Return how many tasks there are below the test's own."""
    task = trio.lowlevel.current_task()
    return sum(1 + below(child) for nursery in task.child_nurseries for child in nursery.child_tasks)


def below(task: trio.lowlevel.Task) -> int:
    return sum(1 + below(child) for nursery in task.child_nurseries for child in nursery.child_tasks)


async def rest_of_the_world(world: World) -> int:
    """Return how many tasks the world itself has once its connections have noticed."""
    await trio.sleep(70)
    return tasks()


@pytest.mark.parametrize("trouble", [None, FaultKind.HALF_OPEN, FaultKind.HANG_HANDSHAKE, FaultKind.REST_TIMEOUT])
@pytest.mark.parametrize("way", ["return", "raise", "cancel", "cancel at once"])
async def test_no_task_is_left_and_all_that_was_delivered_is_stored(
    autojump_clock: object, tmp_path: Path, way: str, trouble: FaultKind | None
) -> None:
    async with open_world(tmp_path) as world:
        before = await rest_of_the_world(world)
        judge = Judge(world)
        ended_s = 0.0

        async def host() -> None:
            nonlocal ended_s
            async with world.feed() as feed:
                world.nursery.start_soon(judge.read, feed)
                await trio.sleep(0 if way == "cancel at once" else 30)
                if trouble is not None:
                    world.inject(trouble, duration_s=1000.0)
                    world.inject(FaultKind.DROP if trouble is FaultKind.HANG_HANDSHAKE else FaultKind.LOST_CLOSE)
                    await trio.sleep(1)
                ended_s = trio.current_time()
                if way == "raise":
                    raise HostError
                if way != "return":
                    scope.cancel()
                    await trio.sleep_forever()

        with trio.CancelScope() as scope:
            if way == "raise":
                with pytest.raises(HostError):
                    await host()
            else:
                await host()
        assert scope.cancelled_caught == way.startswith("cancel")
        assert trio.current_time() - ended_s <= 13.0
        await judge.done.wait()
        assert not judge.complaints
        for stream in judge.streams:
            await judge.compare_store(stream)
        assert await rest_of_the_world(world) <= before


async def test_run_feed_in_the_hosts_nursery(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        store = await SqliteStore.open(world.path, threaded=False)
        async with trio.open_nursery() as nursery:

            async def run(*, task_status: trio.TaskStatus[Feed]) -> None:
                await run_feed(
                    world.settings,
                    store=store,
                    network=world.network,
                    clock=world.clock,
                    log=world.log.logger,
                    task_status=task_status,
                )

            feed = await nursery.start(run)
            judge = world.judge(feed)
            await trio.sleep(60)
            feed.stop()
            with trio.fail_after(15):
                await judge.done.wait()
        with pytest.raises(FeedClosed):
            feed.status()
        await store.aclose()
        await judge.verdict()


async def test_history_that_waits_while_the_feed_ends(autojump_clock: object, tmp_path: Path) -> None:
    """Nobody hangs: the question is answered or refused."""
    async with open_world(tmp_path) as world:
        answers: list[int] = []
        refused = trio.Event()
        async with trio.open_nursery() as nursery:
            async with world.feed() as feed:
                await trio.sleep(20)

                async def ask() -> None:
                    while True:
                        try:
                            answers.append(len(await feed.history(f"{SPOT}:BTCUSDT:1s")))
                        except FeedClosed:
                            refused.set()
                            return
                        await trio.sleep(0.01)

                nursery.start_soon(ask)
                await trio.sleep(1)
            with trio.fail_after(1):
                await refused.wait()
        assert answers[-1] > 0


async def test_a_feed_that_hangs_on_its_store_ends_within_its_deadline(autojump_clock: object, tmp_path: Path) -> None:
    class StuckStore(SqliteStore):
        stuck = False

        async def write(self, *args: object, **kwargs: object) -> None:
            if self.stuck:
                await trio.sleep_forever()
            await super().write(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they are

    async with open_world(tmp_path, supervision=SupervisionSettings(drain_s=4.0)) as world:
        store = await StuckStore.open(world.path, threaded=False)
        assert isinstance(store, StuckStore)
        async with world.feed(store=store) as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            store.stuck = True
            await trio.sleep(5)
            stop_s = trio.current_time()
        assert trio.current_time() - stop_s <= 4.0 + 4.0
        await store.aclose()
        await judge.done.wait()
        assert not judge.complaints


async def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        async with open_feed(tmp_path / "missing.toml"):
            pass
    settings = Settings(venues={SPOT: spot()}, store=StoreSettings(path=tmp_path / "no" / "such" / "c.sqlite"))
    with pytest.raises(StoreUnavailable):
        async with open_feed(settings):
            pass

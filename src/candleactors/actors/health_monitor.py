"""The health monitor: looks at every stream of one shard, reads the silent ones over REST, and acts on the verdict."""

from __future__ import annotations

from attrs import frozen

from candleactors.actors.child import ChildContext
from candleactors.actors.interest import Interest
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.messages import Read, Reading, Wish
from candleactors.actors.shard import HealthReport, Shard
from candleactors.actors.traffic import Reason
from candleactors.core.health import HealthRules, ShardHealth, StreamState
from candleactors.errors import StaleStream
from candleactors.settings import HealthSettings
from candleactors.transport.clock import Clock
from candleactors.venues.base import Codec


@frozen
class MonitorDeps:
    """What every health monitor of a venue works with."""

    codec: Codec
    settings: HealthSettings
    clock: Clock
    interest: Interest
    wishes: Mailbox[Wish]


async def run_monitor(shard: Shard, deps: MonitorDeps, context: ChildContext) -> None:
    """Be the health monitor of `shard`, as the body of a child.

    Raises `StaleStream` where so many streams are sick that the connection has to go: the shard's supervisor then
    restarts both.
    """
    clock, codec, interval_s = deps.clock, deps.codec, deps.settings.interval_s
    health = ShardHealth(HealthRules(interval_s, deps.settings.sick_share, codec.rules.heartbeat_s is not None))
    silent: dict[str, float] = {}
    shard.readings.take_all()
    look_at_s = clock.monotonic_s() + interval_s
    async with shard.readings.attended(context.stopping):
        context.started()
        while not context.stopping.is_set():
            for reading in await shard.readings.drain(look_at_s):
                _take_in(reading, codec.stream_name(reading.stream), silent, health, clock.monotonic_s())
            now_s = clock.monotonic_s()
            if shard.connection is None:
                continue
            streams = deps.interest.plan(codec.rules.venue).streams_of(shard.id)
            remedy = health.remedy(len(streams), now_s)
            if remedy.restart is not None:
                shard.reason = Reason.STALE
                raise StaleStream(remedy.restart)
            if remedy.resubscribe:
                shard.connection.resubscribe(remedy.resubscribe)
            if now_s >= look_at_s:
                look_at_s = now_s + interval_s
                silent = shard.connection.silent()
                by_name = {codec.stream_name(stream): stream for stream in streams}
                for name in health.look(silent, now_s, unheard=shard.connection.unheard()):
                    if (stream := by_name.get(name)) is None or not deps.wishes.offer(Read(stream, shard.readings)):
                        health.on_unread(name, now_s)
            shard.health = HealthReport(*(health.named(state) for state in StreamState))


def _take_in(reading: Reading, name: str, silent: dict[str, float], health: ShardHealth, now_s: float) -> None:
    since_s = silent.get(name)
    if reading.rows is None or since_s is None:
        health.on_unread(name, now_s)
    else:
        since_ms = reading.venue_now_ms - round((now_s - since_s) * 1000)
        health.on_rows(name, reading.rows, since_ms, now_s)

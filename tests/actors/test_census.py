"""The census: few names, whatever the numbers of shards; only what came up again has restarted."""

from __future__ import annotations

from candleactors.actors.census import Actor, Census
from candleactors.core.failure import FailureClass
from candleactors.core.lifecycle import ChildEnded, ChildFailed, ChildStarted, ChildStopped


def test_who_is_who() -> None:
    census = Census(["okx"])
    census.expect("feed", ["hub"])
    census.expect("venues", ["okx"])
    census.expect("okx", ["sequencer"])
    census.expect("okx/sources", ["pool", "shard-1", "shard-2"])
    census.expect("okx/shard-2", ["connection"])
    census.expect("services", ["web"])
    assert [*census.restarts] == [
        Actor("", "hub"),
        Actor("okx", "venue"),
        Actor("okx", "sequencer"),
        Actor("okx", "pool"),
        Actor("okx", "shard"),
        Actor("okx", "connection"),
        Actor("", "web"),
    ]
    assert len(census.failures) == 7 * len(FailureClass)


def test_what_counts() -> None:
    census = Census(["okx"])
    shard = "okx/shard-7"
    census.note(ChildStarted(shard, "connection", 1))
    census.note(ChildFailed(shard, "connection", 1, FailureClass.TRANSIENT, OSError(), 0.5))
    census.note(ChildFailed(shard, "connection", 2, FailureClass.TRANSIENT, OSError(), 0.5))
    census.note(ChildStarted(shard, "connection", 3))
    census.note(ChildStopped(shard, "connection", 3, None))
    census.note(ChildEnded("okx/sources", "pool", 1, 0.5))
    census.note(ChildEnded("okx/sources", "pool", 2, None))  # the feed stops
    assert census.restarts == {Actor("okx", "connection"): 1}
    assert census.failures == {
        (Actor("okx", "connection"), FailureClass.TRANSIENT): 2,
        (Actor("okx", "pool"), FailureClass.COUNTED): 1,
    }

"""Sharding: which connection carries which stream, with the least movement.

A shard is the stream set of one WebSocket connection. Its id is an int that is never used again, so that whatever is
known about a connection (logs, metrics, old messages) can never be taken for its successor's.

A shard is *active* or *retiring*. Every carried stream has exactly one active shard; a retiring shard carries copies of
streams that active shards carry too, until its owner reports it `retired`. That is make-before-break as a data
structure: whichever shards the caller closes, a stream is only ever dropped from a retiring one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import field, frozen
from attrs.validators import ge

from candleactors.errors import LocalProtocolError
from candleactors.model import Stream

_RESERVE: Final = 10
"""One in so many slots of a shard must stay free for a consolidation to be worth it."""


@frozen
class ShardLimits:
    """How much of a venue one process may use: streams per connection, connections."""

    capacity: int = field(validator=ge(1))
    max_shards: int = field(validator=ge(1))


@frozen
class ShardStatus:
    """One shard at one moment. `streams` is a count."""

    id: int
    streams: int
    capacity: int
    retiring: bool
    successors: tuple[int, ...]
    """Of a retiring shard: the active shards that carry its streams."""

    @property
    def used(self) -> float:
        """The share of the capacity in use, 0 to 1."""
        return self.streams / self.capacity


@frozen
class PlanStatus:
    """A plan at one moment: every shard by id, and how many streams find no room."""

    shards: tuple[ShardStatus, ...]
    carried: int
    waiting: int


class ShardPlan:
    """Assigns streams to shards of at most `capacity` streams, at most `max_shards` of them active.

    Retiring shards come on top of `max_shards`: they are about to go. Results depend on nothing but the order of calls.
    """

    def __init__(self, capacity: int, max_shards: int) -> None:
        self._limits = ShardLimits(capacity, max_shards)
        self._rank: dict[Stream, int] = {}
        self._home: dict[Stream, int] = {}
        self._active: dict[int, dict[Stream, None]] = {}
        self._retiring: dict[int, dict[Stream, None]] = {}
        self._waiting: tuple[Stream, ...] = ()
        self._last_id = 0

    @property
    def limits(self) -> ShardLimits:
        return self._limits

    @property
    def active(self) -> tuple[int, ...]:
        """The ids of the active shards, oldest first."""
        return tuple(self._active)

    @property
    def retiring(self) -> tuple[int, ...]:
        """The ids of the retiring shards, in the order in which they began to retire."""
        return tuple(self._retiring)

    @property
    def waiting(self) -> tuple[Stream, ...]:
        """The streams there is no room for, highest priority first."""
        return self._waiting

    def streams_of(self, shard_id: int) -> tuple[Stream, ...]:
        """Return what a shard is to carry, highest priority first; empty for an id that is no longer in the plan."""
        streams = self._active.get(shard_id) or self._retiring.get(shard_id) or {}
        return tuple(sorted(streams, key=self._rank.__getitem__))

    def shard_of(self, stream: Stream) -> int | None:
        """Return the active shard of a stream, or ``None`` where it waits or is not wanted."""
        return self._home.get(stream)

    def successors(self, shard_id: int) -> tuple[int, ...]:
        """Return the active shards that must be flowing before a retiring shard may be closed, oldest first.

        Empty for an id that is not retiring.
        """
        return tuple(sorted({self._home[stream] for stream in self._retiring.get(shard_id, ())}))

    def fit(self, streams: Sequence[Stream]) -> tuple[int, ...]:
        """Carry exactly `streams`, each given once, highest priority first; what finds no room waits.

        No stream that stays is moved. New ones go to the fullest shard with room, so that shrinking leaves few
        shards. Returns the ids of the shards whose streams changed, the new and the vanished among them.

        Takes time in proportion to ``len(streams)``. Raises `LocalProtocolError` where a stream is given twice.
        """
        limit = self._limits.capacity * self._limits.max_shards
        rank = dict(zip(streams[:limit], range(limit), strict=False))
        if len(rank) < min(len(streams), limit):
            raise LocalProtocolError("a stream was given twice")
        self._rank = rank
        self._waiting = tuple(streams[limit:])
        # Set differences of dicts reuse the stored hashes; only a change pays for a second pass, in a defined order.
        gone = set(self._home).difference(rank)
        new = set(rank).difference(self._home)
        touched = self._remove([s for s in self._home if s in gone]) if gone else []
        if new:
            touched += self._add([s for s in rank if s in new])
        return tuple(sorted(set(touched)))

    def consolidate(self) -> int | None:
        """Empty the shard with the fewest streams into the others, if one shard fewer would do.

        The emptied shard retires and keeps its streams until `retired`. Returns its id, or ``None`` where nothing is
        to be done. To avoid flapping (a shard closed for one stream that goes, opened for the next that comes), the
        remaining shards must keep a tenth of one shard's capacity free, at least one slot, all together.
        """
        capacity = self._limits.capacity
        room = (len(self._active) - 1) * capacity - len(self._home)
        if not self._active or room < -(-capacity // _RESERVE):
            return None
        emptiest = min(self._active, key=lambda shard_id: (len(self._active[shard_id]), -shard_id))
        streams = self._active.pop(emptiest)
        self._retiring[emptiest] = streams
        self._add(list(streams))
        return emptiest

    def rotate(self, shard_id: int) -> int | None:
        """Give an active shard's streams to a new shard; the old one retires and keeps them until `retired`.

        Returns the new id, or ``None`` where `shard_id` is not active any more: nothing is left to rotate.
        """
        streams = self._active.pop(shard_id, None)
        if streams is None:
            return None
        self._retiring[shard_id] = dict(streams)
        new_id = self._open()
        self._active[new_id] = streams
        self._home.update(dict.fromkeys(streams, new_id))
        return new_id

    def retired(self, shard_id: int) -> None:
        """Forget a retiring shard: its connection is closed. Does nothing where it is forgotten already.

        Raises `LocalProtocolError` for an active shard, whose streams nobody else would carry.
        """
        if shard_id in self._active:
            raise LocalProtocolError(f"shard {shard_id} is active and cannot be retired")
        self._retiring.pop(shard_id, None)

    def status(self) -> PlanStatus:
        """Return a snapshot, shards by id."""
        shards = {**self._active, **self._retiring}
        return PlanStatus(
            shards=tuple(
                ShardStatus(
                    id=shard_id,
                    streams=len(shards[shard_id]),
                    capacity=self._limits.capacity,
                    retiring=shard_id in self._retiring,
                    successors=self.successors(shard_id),
                )
                for shard_id in sorted(shards)
            ),
            carried=len(self._home),
            waiting=len(self._waiting),
        )

    def _open(self) -> int:
        self._last_id += 1
        return self._last_id

    def _remove(self, streams: Sequence[Stream]) -> list[int]:
        touched = []
        for stream in streams:
            home = self._home.pop(stream)
            del self._active[home][stream]
            touched.append(home)
            for shard_id, copies in self._retiring.items():
                if stream in copies:
                    del copies[stream]
                    touched.append(shard_id)
        self._active = {shard_id: held for shard_id, held in self._active.items() if held}
        self._retiring = {shard_id: held for shard_id, held in self._retiring.items() if held}
        return touched

    def _add(self, streams: Sequence[Stream]) -> list[int]:
        touched = []
        capacity = self._limits.capacity
        start = 0
        while start < len(streams):
            with_room = [shard_id for shard_id, held in self._active.items() if len(held) < capacity]
            if with_room:
                target = max(with_room, key=lambda shard_id: (len(self._active[shard_id]), -shard_id))
            else:
                target = self._open()
                self._active[target] = {}
            held = self._active[target]
            chunk = streams[start : start + capacity - len(held)]
            held.update(dict.fromkeys(chunk))
            self._home.update(dict.fromkeys(chunk, target))
            touched.append(target)
            start += len(chunk)
        return touched

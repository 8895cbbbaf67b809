"""Readers: the subscriptions of a hub, found by what they read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from weakref import WeakSet

from candleactors.actors.delivery import Delivery
from candleactors.actors.subscription import Subscription
from candleactors.model import Stream


class Readers:
    """The live subscriptions, indexed by stream: hundreds of readers of one stream each cost a delivery nothing.

    Holds no reader alive. Those that read everything are in no index.
    """

    def __init__(self) -> None:
        self._all: WeakSet[Subscription] = WeakSet()
        self._of_everything: WeakSet[Subscription] = WeakSet()
        self._of_stream: dict[Stream, WeakSet[Subscription]] = {}

    def __iter__(self) -> Iterator[Subscription]:
        """Iterate over a copy: readers may come and go meanwhile."""
        return iter(list(self._all))

    def add(self, reader: Subscription) -> None:
        """Take in a reader."""
        self._all.add(reader)
        if reader.streams is None:
            self._of_everything.add(reader)
            return
        for stream in reader.streams:
            self._of_stream.setdefault(stream, WeakSet()).add(reader)

    def discard(self, reader: Subscription) -> None:
        """Let a reader go."""
        self._all.discard(reader)
        self._of_everything.discard(reader)
        for stream in reader.streams or ():
            self._leave(stream, reader)

    def spell(self, stream: Stream, own: Stream) -> None:
        """Let those that chose `stream` have `own`."""
        for reader in list(self._of_stream.get(stream, ())):
            reader.spell(stream, own)
            self._leave(stream, reader)
            self._of_stream.setdefault(own, WeakSet()).add(reader)

    def of(self, stream: Stream) -> Iterable[Subscription]:
        """Return who is given what is delivered of `stream`."""
        chosen = self._of_stream.get(stream)
        return list(self._of_everything) if chosen is None else [*self._of_everything, *chosen]

    def concerned(self, delivery: Delivery) -> list[Subscription]:
        """Return who is given something of `delivery`, each once."""
        found = dict.fromkeys(self._of_everything)
        if self._of_stream:
            for stream in delivery.streams():
                if (chosen := self._of_stream.get(stream)) is not None:
                    found.update(dict.fromkeys(chosen))
                    if not chosen:  # forgotten rather than closed
                        del self._of_stream[stream]
        return list(found)

    def _leave(self, stream: Stream, reader: Subscription) -> None:
        if (chosen := self._of_stream.get(stream)) is not None:
            chosen.discard(reader)
            if not chosen:
                del self._of_stream[stream]

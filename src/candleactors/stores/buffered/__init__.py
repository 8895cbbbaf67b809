"""The buffered store: a database, and a file on disk that takes what the database does not take now.

Durability: what `BufferedStore.write` has returned for is in the database, or in a file written through to the disk,
from where it goes on to the database in the order in which it came. A batch may reach the database twice, when a
process dies after it was committed there and before it was taken out of the file. That is harmless: writing the same
again changes nothing.
"""

from __future__ import annotations

from candleactors.stores.buffered.store import BufferedStore, Outage, open_buffered

__all__ = ["BufferedStore", "Outage", "open_buffered"]

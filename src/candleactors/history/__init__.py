"""History without a feed: what venues have and a store lacks, fetched over REST, and holes mended.

The store is the only record of what was done, so whatever interrupts a run, the same again goes on.
"""

from __future__ import annotations

from candleactors.history.report import StreamReport
from candleactors.history.run import History, Wanted

__all__ = ["History", "StreamReport", "Wanted"]

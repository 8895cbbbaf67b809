"""Orders of arrival."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


@st.composite
def arrivals(
    draw: st.DrawFn, items: Sequence[T] | st.SearchStrategy[Sequence[T]], *, reach: int | None = None, repeats: int = 3
) -> list[T]:
    """Return `items`, or what this strategy draws, in the order in which they happen to arrive, some more than once.

    - `reach`: none arrives later than so many others that belong behind it; ``None``: any order.
    - `repeats`: at most so many arrive a second time, at any time after the first, `reach` or not.

    Nothing is lost. The first one stays the first if `reach` is 0. Shrinks towards the given order without repeats.
    """
    given = draw(items) if isinstance(items, st.SearchStrategy) else items
    if not given:
        return []
    spots = st.integers(0, len(given) - 1)
    furthest = 2 * len(given) if reach is None else reach
    late = draw(st.dictionaries(spots, st.integers(0, furthest)))
    # The sort is stable, so an item overtakes only what is late.
    arrived = [item for _, item in sorted(enumerate(given), key=lambda pair: pair[0] + late.get(pair[0], 0))]
    for spot, delay in draw(st.lists(st.tuples(spots, spots), max_size=repeats)):
        arrived.insert(min(spot + 1 + delay, len(arrived)), arrived[spot])
    return arrived

"""The pytest plugin: the fixture ``simulated_feed`` and the option ``--candleactors-seed``.

Every pytest run imports this where candleactors is installed, so it imports nothing large before a test asks for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from typing import Unpack

    from candleactors.testing.simulation import Options, SimulatedFeed

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the seed."""
    parser.getgroup("candleactors").addoption(
        "--candleactors-seed",
        type=int,
        metavar="SEED",
        help="seed of simulated feeds, to replay a failure; by default each test has one of its own, always the same",
    )


class SimulatedFeeds:
    """What the fixture ``simulated_feed`` gives: feeds in simulated worlds, with the seed of the test."""

    def __init__(self, node: pytest.Item, seed: int) -> None:
        self.seed = seed
        """Of every feed that is opened without one."""
        self._node = node

    def __call__(self, **options: Unpack[Options]) -> AbstractAsyncContextManager[SimulatedFeed]:
        """Return a feed in a simulated world for the body of an ``async with``; see `open_simulated_feed`.

        For async tests with pytest-trio's fixture ``autojump_clock``.
        """
        from candleactors.testing.simulation import open_simulated_feed

        return open_simulated_feed(**self._seeded(options))

    def run(self, body: Callable[[SimulatedFeed], Awaitable[T]], **options: Unpack[Options]) -> T:
        """Return what ``await body(feed)`` does in a simulated world, for tests that are not async."""
        from candleactors.testing.simulation import run_simulated

        return run_simulated(body, **self._seeded(options))

    def _seeded(self, options: Options) -> Options:
        told = f"simulated feed: seed {options.setdefault('seed', self.seed)}\n"
        if options["seed"] == self.seed:
            told += f'replay: pytest "{self._node.nodeid}" --candleactors-seed={self.seed}\n'
        self._node.add_report_section("call", "candleactors", told)
        return options


@pytest.fixture
def simulated_feed(request: pytest.FixtureRequest) -> SimulatedFeeds:
    """Feeds in simulated worlds and virtual time: ``async with simulated_feed() as world``, or ``.run(body)``."""
    given = request.config.getoption("--candleactors-seed")
    seed = zlib.crc32(request.node.nodeid.encode()) if given is None else given
    return SimulatedFeeds(request.node, seed)

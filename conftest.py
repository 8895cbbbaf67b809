"""What every test can rely on, wherever it is run.

Hypothesis has no time limits, which would make tests fail by chance on slow machines. Examples are the same in every
run, so that a change is judged by what it does. `nox -s explore` draws others.
"""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)
settings.register_profile("explore", settings.get_profile("any-machine"), derandomize=False, max_examples=500)
settings.load_profile("any-machine")

# Shells start what they run in the background with interrupts ignored, and children inherit that; some tests send one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a database server, so that it can be run, or left out, by itself."""
    for item in items:
        if "postgres_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)

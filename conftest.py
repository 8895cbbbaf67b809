"""Hypothesis, for machines of any speed: time limits would make tests fail by chance.

Examples are the same in every run, so that a change is judged by what it does. `nox -s explore` draws others.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)
settings.register_profile("explore", settings.get_profile("any-machine"), derandomize=False, max_examples=500)
settings.load_profile("any-machine")

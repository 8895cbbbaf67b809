"""Interop tests need clients that the project does not depend on, so they run only when asked for by path or marker."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked_for = "interop" in config.option.markexpr or any("interop" in argument for argument in config.args)
    if not asked_for:
        left_out = [item for item in items if item.get_closest_marker("interop")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)

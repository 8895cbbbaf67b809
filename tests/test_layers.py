"""The import rules of docs/architecture.md, read off the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "src" / "candleactors"

MAY_IMPORT = {
    "errors": {"model"},  # for annotations alone, see test_errors_import_nothing_at_run_time
    "model": {"errors"},
    "validators": {"errors"},
    "settings": {"errors", "model", "validators"},
    "core": {"errors", "model", "settings"},
    "venues": {"errors", "model", "core"},
    "transport": {"errors", "model", "settings", "core", "venues"},
    "columnar": {"errors", "model", "core"},
    "stores": {"errors", "model", "settings", "core"},
    "sim": {"errors", "model"},
    "actors": {"errors", "model", "settings", "core", "venues", "transport", "stores"},
}
"""What each package or module may use of ours besides itself. Packages not listed here may use anything but these:"""
FOR_USERS = {"testing"}
"""What nobody but users may import."""

PURE = {"errors", "model", "core", "venues"}
IMPURE_MODULES = {
    *("trio", "trio_websocket", "wsproto", "h11", "httpx", "httpcore", "anyio", "asyncio"),
    *("time", "random", "secrets", "logging", "structlog", "socket", "ssl", "select", "threading", "subprocess"),
}
ONLY_IN = {"trio_websocket": {"transport/websocket.py"}, "httpx": {"transport/rest.py"}}
ONLY_UNDER = {"litestar": "web/", "hypercorn": "web/", "prometheus_client": "web/metrics.py", "psycopg": "stores/"}


def imported(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """Yield the dotted name of everything that `source`, a module in `package`, imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *(node.module or "").split("."))).rstrip(".")
            for alias in node.names:
                yield f"{module}.{alias.name}"


def violations(path: str, source: str) -> list[str]:
    """Return what the module at `path`, relative to the package, imports against the rules."""
    parts = path.removesuffix(".py").split("/")
    layer = parts[0]
    found = []
    for name in imported(source, ("candleactors", *parts[:-1])):
        top, _, rest = name.partition(".")
        if top == "candleactors":
            target = rest.partition(".")[0]
            if target == layer:
                continue
            if target in FOR_USERS or (layer in MAY_IMPORT and target not in MAY_IMPORT[layer]):
                found.append(f"{path} imports {name}")
        elif (
            (layer in PURE and top in IMPURE_MODULES)
            or path not in ONLY_IN.get(top, {path})
            or not path.startswith(ONLY_UNDER.get(top, ""))
        ):
            found.append(f"{path} imports {name}")
    return found


def modules() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", modules())
def test_module_imports_only_what_its_layer_may(path: str) -> None:
    assert violations(path, (ROOT / path).read_text("utf-8")) == []


def test_errors_import_nothing_at_run_time() -> None:
    body = ast.parse((ROOT / "errors.py").read_text("utf-8")).body
    at_run_time = [name for node in body if not isinstance(node, ast.If) for name in imported(ast.unparse(node), ())]
    assert not [name for name in at_run_time if name.startswith("candleactors")]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("model/candle.py", "import trio"),
        ("core/registry.py", "import time"),
        ("core/registry.py", "def f():\n    from random import Random"),
        ("core/registry.py", "from candleactors.venues.base import Codec"),
        ("core/registry.py", "from candleactors import venues"),
        ("core/registry.py", "from ..venues import base"),
        ("core/registry.py", "from .. import actors"),
        ("venues/binance.py", "import logging"),
        ("venues/binance.py", "import socket"),
        ("venues/binance.py", "from candleactors.actors.mailbox import Mailbox"),
        ("stores/sqlite/store.py", "import candleactors.venues"),
        ("sim/market.py", "from candleactors.venues import codec"),
        ("sim/server.py", "from candleactors.transport.network import Network"),
        ("sim/server.py", "from candleactors.actors import feed"),
        ("actors/connection.py", "import trio_websocket"),
        ("transport/network.py", "import trio_websocket"),
        ("actors/backfill.py", "from httpx import AsyncClient"),
        ("cli/main.py", "import httpx"),
        ("cli/main.py", "from candleactors.testing import candles"),
        ("feed.py", "from litestar import get"),
        ("web/app.py", "import prometheus_client"),
        ("feed.py", "from candleactors import testing"),
    ],
)
def test_a_violation_is_found(path: str, line: str) -> None:
    assert len(violations(path, line)) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/registry.py", "from candleactors.model import Stream"),
        ("core/registry.py", "from .sharding import ShardPlan"),
        ("core/registry.py", "from ..model import Stream"),
        ("transport/websocket.py", "from trio_websocket import connect_websocket"),
        ("transport/rest.py", "import httpx"),
        ("sim/market.py", "from random import Random"),
        ("cli/main.py", "from candleactors.actors import feed"),
        ("testing/simulation.py", "from candleactors.feed import open_feed"),
        ("testing/strategies/runs.py", "from candleactors.testing.strategies.prices import moves"),
    ],
)
def test_what_is_allowed_is_not_found(path: str, line: str) -> None:
    assert violations(path, line) == []

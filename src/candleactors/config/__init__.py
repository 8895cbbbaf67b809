"""Configuration: settings from a TOML file and the environment, checked without a network.

Every mistake is a `ConfigError` of one line; where there are several, the first is reported.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from candleactors.config.environment import overlay
from candleactors.config.retention import check_retention
from candleactors.config.shorthand import shorthand
from candleactors.config.structure import structure
from candleactors.config.venues import can_watch, check_venues
from candleactors.errors import ConfigError
from candleactors.settings import Settings

__all__ = ["can_watch", "check_retention", "check_venues", "load"]


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings in the TOML file at `path`, the defaults if ``None``, overridden by variables in `environ`.

    ``CANDLEACTORS_HEALTH__STALE_AFTER_S=90`` sets ``stale_after_s`` in ``[health]``,
    ``CANDLEACTORS_VENUES__BINANCE_SPOT__SYMBOLS=BTCUSDT,ETHUSDT`` the symbols in ``[venues.binance-spot]``. The word
    ``none`` stands for no value where that is allowed. Relative paths in the file are relative to the working
    directory. Without a file, ``ASSETS`` and the other short variables of `candleactors.config.shorthand` stand in for
    it. Reads the file and nothing else. Raises `ConfigError`.
    """
    table, variables = shorthand(environ) if path is None else (_read(path), {})
    variables |= overlay(table, environ)
    try:
        settings = structure(table)
        check_venues(settings)
        check_retention(settings)
    except ConfigError as error:
        source = _variable(variables, error.key) or (None if path is None else str(path))
        raise (error.within(source) if source else error) from None
    return settings


def _read(path: Path) -> dict[str, Any]:
    source = str(path)
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", source=source) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8", key=f"line {line}", source=source) from None
    except tomllib.TOMLDecodeError as error:
        problem, place = str(error), None
        if found := re.fullmatch(r"(.*) \(at (.*)\)", problem, re.DOTALL):
            problem, place = found[1], found[2]
        raise ConfigError(problem, key=place, source=source) from None


def _variable(variables: Mapping[str, str], key: str | None) -> str | None:
    """Return the variable that set `key`, which may go on with an index or name an entry of a table."""
    return variables.get(key.partition("[")[0], variables.get(key.rpartition(".")[0])) if key else None

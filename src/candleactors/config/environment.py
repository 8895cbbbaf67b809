"""Settings from environment variables, laid over those of a file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import attrs

from candleactors.config.structure import optional_of
from candleactors.errors import ConfigError
from candleactors.model import Timeframe
from candleactors.settings import Settings
from candleactors.validators import Secret, nearest, quoted

PREFIX: Final = "CANDLEACTORS_"
_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def overlay(table: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Lay the variables in `environ` over `table`, in place; return the name of the variable by the key it set.

    Two underscores separate the parts of a key. Names that start with the prefix and have neither two underscores nor
    the name of a setting are none of ours. Raises `ConfigError` for a key that does not exist.
    """
    set_by: dict[str, str] = {}
    for variable in sorted(environ):
        parts = variable.removeprefix(PREFIX).split("__")
        if not variable.startswith(PREFIX) or not _is_meant(parts):
            continue
        keys, wanted = _find(variable, parts)
        target: Any = table
        for key in keys[:-1]:
            target = target.setdefault(key, {}) if isinstance(target, dict) else None
        # A file with something else in the place of a table is refused for that in a moment.
        if isinstance(target, dict):
            try:
                target[keys[-1]] = _value(environ[variable], wanted)
            except ConfigError as error:
                raise error.at(".".join(keys)).within(variable) from None
            set_by[".".join(keys)] = variable
    return set_by


def _is_meant(parts: list[str]) -> bool:
    if len(parts) > 1:
        return True
    name = parts[0].lower()
    fields = attrs.fields_dict(Settings)
    return name in fields or any(name.startswith(f"{table}_") for table in fields)


def _find(variable: str, parts: list[str]) -> tuple[list[str], Any]:
    """Return the keys that the parts of a variable's name stand for, and the type of the value."""
    keys: list[str] = []
    wanted: Any = Settings
    for part in parts:
        name = part.lower()
        if _is_by_timeframe(wanted):
            raise ConfigError(
                "in the name of a variable 1m and 1M are the same; "
                f"write {PREFIX}{'__'.join(keys).upper()}=1m=90,1h=3650",
                source=variable,
            )
        if get_origin(wanted) is dict:
            keys.append(name.replace("_", "-"))
            wanted = get_args(wanted)[1]
            continue
        fields = attrs.fields_dict(attrs.resolve_types(wanted)) if attrs.has(wanted) else {}
        if name not in fields:
            raise _unknown(variable, wanted, keys, name)
        keys.append(name)
        wanted = fields[name].type
    if attrs.has(wanted) or (get_origin(wanted) is dict and not _is_by_timeframe(wanted)):
        raise ConfigError(f"{'.'.join(keys)} is a table; add __ and one of its keys", source=variable)
    return keys, wanted


def _unknown(variable: str, table: Any, keys: list[str], name: str) -> ConfigError:
    names = [field.name for field in attrs.fields(table)] if attrs.has(table) else []
    near = nearest(name, names)
    for candidate in names:
        if not keys and name.startswith(f"{candidate}_"):
            near = f"{candidate}__{name.removeprefix(f'{candidate}_')}"
    if near is None:
        return ConfigError("unknown key", key=".".join([*keys, name]), source=variable)
    right = "__".join([*(key.replace("-", "_") for key in keys), near]).upper()
    return ConfigError("no such setting", nearest=PREFIX + right, source=variable)


def _is_by_timeframe(wanted: Any) -> bool:
    """Whether a value is a table with a value for each timeframe, which is one variable."""
    return get_origin(wanted) is dict and get_args(wanted)[0] is Timeframe


def _value(text: str, wanted: Any) -> Any:
    """Return what `text` says as a TOML file would; what does not fit is refused with the rest of the settings."""
    text = text.strip()
    wanted = optional_of(wanted) or wanted
    if _is_by_timeframe(wanted):
        return dict(_entry(item.strip(), get_args(wanted)[1]) for item in text.split(",") if item.strip())
    if get_origin(wanted) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if wanted is bool:
        return _BOOLEANS.get(text.lower(), text)
    if wanted in (int, float):
        for number in (int, float):
            with contextlib.suppress(ValueError):
                return number(text)
    assert wanted in (int, float, str, Path, Secret), wanted
    return text


def _entry(text: str, wanted: Any) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{quoted(text)} is not of the form 1m=90")
    return name.strip(), _value(value, wanted)

"""Plain TOML values to settings, strictly, with every mistake led back to its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

import attrs
from cattrs import Converter, ForbiddenExtraKeysError
from cattrs.errors import AttributeValidationNote
from cattrs.gen import make_dict_structure_fn

from candleactors.errors import ConfigError
from candleactors.model import Timeframe
from candleactors.settings import Settings
from candleactors.validators import Secret, nearest, printable, quoted

NONE: Final = "none"
"""Stands for no value, which TOML cannot write."""

_Hook = Callable[[Any, Any], Any]


def structure(table: Mapping[str, Any]) -> Settings:
    """Return the settings in `table`; raises `ConfigError`, its key dotted and indexed, for the first mistake."""
    try:
        return _converter.structure(table, Settings)
    except ExceptionGroup as group:
        raise _first(group, "") from None


def optional_of(wanted: Any) -> Any | None:
    """Return X for ``X | None``, and ``None`` for everything else."""
    if get_origin(wanted) in (Union, UnionType) and NoneType in get_args(wanted):
        return next(choice for choice in get_args(wanted) if choice is not NoneType)
    return None


def _first(error: BaseException, path: str) -> ConfigError:
    """Return the first mistake in a tree of exceptions as cattrs builds it."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            path = _join(path, note.name)
    if isinstance(error, BaseExceptionGroup):
        return _first(error.exceptions[0], path)
    if isinstance(error, ForbiddenExtraKeysError):
        return _unknown_key(min(error.extra_fields), error.cl, path)
    if isinstance(error, ConfigError):
        # Validators of a class name the field, hooks of a container the place inside it, those of a type nothing.
        return error.at(_join(path, error.key) if error.key else path)
    raise error


def _unknown_key(key: str, table: type, path: str) -> ConfigError:
    names = [field.name for field in attrs.fields(table)]
    near = nearest(key, names)
    problem = "unknown key" if near else f"unknown key; here are {', '.join(names)}"
    return ConfigError(problem, key=_join(path, key), nearest=near)


def _join(path: str, name: str) -> str:
    name = printable(name)
    return f"{path}.{name}" if path and not name.startswith("[") else path + name


def _bool(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{quoted(value)} is not true or false")
    return value


def _int(value: Any, _: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _not(value, "a whole number", int)
    if abs(value) > 1 << 53:
        raise ConfigError(f"{quoted(value)} is too large")
    return value


def _float(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _not(value, "a number", float)
    try:
        return float(value)
    except OverflowError:
        raise ConfigError(f"{quoted(value)} is too large") from None


def _not(value: Any, wanted: str, number: Callable[[str], object]) -> ConfigError:
    hint = ""
    if isinstance(value, str):
        try:
            number(value)
        except ValueError:
            pass
        else:
            hint = "; write it without quotes"
    return ConfigError(f"{quoted(value)} is not {wanted}{hint}")


def _str(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{quoted(value)} is not a text in quotes")
    return value


def _secret(value: Any, _: Any) -> Secret:
    if not isinstance(value, str):
        raise ConfigError("the secret is not a text in quotes")
    return Secret(value)


def _path(value: Any, _: Any) -> Path:
    try:
        return Path(_str(value, str)).expanduser()
    except RuntimeError:
        raise ConfigError(f"{quoted(value)} names no home folder") from None


def _timeframe(value: Any, _: Any) -> Timeframe:
    return Timeframe(_str(value, str))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        hint = f"; write [{quoted(value)}]" if isinstance(value, str) else ""
        raise ConfigError(f"{quoted(value)} is not a list{hint}")
    return value


def _timeframes(value: Any, _: Any) -> tuple[Timeframe, ...]:
    found: list[Timeframe] = []
    for index, item in enumerate(_list(value)):
        try:
            expanded = Timeframe.expand(_str(item, str))
            # Here, where the place in the file is known still: one item may stand for many.
            if twice := next((timeframe for timeframe in expanded if timeframe in found), None):
                raise ConfigError(f"{quoted(str(twice))} is listed twice")
        except ConfigError as error:
            raise _first(error, f"[{index}]") from None
        found += expanded
    return tuple(found)


def _make_converter() -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    hooks: tuple[tuple[Any, _Hook], ...] = (
        (bool, _bool),
        (int, _int),
        (float, _float),
        (str, _str),
        (Path, _path),
        (Timeframe, _timeframe),
    )

    def optional_hook(wanted: Any) -> _Hook:
        inner: Any = optional_of(wanted)
        return lambda value, _: None if value == NONE else converter.structure(value, inner)

    def list_hook(wanted: Any) -> _Hook:
        element = get_args(wanted)[0]

        def hook(value: Any, _: Any) -> Any:
            items = enumerate(_list(value))
            return tuple(_located(converter, item, element, f"[{index}]") for index, item in items)

        return hook

    def named_tables_hook(wanted: Any) -> _Hook:
        named, element = get_args(wanted)
        return _table(
            lambda value, _: {
                _located(converter, key, named, key): _located(converter, item, element, key)
                for key, item in value.items()
            }
        )

    def table_hook(wanted: Any) -> _Hook:
        return _table(make_dict_structure_fn(wanted, converter, _cattrs_forbid_extra_keys=True))

    # The last one that fits is taken: Timeframe is an attrs class as well.
    converter.register_structure_hook_factory(attrs.has, table_hook)
    converter.register_structure_hook_factory(_is_container(dict), named_tables_hook)
    converter.register_structure_hook_factory(_is_container(tuple), list_hook)
    converter.register_structure_hook_factory(lambda wanted: wanted == tuple[Timeframe, ...], lambda _: _timeframes)
    converter.register_structure_hook_factory(lambda wanted: optional_of(wanted) is not None, optional_hook)
    converter.register_structure_hook_func(lambda wanted: wanted is Secret, _secret)
    for plain, hook in hooks:
        converter.register_structure_hook(plain, hook)
    return converter


def _is_container(container: type) -> Callable[[Any], bool]:
    def matches(wanted: Any) -> bool:
        origin: Any = get_origin(wanted)
        return origin is container

    return matches


def _table(inner: _Hook) -> _Hook:
    def hook(value: Any, wanted: Any) -> Any:
        if not isinstance(value, dict):
            raise ConfigError(f"{quoted(value)} is not a table")
        return inner(value, wanted)

    return hook


def _located(converter: Converter, value: Any, wanted: Any, place: str) -> Any:
    try:
        return converter.structure(value, wanted)
    except (ConfigError, ExceptionGroup) as error:
        raise _first(error, place) from None


_converter: Final = _make_converter()

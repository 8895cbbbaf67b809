"""Validators of settings: one line that names the bad value and what would be right."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, NewType, TypeAlias
from urllib.parse import urlsplit

from attrs import Attribute

from candleactors.errors import ConfigError

Validator: TypeAlias = Callable[[Any, "Attribute[Any]", Any], None]
"""Called by attrs with the instance, the field and the value; raises `ConfigError` named after the field."""


Secret = NewType("Secret", str)
"""A text that no message, log or representation shows."""


def over(bound: float) -> Validator:
    """Accept finite numbers greater than `bound`."""
    return _number(lambda value: value > bound, f"greater than {bound:g}")


def at_least(bound: float) -> Validator:
    """Accept finite numbers not less than `bound`."""
    return _number(lambda value: value >= bound, f"at least {bound:g}")


def between(low: float, high: float, *, exclusive: bool = False) -> Validator:
    """Accept numbers from `low`, itself only unless `exclusive`, to `high`."""
    wanted = f"greater than {low:g} and at most {high:g}" if exclusive else f"from {low:g} to {high:g}"
    return _number(lambda value: (low < value if exclusive else low <= value) and value <= high, wanted)


def one_of(*words: str) -> Validator:
    """Accept one of `words`."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if value not in words:
            choices = ", ".join(f'"{word}"' for word in words)
            raise ConfigError(
                f"{quoted(value)} is not one of {choices}", key=attribute.name, nearest=nearest(str(value), words)
            )

    return check


def optional(validator: Validator) -> Validator:
    """Accept ``None`` and what `validator` accepts."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return check


def not_blank(instance: Any, attribute: Attribute[Any], value: Path) -> None:
    """Accept paths that can name a file."""
    if not value.name or "\0" in str(value):
        raise ConfigError(f"{quoted(str(value))} names no file", key=attribute.name)


def origin(*schemes: str) -> Validator:
    """Accept ``scheme://host[:port]`` with one of `schemes`, the first being the usual one.

    User names and passwords are refused, and kept out of the message, so that no settings ever hold one.
    """
    wanted = " or ".join(f"{scheme}://host[:port]" for scheme in schemes)

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        key = attribute.name
        if "@" in value:
            raise ConfigError(f"a URL here holds no user name or password; write {wanted}", key=key)
        # What follows a question mark may be a secret as well.
        shown = quoted(value.partition("?")[0])
        near = None
        try:
            parts = urlsplit(value)
            reachable = parts.hostname is not None and parts.port != 0
        except ValueError:
            reachable = False
        if reachable:
            if parts.scheme in schemes and value in (bare := f"{parts.scheme}://{parts.netloc}", f"{bare}/"):
                return
            same = parts.scheme if parts.scheme in schemes else schemes[parts.scheme in ("ws", "http")]
            near = f"{same}://{parts.netloc}"
        raise ConfigError(f"{shown} is not of the form {wanted}", key=key, nearest=near)

    return check


def each(validator: Validator) -> Validator:
    """Accept tuples of what `validator` accepts, none of it twice."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        for index, item in enumerate(value):
            try:
                validator(instance, attribute, item)
            except ConfigError as error:
                raise error.at(f"{attribute.name}[{index}]") from None
            if item in value[:index]:
                raise ConfigError(f"{quoted(item)} is listed twice", key=f"{attribute.name}[{index}]")

    return check


def each_value(validator: Validator) -> Validator:
    """Accept tables with values that `validator` accepts."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        for key, item in value.items():
            try:
                validator(instance, attribute, item)
            except ConfigError as error:
                raise error.at(f"{attribute.name}.{key}") from None

    return check


def host() -> Validator:
    """Accept names and addresses to listen on, without a port."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if _ip(value) is None and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", value):
            raise ConfigError(f"{quoted(value)} is not a host name or an address, without a port", key=attribute.name)

    return check


def is_loopback(value: str) -> bool:
    """Return whether nobody but this machine can reach a server listening on `value`."""
    address = _ip(value)
    return value.lower() == "localhost" if address is None else address.is_loopback


def secret(shortest: int) -> Validator:
    """Accept texts of at least `shortest` characters that fit into an HTTP header; messages do not quote them."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if not re.fullmatch(r"[!-~]+", value):
            raise ConfigError("a secret here has visible ASCII characters only", key=attribute.name)
        if len(value) < shortest:
            raise ConfigError(f"a secret of at least {shortest} characters is needed", key=attribute.name)

    return check


def _ip(value: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(value)
    except ValueError:
        return None


def nearest(text: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` most like `text`, or that begins with it, or ``None`` where none is."""
    by_lower = {word.lower(): word for word in words}
    text = text.lower()
    near = get_close_matches(text, by_lower, n=1, cutoff=0.6)
    near += [word for word in by_lower if len(text) > 2 and word.startswith(text)]
    return by_lower[near[0]] if near else None


def quoted(value: object) -> str:
    """Return `value` as TOML would show it, at most 80 characters long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = printable(f'"{value}"' if isinstance(value, str) else str(value))
    return text if len(text) <= 80 else text[:79] + "…"


def printable(text: str) -> str:
    """Return `text` with whatever would break a line or a terminal replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _number(accepts: Callable[[float], bool], wanted: str) -> Validator:
    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        if not (math.isfinite(value) and accepts(value)):
            raise ConfigError(f"{value} is not {wanted}", key=attribute.name)

    return check

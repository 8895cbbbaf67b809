"""What the documentation says about the code is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from candleactors import settings

DOCS = Path(__file__).parent.parent / "docs"
SECTIONS: dict[str, type[Any]] = {
    "venues.<venue>": settings.VenueSettings,
    **{
        name: type(getattr(settings.Settings(), name))
        for name in ("store", "health", "repair", "aggregation", "retention", "backoff")
    },
    **{name: type(getattr(settings.Settings(), name)) for name in ("supervision", "subscriber", "web", "log")},
}


def written(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}" if value < 1_000_000 else str(value)
        case dict():
            assert not value
            return "{}"
        case tuple():
            return "[" + ", ".join(f'"{item}"' for item in value) + "]"
        case _:
            return f'"{value}"'


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_documented_with_its_default(section: str) -> None:
    text = (DOCS / "configuration.md").read_text()
    kind = SECTIONS[section]
    _, _, rest = text.partition(f"## `[{section}]`")
    rows = [line.split(" | ") for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    documented = {row[0].strip("| `"): row[1].strip("`") for row in rows}
    assert documented == {field.name: written(getattr(kind(), field.name)) for field in attrs.fields(kind)}
    assert all(row[2].rstrip(" |") for row in rows), "a setting without a word about it"

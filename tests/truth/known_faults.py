"""Known faults: where venues contradict themselves, as ``known_faults.toml`` lists it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from table_comparison import FIELDS, Difference


def known_faults() -> dict[tuple[str, str], list[Difference]]:
    """Return the differences to be found, by lower and higher table, ascending."""
    faults: dict[tuple[str, str], list[Difference]] = {}
    for fault in _listed()["fault"]:
        differences = faults.setdefault((fault["from"], fault["to"]), [])
        for name in FIELDS:
            if name in fault:
                ours, theirs = fault[name]
                differences.append(Difference(fault["at"], name, ours, theirs))
    return {pair: sorted(differences) for pair, differences in faults.items()}


def reasons() -> dict[str, str]:
    """Return why, by the name that the faults refer to; each is referred to, and each fault has one."""
    listed = _listed()
    said = {name: " ".join(text.split()) for name, text in listed["reasons"].items()}
    assert {fault["reason"] for fault in listed["fault"]} == set(said), "a fault without its reason, or the reverse"
    return said


def _listed() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "known_faults.toml").read_text())

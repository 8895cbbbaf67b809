"""The scenarios without a network: what it costs to derive candles, each contestant in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from benchmarks.runner import ROOT

OURS = "columnar"
CONTESTANTS = (OURS, "polars", "polars_query", "pandas")
SYMBOLS = 500
_RUNS = 3
"""Timed runs of a process, after one that is checked."""

Say = Callable[[str], None]


def resample(contestants: tuple[str, ...], repeat: int, say: Say) -> dict[str, Any]:
    """Return the best times of each contestant, taken by turns, and those of conversions.

    Raises `RuntimeError` if they do not all make the same numbers.
    """
    answers: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(repeat):
        for name in contestants:
            answers[name].append(child("resampling", name, str(_RUNS)))
    skipped = {name: found[0] for name, found in answers.items() if "skipped" in found[0]}
    digests = {name: found[0]["digest"] for name, found in answers.items() if name not in skipped}
    if len(set(digests.values())) > 1:
        raise RuntimeError(f"the contestants make different numbers: {digests}")
    results: dict[str, Any] = dict(skipped)
    for name in digests:
        results[name] = _best([run for answer in answers[name] for run in answer["runs_s"][1:]])
        ours = results.get(OURS)
        results[name]["times"] = (
            {kind: round(results[name][f"{kind}_s"] / ours[f"{kind}_s"], 2) for kind in ("wall", "cpu")}
            if ours and name != OURS
            else {}
        )
        say(f"  {name}: {results[name]['wall_s']:.3f} s wall, {results[name]['cpu_s']:.3f} s CPU")
    if OURS in digests:
        conversions = child("resampling.conversions", str(repeat))
        for name, runs in conversions["runs_s"].items():
            best = _best(runs)
            results[name] = {
                "cpu_us_per_candle": round(best["cpu_s"] * 1e6 / conversions["candles"], 3),
                "wall_us_per_candle": round(best["wall_s"] * 1e6 / conversions["candles"], 3),
            }
    return results


def aggregate(repeat: int, say: Say) -> dict[str, Any]:
    """Return what `benchmarks.incremental` measures."""
    results = child("incremental", str(SYMBOLS), str(repeat))
    for name, result in results.items():
        if "cpu_us_per_candle" in result:
            say(f"  {name}: {result['cpu_us_per_candle']:.2f} µs CPU a candle")
    return results


def _best(runs: list[list[float]]) -> dict[str, Any]:
    return {
        "wall_s": round(min(wall for wall, _ in runs), 4),
        "cpu_s": round(min(cpu for _, cpu in runs), 4),
        "runs_s": [[round(wall, 4), round(cpu, 4)] for wall, cpu in runs],
    }


def child(module: str, *arguments: str) -> dict[str, Any]:
    """Return what another module of the benchmarks prints as JSON, run in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = run.stdout.splitlines()
    if run.returncode or not lines:
        error = run.stderr.strip().splitlines()
        if error and error[-1].startswith("ModuleNotFoundError"):
            return {"skipped": error[-1]}
        raise RuntimeError(f"benchmarks.{module} failed: {run.stderr.strip()}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found

"""``python -m benchmarks``: run the scenarios, print tables, write figures. It asserts nothing about time."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from benchmarks.runner import certificates
from benchmarks.scenarios import Bench, ratios

SCENARIOS = (
    "blast",
    "blast_tls",
    "paced",
    "boundary",
    "memory",
    "resample",
    "aggregate",
    "simulation",
    "live",
    "stores",
)


def main() -> None:
    choice = parse(sys.argv[1:])
    bench = Bench(
        messages=choice.messages,
        streams=choice.streams,
        repeat=choice.repeat,
        paced_seconds=choice.paced_seconds,
        contestants=tuple(choice.contestants),
        pythons=dict(pair.split("=", 1) for pair in choice.python),
    )
    figures: dict[str, Any] = {"machine": machine()}
    with certificates() as bench.certificates:
        for name in choice.only or SCENARIOS:
            print(f"{name} …", file=sys.stderr, flush=True)
            if name.startswith("blast"):
                figures[name] = bench.blast(tls=name == "blast_tls")
                figures[f"{name}_ratios"] = ratios(figures[name])
            else:
                figures[name] = getattr(bench, name)()
    show(figures)
    if choice.json:
        choice.json.write_text(json.dumps(figures, indent=2) + "\n")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="run this scenario; may be repeated")
    parser.add_argument("--contestants", nargs="+", default=[], metavar="NAME", help="run only these")
    parser.add_argument("--messages", type=int, default=400_000, help="messages of a blast (%(default)s)")
    parser.add_argument("--streams", type=int, default=1000, help="streams of a blast (%(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the best counts (%(default)s)")
    parser.add_argument("--paced-seconds", type=float, default=10.0, help="length of a paced run (%(default)s)")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="interpreter for one contestant, for peers in an environment of their own; may be repeated",
    )
    return parser.parse_args(arguments)


def machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def show(figures: dict[str, Any]) -> None:
    for scenario, results in figures.items():
        if scenario == "machine" or scenario.endswith("_ratios"):
            continue
        print(f"\n{scenario}")
        times = figures.get(f"{scenario}_ratios", {})
        for name, result in results.items():
            print(f"  {name:34} {describe(result)}{f'   ours: {times[name]:.2f} ×' if name in times else ''}")


def describe(result: dict[str, Any]) -> str:
    if "skipped" in result:
        return f"skipped: {result['skipped']}"
    if "cpu_us" in result:
        return (
            f"{result['cpu_us']:8.2f} µs CPU {result['wall_us']:8.2f} µs wall "
            f"{result['messages_per_cpu_s']:>10,} messages/CPU-s {result['cpu_percent']:6.1f} % CPU"
        )
    if "times" in result:
        times = result["times"]
        ours = f"   ours: {times['wall']:.2f} × wall, {times['cpu']:.2f} × CPU" if times else ""
        return f"{result['wall_s']:8.3f} s wall {result['cpu_s']:8.3f} s CPU{ours}"
    if "bytes_per_symbol" in result:
        return f"{result['bytes_per_symbol']:>8,} bytes a symbol; at the end of each day {result['bytes_by_day']}"
    if "cpu_us_per_candle" in result:
        minute = f", {result['minute_ms']:.2f} ms a minute of all" if "minute_ms" in result else ""
        return f"{result['cpu_us_per_candle']:8.2f} µs CPU {result['wall_us_per_candle']:8.2f} µs wall a candle{minute}"
    if "close_to_reader_ms" in result:
        delay, feed = result["close_to_reader_ms"], result["feed_delivery"]
        return (
            f"{delay['p50']:8.1f} ms from close to reader, p99 {delay['p99']:.1f}   {result['closed_candles']:,} closed"
            f" {result['lost']} lost   feed {result['feed_cpu_percent']:.0f} % CPU, delivers in {feed['p50_ms']} ms"
        )
    if "candles_per_s" in result:
        return (
            f"{result['candles_per_s']:>9,} candles/s durable, {result['of_bare']:.2f} of the bare rows   "
            f"{result['read_per_s']:>9,} read/s   {result['bytes_per_million'] / 1e6:.0f} MB a million"
        )
    if "times_real" in result:
        return (
            f"{result['times_real']:>8,} × real time   {result['messages']:>9,} messages {result['faults']:>6,} faults"
        )
    if "last_close_to_last_delivery_ms" in result:
        return f"{result['last_close_to_last_delivery_ms']:8.2f} ms from the last close to the last delivery"
    return f"{result['bytes_per_stream']:>8,} bytes a stream, {result['memory_bytes'] / 1e6:.1f} MB in all"


if __name__ == "__main__":
    main()

"""The same seed tells the same story, byte for byte, whatever the hash seed of the process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import trio
from sim_client import connected, run, simulator

from candleactors.sim import SPOT_RULES, Fault, FaultScript, chaos, rates
from candleactors.sim.faults import FaultKind


def trace(seed: int) -> str:
    """Return a digest of all that reconnecting clients and an observer get in twenty virtual minutes of trouble."""
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # trio has no public switch
    trio._core._run._r.seed(seed)
    digest = hashlib.sha256()
    rare = (FaultKind.HUGE, FaultKind.INVALID_UTF8, FaultKind.DELIST)
    troubles = rates({kind: 20.0 for kind in FaultKind if kind not in rare})
    timed = (*chaos(seed, 0.2, for_s=600).faults, Fault(FaultKind.DELIST, at_s=900.0))
    script = FaultScript(timed, troubles, seed)

    async def body() -> None:
        def observe(kind: str, text: str) -> None:
            digest.update(f"{trio.current_time():.6f} {kind} {text}\n".encode())

        sim = simulator(SPOT_RULES, seed=seed, faults=script, observe=observe)

        async def client(number: int) -> None:
            while True:
                try:
                    with trio.move_on_after(200):
                        async with connected(sim, "/stream?streams=btcusdt@kline_1s/quietusdt@kline_1m") as connection:
                            while (text := await connection.receive_text()) is not None:
                                digest.update(f"{number} {trio.current_time():.6f} {text}\n".encode())
                except* Exception as problem:  # whatever goes wrong is part of the story
                    digest.update(f"{number} {trio.current_time():.6f} {problem.exceptions!r}\n".encode())
                await trio.sleep(1 + number / 10)

        with trio.move_on_after(1200):
            async with sim.running(), trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(client, number)
                    await trio.sleep(0.01)
        digest.update(repr(sim.counters.as_dict()).encode())

    run(body)
    return digest.hexdigest()


def test_equal_seeds_give_equal_traces_in_processes_with_different_hash_seeds() -> None:
    here = str(Path(__file__).parent)
    code = (
        f"import sys; sys.path.insert(0, {here!r}); import test_sim_determinism as t; print(t.trace(int(sys.argv[1])))"
    )

    def traced(seed: int, hash_seed: int) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
        arguments = [sys.executable, "-W", "ignore", "-c", code, str(seed)]
        return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True).stdout

    first = traced(5, 1)
    assert first == traced(5, 2)
    assert first != traced(6, 1)

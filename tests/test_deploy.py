"""What docs/deploy has works together, and with the code: the unit, the image, the example and what is said of them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio
from attrs import evolve

from candleactors.config import load
from candleactors.errors import ConfigError
from candleactors.feed import open_feed
from candleactors.settings import Settings, StoreSettings, VenueSettings, WebSettings
from candleactors.transport.network import MemoryNetwork
from candleactors.validators import Secret
from candleactors.web.server import WebServer

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "docs" / "deploy"
UNIT = DEPLOY / "candleactors.service"
EXAMPLE = DEPLOY / "candles.toml"
GUIDE = (DEPLOY / "README.md").read_text()

CONFIG = "/etc/candleactors/candles.toml"
SECRETS = "/etc/candleactors/token.env"
PROGRAM = "/opt/candleactors/bin/candleactors"
STATE = "/var/lib/candleactors"
RUNTIME = "/run/candleactors"
TOKEN = "CANDLEACTORS_WEB__TOKEN"

KEYS = {
    "Unit": {"Description", "Wants", "After"},
    "Service": {
        *("Type", "User", "Group", "EnvironmentFile", "WorkingDirectory", "UMask", "ExecStartPre", "ExecStart"),
        *("Restart", "RestartSec", "RestartPreventExitStatus", "KillSignal", "TimeoutStopSec"),
        *("StateDirectory", "StateDirectoryMode", "RuntimeDirectory", "RuntimeDirectoryMode"),
        *("LimitNOFILE", "MemoryMax", "NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities"),
        *("ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectProc", "ProcSubset", "ProtectClock"),
        *("ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules"),
        *("ProtectKernelTunables", "RemoveIPC", "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime"),
        *("RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute", "SystemCallArchitectures"),
        *("SystemCallFilter", "SystemCallErrorNumber"),
    },
    "Install": {"WantedBy"},
}
"""What systemd knows, as far as it is used; systemd itself is asked where it is installed."""


def unit() -> dict[str, dict[str, list[str]]]:
    """Return the unit's values by section and key; systemd lets keys come several times."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in UNIT.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.strip("[]")
            assert section not in found
            found[section] = defaultdict(list)
            continue
        key, equals, value = line.partition("=")
        assert equals, line
        found[section][key].append(value)
    return found


def image() -> list[tuple[str, str]]:
    """Return the instructions of the Containerfile, each with its arguments."""
    lines = [line for line in (DEPLOY / "Containerfile").read_text().splitlines() if not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in whole.splitlines() if line)]


def said(name: str) -> list[str]:
    """Return the arguments of all instructions called `name`."""
    return [rest for instruction, rest in image() if instruction == name]


def variables() -> dict[str, str]:
    """Return the settings that the image brings along as variables."""
    pairs = (word.partition("=") for line in said("ENV") for word in shlex.split(line))
    return {name: value for name, _, value in pairs if name.startswith("CANDLEACTORS_")}


def the(section: str, key: str) -> str:
    """Return the only value of a key of the unit."""
    (value,) = unit()[section][key]
    return value


def health_check() -> list[str]:
    """Return the command of HEALTHCHECK."""
    (line,) = said("HEALTHCHECK")
    command: list[str] = json.loads(line.partition(" CMD ")[2])
    return command


def test_the_example_passes_the_check() -> None:
    command = [sys.executable, "-c", "from candleactors.cli import main; main()", "check", str(EXAMPLE)]
    plain = subprocess.run(command, capture_output=True, text=True, check=False, env={})
    assert (plain.returncode, plain.stderr) == (0, "")
    assert "\nweb          http://127.0.0.1:8080, for this machine only\n" in plain.stdout
    token = "abcdefghijklmnop"
    contained = subprocess.run(command, capture_output=True, text=True, check=False, env={**variables(), TOKEN: token})
    assert (contained.returncode, contained.stderr) == (0, "")
    assert "\nweb          http://0.0.0.0:8080, with a token\n" in contained.stdout
    assert token not in contained.stdout


def test_the_example_has_no_secret_and_everybody_may_read_it() -> None:
    assert "token" not in tomllib.loads(EXAMPLE.read_text())["web"]


def test_the_image_does_not_start_without_a_token() -> None:
    with pytest.raises(ConfigError, match="set a token"):
        load(EXAMPLE, variables())


def test_the_unit_has_only_what_systemd_knows() -> None:
    found = unit()
    assert list(found) == list(KEYS)
    for section, keys in KEYS.items():
        assert set(found[section]) == keys


def test_the_unit_runs_what_is_installed_as_the_code_means_it() -> None:
    settings = load(EXAMPLE, {})
    assert the("Service", "ExecStart") == f"{PROGRAM} run {CONFIG}"
    # With "-": RestartPreventExitStatus is about the main process alone.
    assert the("Service", "ExecStartPre") == f"-{PROGRAM} check {CONFIG}"
    assert the("Service", "RestartPreventExitStatus") == "2"
    assert the("Service", "EnvironmentFile") == f"-{SECRETS}"
    assert float(the("Service", "TimeoutStopSec")) > settings.supervision.drain_s + 5
    assert the("Service", "LimitNOFILE") == "65536"
    assert f"{STATE}/{settings.store.path.name}" == str(settings.store.path)
    assert settings.socket_path.parent == Path(RUNTIME)
    assert f"/var/lib/{the('Service', 'StateDirectory')}" == STATE == the("Service", "WorkingDirectory")
    assert f"/run/{the('Service', 'RuntimeDirectory')}" == RUNTIME
    assert "AF_UNIX" in the("Service", "RestrictAddressFamilies").split()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(PROGRAM, sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    # It looks at the units of this machine as well, which are none of ours.
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line or str(tmp_path) in line]
    assert ours == [], done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_the_unit_exposes_little() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd is older than 250")
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


def test_the_image_agrees_with_the_unit_and_the_defaults() -> None:
    settings = load(EXAMPLE, {**variables(), TOKEN: "abcdefghijklmnop"})
    assert said("EXPOSE") == [str(WebSettings().port)] == [str(settings.web.port)]
    assert settings.web.enabled
    assert said("VOLUME") == said("WORKDIR")[1:] == [STATE]
    assert said("STOPSIGNAL") == [the("Service", "KillSignal")]
    assert [*json.loads(said("ENTRYPOINT")[0]), *json.loads(said("CMD")[0])] == ["candleactors", "run", CONFIG]
    assert f"{STATE} {RUNTIME}" in " ".join(said("RUN"))
    (path,) = [word for line in said("ENV") for word in shlex.split(line) if word.startswith("PATH=")]
    assert path.startswith(f"PATH={Path(PROGRAM).parent}:")


def test_the_image_is_built_of_what_is_there_and_is_not_root() -> None:
    first, second = (line.partition(" AS ")[0] for line in said("FROM"))
    assert first == second, "an environment works only with the Python that it was made with"
    (user,) = said("USER")
    assert int(user.partition(":")[0]) > 0
    assert f"--uid {user.partition(':')[0]} " in " ".join(said("RUN"))
    copied = [line.split()[:-1] for line in said("COPY") if "--from" not in line]
    assert all((ROOT / name).exists() for names in copied for name in names)
    # What the build reads; the wheel needs the rest of what pyproject.toml names as well.
    assert {"pyproject.toml", "hatch_build.py", "package.json", "package-lock.json", "README.md", "LICENSE", "src"} == {
        name for names in copied for name in names
    }
    assert not any(TOKEN in rest for _, rest in image()), "a secret in an image is none"


def test_what_the_guide_names_is_what_the_files_have() -> None:
    paths = set(re.findall(r"(?<![\w./])/(?:etc|opt|run|var/lib)/candleactors[\w./-]*", GUIDE))
    assert paths == {CONFIG, SECRETS, PROGRAM, STATE, RUNTIME, *map(str, Path(CONFIG).parents[:1])} | {
        "/opt/candleactors",
        "/opt/candleactors/bin/pip",
    }
    assert set(re.findall(r"(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)", GUIDE)) == {"8080", "9000"}
    assert set(re.findall(r"CANDLEACTORS_\w+", GUIDE)) == {TOKEN}
    for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", GUIDE):
        assert (DEPLOY / target).exists(), target
    assert str(int(WebSettings().heartbeat_s)) + " s" in GUIDE
    assert float(re.findall(r"proxy_read_timeout (\d+)s", GUIDE)[0]) > 2 * WebSettings().heartbeat_s
    seconds = the("Service", "RestartSec")
    assert {"10": "ten"}[seconds] + " seconds" in GUIDE
    assert f"--stop-timeout={the('Service', 'TimeoutStopSec')} " in GUIDE
    assert f"`MemoryMax={the('Service', 'MemoryMax')}`" in GUIDE


async def test_the_health_check_tells_a_server_from_none(tmp_path: Path) -> None:
    python, option, code = health_check()
    assert (python, option) == ("python", "-c")
    assert code.count("8080") == 1

    async def ask(port: int) -> int:
        command = [sys.executable, option, code.replace("8080", str(port))]
        done: subprocess.CompletedProcess[bytes] = await trio.run_process(command, check=False, capture_stderr=True)
        return done.returncode

    server = WebServer(WebSettings(port=0, token=Secret("abcdefghijklmnop")))
    settings = Settings(
        venues={"binance-spot": VenueSettings(symbols=("BTCUSDT",), websocket_url="ws://sim", rest_url="http://sim")},
        store=evolve(StoreSettings(), path=tmp_path / "candles.sqlite"),
    )
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery)  # nobody is there: the process is well all the same
        async with open_feed(settings, services=[server], network=network, rng=Random(1)):
            assert server.address is not None
            port = int(server.address.rpartition(":")[2])
            assert await ask(port) == 0
        assert await ask(port) == 1, "the server has ended"
        listeners = await nursery.start(partial(trio.serve_tcp, _answer_503, 0, host="127.0.0.1"))
        assert await ask(listeners[0].socket.getsockname()[1]) == 1
        nursery.cancel_scope.cancel()


async def _answer_503(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

"""docs/how-to/add-a-venue.md: its code is the code that is tested, and its package is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
import toy_exchange
import toy_exchange_sim
import trio

from candleactors.transport.network import TcpNetwork
from candleactors.transport.rest import RestClient

HERE = Path(__file__).parent
GUIDE = (HERE.parent.parent / "docs" / "how-to" / "add-a-venue.md").read_text()
FILES = {
    "toy_exchange.py": "toy_exchange.py",
    "toy_exchange_sim.py": "toy_exchange_sim.py",
    "test_toy_exchange.py": "toy_exchange_conformance.py",
}


def told() -> dict[str, str]:
    """Return the files in the guide: what stands behind their names, joined."""
    parts: dict[str, list[str]] = defaultdict(list)
    for name, text in re.findall(r"<!-- (\S+) -->\n```\w+\n(.*?)\n```", GUIDE, re.DOTALL):
        parts[name].append(text)
    return {name: "\n".join(texts) for name, texts in parts.items()}


@pytest.mark.parametrize("name", FILES)
def test_the_guide_has_the_whole_file(name: str) -> None:
    def lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.strip()]

    assert lines(told()[name]) == lines((HERE / FILES[name]).read_text())


def test_no_code_in_the_guide_is_left_out_of_the_tests() -> None:
    assert set(told()) == {*FILES, "pyproject.toml", "toy.toml"}
    assert GUIDE.count("```python") == len(re.findall(r"<!-- \S+\.py -->\n```python", GUIDE))


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert (HERE.parent.parent / "docs" / "how-to" / target).exists()
    for section in re.findall(r"\]\(#([^)]+)\)", GUIDE):
        assert f"\n## {section.replace('-', ' ')}\n" in GUIDE.lower()


def candleactors(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where what is installed in `site` is installed as well."""
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    command = [sys.executable, "-W", "error", "-c", "from candleactors.cli import main; main()", *arguments]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False, cwd=site
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages in which the guide's package is installed, and its configuration."""
    project = tomllib.loads(told()["pyproject.toml"])["project"]
    info = tmp_path / "toy_exchange-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    points = "".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups)
    (info / "entry_points.txt").write_text(points)
    (tmp_path / "toy_exchange.py").write_text((HERE / "toy_exchange.py").read_text())
    (tmp_path / "toy.toml").write_text(told()["toy.toml"])
    return tmp_path


def test_its_entry_point_makes_it_a_venue(site: Path) -> None:
    done = candleactors(site, "check", "toy.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("toy-exchange (Toy Exchange)\n  streams    2: 2 symbols in 1m\n")
    assert "ws://127.0.0.1:8080" in done.stdout


def test_without_its_entry_point_it_is_none(site: Path) -> None:
    for path in site.glob("*.dist-info/entry_points.txt"):
        path.unlink()
    done = candleactors(site, "check", "toy.toml")
    assert done.returncode == 2
    assert '"toy-exchange" is not a venue' in done.stderr


def test_its_rules_are_checked_in_configurations(site: Path) -> None:
    (site / "toy.toml").write_text(told()["toy.toml"].replace('"BTC-USDT"', '"btc-usdt"'))
    done = candleactors(site, "check", "toy.toml")
    assert done.returncode == 2
    assert 'did you mean "BTC-USDT"?' in done.stderr


async def test_its_simulator_can_be_served() -> None:
    codec = toy_exchange.codec()
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(toy_exchange_sim.serve, 0)
        async with RestClient(f"http://{host}:{port}", network=TcpNetwork(), timeout_s=30) as client:
            answer = await client.get(codec.instruments())
            codec.check_answer(answer.status, answer.headers, answer.body)
            listed = codec.parse_instruments(answer.body).instruments
        nursery.cancel_scope.cancel()
    assert "BTC/USDT" in {one.unified for one in listed if one.trades}

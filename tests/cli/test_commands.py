"""The command line itself, ``check`` and ``completion``."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from commands import Shell

from candleactors import cli
from candleactors.errors import StoreUnavailable

CONFIG = """
[venues.binance-spot]
symbols = ["BTCUSDT", "ETHUSDT"]
timeframes = ["1m", "1h"]
streams_per_connection = 3

[venues.binance-usdm]
symbols = ["BTCUSDT"]
testnet = true
"""


NAMES = ("check", "completion", "db", "demo", "export", "history", "import", "resample", "run", "sim", "status")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "feed.toml"
    path.write_text(CONFIG)
    return path


def test_help_names_every_command_and_imports_none() -> None:
    code = (
        "import sys; from candleactors import cli\n"
        "status = cli._run()\n"
        "late = [name for name in ('trio', 'rich', 'msgspec', 'cattrs', 'sqlite3') if name in sys.modules]\n"
        "sys.exit(late and str(late) or status)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for name in NAMES:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(candleactors: Shell, name: str) -> None:
    outcome = candleactors(name, "--help")
    assert outcome.status == 0
    assert len(outcome.out.splitlines()) > 5
    name = "import_" if name == "import" else name
    command = getattr(import_module(f"candleactors.cli.{name}"), name)
    assert isinstance(command, click.Command)


def test_without_arguments_there_is_help_and_status_2(candleactors: Shell) -> None:
    outcome = candleactors()
    assert outcome.status == 2
    assert "candleactors demo" in outcome.out + outcome.err


def test_version(candleactors: Shell) -> None:
    assert candleactors("--version").out.startswith("candleactors 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["histroy"], '"histroy" is not a command; did you mean "history"? (see candleactors --help)'),
        (["check"], "no configuration file and no candles.toml here: nothing to watch; name symbols"),
        (["check", "absent.toml"], "absent.toml: cannot be read: No such file or directory"),
        (["history", "BTCUSDT", "1min"], 'did you mean "1m"?'),
        (["history", "BTCUSDT", "1m", "--start", "soon"], '"soon" is not a time'),
        (["history", "BTCUSDT", "1m", "--limit", "0"], "0 is not in the range x>=1"),
        (["history", "BTCUSDT", "1m", "--store", "a", "--config", "b"], "--store and --config exclude each other"),
        (["status", "--socket", "a", "--config", "b"], "--config and --socket exclude each other"),
        (["run"], "no configuration file and no candles.toml here: nothing to watch"),
        (["run", "absent.toml"], "absent.toml: cannot be read"),
        (["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(candleactors: Shell, arguments: list[str], message: str) -> None:
    outcome = candleactors(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("candleactors: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err


def test_check_says_what_would_run(candleactors: Shell, config: Path) -> None:
    outcome = candleactors("check", config)
    assert (outcome.status, outcome.err) == (0, "")
    assert "streams    4: 2 symbols in 1m, 1h" in outcome.out
    assert "connect    2 of at most 20 connections, 3 streams each" in outcome.out
    assert "binance-usdm (Binance USD-M Futures, test network)" in outcome.out
    assert "find no room" not in outcome.out
    assert "retention    everything for ever\n" in outcome.out
    assert outcome.out.endswith("The configuration is right.\n")


def test_check_says_what_is_kept(candleactors: Shell, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLEACTORS_RETENTION__DAYS", "1h=3650,1m=90.5")
    assert "retention    1m for 90.5 days, 1h for 3650 days, all else for ever\n" in candleactors("check", config).out


def test_check_says_where_rows_wait_for_a_database(
    candleactors: Shell, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "buffer" not in candleactors("check", config).out
    config.write_text(config.read_text().replace("[store]\npath", "[store]\nbuffer"))
    monkeypatch.setenv("CANDLEACTORS_STORE__URL", "postgresql://candle:s3cret@db.example/market")
    said = candleactors("check", config).out
    assert "for at most 2,000,000 rows" in said
    assert "s3cret" not in said
    monkeypatch.setenv("CANDLEACTORS_STORE__MAX_BUFFERED", "0")
    assert "buffer       none: rows wait in memory" in candleactors("check", config).out


def test_check_says_what_finds_no_room(candleactors: Shell, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLEACTORS_VENUES__BINANCE_SPOT__MAX_CONNECTIONS", "1")
    assert "1 streams find no room" in candleactors("check", config).out


@pytest.mark.parametrize(
    ("web", "shown"),
    [
        ("", "off"),
        ("enabled = false\ntoken = 'a secret nobody sees'", None),
        ("enabled = true", "http://127.0.0.1:8080, for this machine only"),
        ("enabled = true\nhost = '::1'\nport = 81", "http://[::1]:81, for this machine only"),
        ("enabled = true\nport = 0", "http://127.0.0.1, any port that is free, for this machine only"),
        ("enabled = true\ntoken = 'secret-of-sixteen'", "http://127.0.0.1:8080, with a token"),
        ("enabled = true\nhost = '0.0.0.0'\ntoken = 'secret-of-sixteen'", "http://0.0.0.0:8080, with a token"),
        (
            "enabled = true\nhost = '0.0.0.0'\nno_auth = true",
            "http://0.0.0.0:8080, no_auth: whoever reaches it may read and steer the feed",
        ),
        ("enabled = true\nhost = '0.0.0.0'", None),
    ],
)
def test_check_says_how_the_web_side_is_protected_and_no_token(
    candleactors: Shell, config: Path, web: str, shown: str | None
) -> None:
    config.write_text(f"{CONFIG}\n[web]\n{web}\n")
    outcome = candleactors("check", config)
    assert "secret" not in outcome.out
    if shown is None:
        assert (outcome.status, outcome.out) == (2, "")
        assert "secret nobody" not in outcome.err
    else:
        assert (outcome.status, outcome.err) == (0, "")
        assert f"\nweb          {shown}\n" in outcome.out


def test_check_reports_a_mistake_in_one_line(candleactors: Shell, config: Path) -> None:
    config.write_text(CONFIG.replace("ETHUSDT", "eth/usdt"))
    outcome = candleactors("check", "feed.toml")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == (
        'candleactors: feed.toml: venues.binance-spot.symbols[1]: "eth/usdt" is not a symbol;'
        ' did you mean "ETH/USDT"?\n'
    )


def test_a_configuration_without_streams_is_wrong(candleactors: Shell, config: Path) -> None:
    config.write_text("[venues.binance-spot]\n")
    outcome = candleactors("check", "feed.toml")
    assert outcome.status == 2
    assert outcome.err.startswith("candleactors: feed.toml: nothing to watch; name symbols")
    config.write_text("[venues.binance-spot]\n[web]\nenabled = true\n")
    assert candleactors("check", "feed.toml").status == 0, "they can be named over HTTP while it runs"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(candleactors: Shell, shell: str) -> None:
    outcome = candleactors("completion", shell)
    assert outcome.status == 0
    assert f"_CANDLEACTORS_COMPLETE={shell}_complete" in outcome.out


def test_completion_completes_commands(
    candleactors: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_CANDLEACTORS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "candleactors hi")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert candleactors().out == "plain,history\n"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ExceptionGroup("", [ExceptionGroup("", [StoreUnavailable("full")])]), 1, "candleactors: full\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_of_ours_are_one_line_even_out_of_nurseries(
    candleactors: Shell, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, line: str
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.cli, "main", fail)
    outcome = candleactors()
    assert (outcome.status, outcome.err) == (status, line)


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    group = ExceptionGroup("", [StoreUnavailable("full"), ZeroDivisionError("a bug")])

    def fail(**_: object) -> None:
        raise group

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(ExceptionGroup) as caught:
        cli.main()
    assert caught.value is group

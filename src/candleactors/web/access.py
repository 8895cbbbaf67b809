"""Access: who may ask for what, and what browsers are told about the answers. An ASGI layer around everything.

A server that nobody else can reach needs no token, but is not thereby safe: a page of any origin, open in a browser on
the same machine, can send requests to it. So those that name another host (a name that was made to lead here) are
refused, and so are those that come from another origin's page.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final
from urllib.parse import urlsplit

from candleactors.settings import WebSettings
from candleactors.validators import is_loopback
from candleactors.web.asgi import App, Message, Receive, Scope, Send
from candleactors.web.errors import ApiError

COOKIE: Final = "candleactors"
OPEN_PATHS: Final = frozenset({"/", "/chart", "/docs", "/openapi.json", "/healthz", "/readyz", "/api/session"})
"""What needs no token: it tells nothing about the feed but whether it is well, or is how one logs in."""
_OPEN_FOLDER: Final = "/page/"
_METHODS: Final = "GET, PUT, POST, DELETE"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)


class Access:
    """Lets requests through to `app`, or refuses them with an `ApiError`."""

    def __init__(self, app: App, settings: WebSettings) -> None:
        self._app = app
        self._settings = settings
        self._token = None if settings.token is None else _digest(settings.token)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin = self._foreign(headers)

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers(scope["path"], origin)]}
            await send(message)

        try:
            self._check(scope, headers, origin)
        except ApiError as error:
            await error.send(dressed)
            return
        if origin is not None and scope["method"] == "OPTIONS":
            await dressed({"type": "http.response.start", "status": 204, "headers": []})
            await dressed({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await self._app(scope, receive, dressed)

    def session(self, token: str) -> str | None:
        """Return the value of the cookie that a browser with this `token` is given; ``None`` for a wrong one."""
        if self._token is None or not hmac.compare_digest(self._token, _digest(token)):
            return None
        return self._token

    def _check(self, scope: Scope, headers: dict[bytes, str], origin: str | None) -> None:
        if scope["http_version"] not in ("1.0", "1.1"):
            raise ApiError.of_status(505, "HTTP/1.1, please")
        host = headers.get(b"host", "")
        if self._settings.token is None and not self._settings.no_auth and not _names_this_machine(host):
            raise ApiError(403, "forbidden", "the server is for this machine alone, and the host's name is another")
        if origin is not None and origin not in self._origins:
            raise ApiError(403, "forbidden", "pages of other origins may not use this server; see cors_origins")
        if origin is not None and scope["method"] == "OPTIONS":
            return  # a browser asks whether it may, and never says who it is
        path = scope["path"]
        if self._token is None or path in OPEN_PATHS or path.startswith(_OPEN_FOLDER) or self._is_known(headers):
            return
        raise ApiError(401, "unauthorized", "a token is needed", headers={"www-authenticate": "Bearer"})

    def _is_known(self, headers: dict[bytes, str]) -> bool:
        assert self._token is not None
        scheme, _, token = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return hmac.compare_digest(self._token, _digest(token.strip()))
        cookies = (pair.strip().partition("=") for pair in headers.get(b"cookie", "").split(";"))
        given = [value for name, _, value in cookies if name == COOKIE]
        return any(hmac.compare_digest(self._token.encode(), value.encode("latin-1")) for value in given)

    def _foreign(self, headers: dict[bytes, str]) -> str | None:
        """Return the origin of the page that asks, if it is not our own; ``None`` for programs, which have none."""
        origin = headers.get(b"origin")
        if origin is None:
            # What a page embeds has no origin, but says that it comes from elsewhere. Following a link is harmless.
            is_foreign = headers.get(b"sec-fetch-site") in ("cross-site", "same-site")
            return "" if is_foreign and headers.get(b"sec-fetch-mode") not in ("navigate", None) else None
        # The scheme is not compared: a proxy in front may have ended TLS.
        return None if urlsplit(origin).netloc.lower() == headers.get(b"host", "").lower() else origin.lower()

    def _headers(self, path: str, origin: str | None) -> list[tuple[bytes, bytes]]:
        ancestors = " ".join(self._settings.frame_ancestors) if path == "/chart" else ""
        headers = {
            "content-security-policy": _POLICY + (ancestors or "'none'"),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
        }
        if not ancestors:
            headers["x-frame-options"] = "DENY"
        if self._origins:
            headers["vary"] = "origin"
        if origin is not None and origin in self._origins:
            headers |= {
                "access-control-allow-origin": origin,
                "access-control-allow-methods": _METHODS,
                "access-control-allow-headers": "authorization, content-type, last-event-id",
                "access-control-max-age": "600",
            }
        return [(name.encode(), value.encode()) for name, value in headers.items()]


def _digest(token: str) -> str:
    """Return what is compared, and kept in cookies, in the place of a token: of one length, and no token itself."""
    return hashlib.sha256(b"candleactors session " + token.encode("utf-8", "surrogateescape")).hexdigest()


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)

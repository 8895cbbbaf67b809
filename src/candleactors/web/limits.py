"""Limits: what a request may cost before anybody looks at it. An ASGI layer around the application."""

from __future__ import annotations

from typing import Final

import trio

from candleactors.settings import WebSettings
from candleactors.web.asgi import App, Message, Receive, Scope, Send
from candleactors.web.errors import ApiError

MAX_QUERY_BYTES: Final = 12 * 1024
"""Room for hundreds of streams."""
MAX_HEADER_BYTES: Final = 16 * 1024
"""As many as the server reads of a head that comes in pieces."""


class Limits:
    """Reads the body of each request, within its size and time, and hands it to `app` in one piece."""

    def __init__(self, app: App, settings: WebSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; answers 408, 413, 414 or 431 where it is too slow or too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if len(scope["query_string"]) > MAX_QUERY_BYTES:
                raise ApiError(414, "too_large", f"a query has at most {MAX_QUERY_BYTES} bytes")
            if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
                raise ApiError(431, "too_large", f"headers have at most {MAX_HEADER_BYTES} bytes")
            body = await self._body(scope, receive)
        except ApiError as error:
            error.headers["connection"] = "close"  # what is left of the body is not wanted
            await error.send(send)
            return
        if body is None:
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def received() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, received, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body; ``None`` where the client went away in the middle of it."""
        most = self._settings.max_body_bytes
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared) > most:
            raise ApiError(413, "too_large", f"a body has at most {most} bytes")
        body = bytearray()
        with trio.move_on_after(self._settings.request_timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > most:
                    raise ApiError(413, "too_large", f"a body has at most {most} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
        raise ApiError(408, "timeout", f"the body did not come within {self._settings.request_timeout_s:g} s")

"""Who is let in, what browsers are told, and what a request may cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from asgi_client import HOST, Client
from e2e_world import open_world, spot

from candleactors.settings import WebSettings
from candleactors.web.access import COOKIE

TOKEN = "a token that nobody guesses"
TOKEN = TOKEN.replace(" ", "-")
STATUS = "/system/status"


@asynccontextmanager
async def asked(tmp_path: Path, **settings: Any) -> AsyncIterator[Client]:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"])) as world, world.feed() as feed:
        yield Client(world.nursery, feed, WebSettings(**settings))


@pytest.mark.parametrize("host", [HOST, "localhost:8080", "localhost", "[::1]:8080", "127.5.4.3"])
async def test_who_asks_this_machine_is_let_in(host: str, autojump_clock: object, tmp_path: Path) -> None:
    async with asked(tmp_path) as client:
        assert (await client.get(STATUS, headers={"host": host})).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8080", "", "192.0.2.7", "[", "localhost.evil"]
)
async def test_a_name_that_was_made_to_lead_here_is_refused(host: str, autojump_clock: object, tmp_path: Path) -> None:
    async with asked(tmp_path) as client:
        assert (await client.get(STATUS, headers={"host": host})).error == (403, "forbidden", None)
    (tmp_path / "other").mkdir()
    async with asked(tmp_path / "other", host="0.0.0.0", token=TOKEN) as client:
        known = {"host": host, "authorization": f"Bearer {TOKEN}"}
        assert (await client.get(STATUS, headers=known)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    ],
)
async def test_pages_of_other_origins_are_refused(
    headers: dict[str, str], autojump_clock: object, tmp_path: Path
) -> None:
    async with asked(tmp_path) as client:
        for method, path in (("GET", STATUS), ("POST", "/api/v1/market-data/sync-all"), ("OPTIONS", STATUS)):
            answer = await client.request(method, path, headers=headers)
            assert answer.error == (403, "forbidden", None)
            assert not any(name.startswith("access-control") for name in answer.headers)


async def test_our_own_pages_and_links_are_let_in(autojump_clock: object, tmp_path: Path) -> None:
    async with asked(tmp_path) as client:
        assert (await client.get(STATUS, headers={"origin": f"http://{HOST}"})).status == 200
        link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        assert (await client.get("/", headers=link)).status == 200


async def test_an_origin_that_is_configured_may_ask(autojump_clock: object, tmp_path: Path) -> None:
    async with asked(tmp_path, cors_origins=("https://friend.example",), token=TOKEN) as client:
        headers = {"origin": "https://friend.example"}
        preflight = await client.request(
            "OPTIONS", "/api/streams", headers={**headers, "access-control-request-method": "PUT"}
        )
        assert (preflight.status, preflight.body) == (204, b"")
        assert preflight.headers["access-control-allow-origin"] == "https://friend.example"
        assert "PUT" in preflight.headers["access-control-allow-methods"]
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        assert (await client.get(STATUS, headers=headers)).error == (401, "unauthorized", None)
        answer = await client.get(STATUS, headers={**headers, "authorization": f"Bearer {TOKEN}"})
        assert (answer.status, answer.headers["vary"]) == (200, "origin")
        assert answer.headers["access-control-allow-origin"] == "https://friend.example"
        assert "access-control-allow-credentials" not in answer.headers
        assert (await client.get(STATUS, headers={"origin": "https://other.example"})).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Bearer \xff\xfe"},
        {"cookie": f"{COOKIE}={TOKEN}"},
        {"cookie": f"{COOKIE}=\xff"},
        {"cookie": "candleactors"},
    ],
)
async def test_without_the_token_nothing_is_told(
    headers: dict[str, str], autojump_clock: object, tmp_path: Path
) -> None:
    async with asked(tmp_path, token=TOKEN) as client:
        for path in (STATUS, "/metrics", "/api/streams", "/api/candles", "/nope", "/api/candles/stream?stream=a:b:1m"):
            answer = await client.get(path, headers=headers)
            assert answer.error == (401, "unauthorized", None)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN.encode() not in answer.body
        for path in ("/healthz", "/readyz", "/openapi.json", "/"):
            assert (await client.get(path, headers=headers)).status in (200, 503)


async def test_a_browser_is_given_a_cookie_for_the_token(autojump_clock: object, tmp_path: Path) -> None:
    async with asked(tmp_path, token=TOKEN) as client:
        wrong = await client.request("POST", "/api/session", body={"token": "wrong"})
        assert wrong.error == (401, "unauthorized", "token")
        answer = await client.request("POST", "/api/session", body={"token": TOKEN})
        assert (answer.status, answer.body) == (204, b"")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert TOKEN not in cookie
        known = {"cookie": f"theme=dark; {cookie.partition(';')[0]}"}
        assert (await client.get(STATUS, headers=known)).status == 200
        assert TOKEN not in repr(client.settings)


async def test_what_browsers_are_told(autojump_clock: object, tmp_path: Path) -> None:
    async with asked(tmp_path, frame_ancestors=("https://friend.example",)) as client:
        for path in ("/", "/chart", STATUS, "/nope"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == "'self'"
            embeddable = path == "/chart"
            assert policy["frame-ancestors"] == ("https://friend.example" if embeddable else "'none'")
            assert ("x-frame-options" in headers) != embeddable


async def test_long_requests_are_refused(autojump_clock: object, tmp_path: Path) -> None:
    async with asked(tmp_path, max_body_bytes=100) as client:
        watch = {"streams": ["binance-spot:BTCUSDT:1m"] * 10}
        assert (await client.request("PUT", "/api/streams", body=watch)).error == (413, "too_large", None)
        in_pieces = await client.request("PUT", "/api/streams", raw=[b'{"streams"'] * 20)
        assert in_pieces.error == (413, "too_large", None)
        assert in_pieces.headers["connection"] == "close"
        long = await client.get("/api/streams?" + "x" * 20_000)
        assert long.error == (414, "too_large", None)


async def test_a_body_that_trickles_is_not_waited_for(autojump_clock: object, tmp_path: Path) -> None:
    async with asked(tmp_path, request_timeout_s=3) as client:
        started_s = trio.current_time()
        sent: list[Any] = []

        async def receive() -> Any:
            await trio.sleep(1)
            return {"type": "http.request", "body": b" ", "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "http_version": "1.1", "method": "PUT", "path": "/api/streams", "query_string": b"",
            "headers": [(b"host", HOST.encode())],
        }  # fmt: skip
        await client.app(scope, receive, send)
        assert sent[0]["status"] == 408
        assert trio.current_time() - started_s == pytest.approx(3)


async def test_http_2_is_not_spoken(autojump_clock: object, tmp_path: Path) -> None:
    async with asked(tmp_path) as client:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "http_version": "2", "method": "GET", "path": "/", "headers": [], "query_string": b""}
        await client.app(scope, trio.sleep_forever, send)
        assert sent[0]["status"] == 505

"""The dashboard's files, as they lie in the installed package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import trio
from litestar import Response, get
from litestar.params import PathParameter

from candleactors.web.errors import ApiError

FOLDER: Final = Path(__file__).parent / "page"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    "": "text/plain; charset=utf-8",
}


@get("/", include_in_schema=False)
async def index() -> Response[bytes]:
    """The dashboard."""
    return await _file("index.html")


@get("/chart", include_in_schema=False)
async def chart() -> Response[bytes]:
    """One chart, to be embedded."""
    return await _file("chart.html")


@get("/docs", include_in_schema=False)
async def docs() -> Response[bytes]:
    """The description of the API, for people."""
    return await _file("docs.html")


@get("/page/{path:path}", include_in_schema=False)
async def page(path: Annotated[Path, PathParameter()]) -> Response[bytes]:
    """Any other file."""
    return await _file(str(path).lstrip("/"))


async def _file(name: str) -> Response[bytes]:
    path = (FOLDER / name).resolve()
    content_type = _TYPES.get(path.suffix)
    if not path.is_relative_to(FOLDER.resolve()) or content_type is None:
        raise ApiError.of_status(404, f"there is no {name}")
    try:
        content = await trio.Path(path).read_bytes()
    except OSError:
        raise ApiError.of_status(404, f"there is no {name}") from None
    # Asked for anew each time, since another version may be installed; the files are few and small.
    return Response(content, media_type=content_type, headers={"cache-control": "no-cache"})

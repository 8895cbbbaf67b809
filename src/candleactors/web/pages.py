"""The dashboard's files, as they lie in the installed package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import trio
from litestar import Response, get
from litestar.params import PathParameter

from candleactors.web.errors import ApiError

FOLDER: Final = Path(__file__).parent / "page"
_BUILT: Final = FOLDER / "vendor" / "STAMP"
"""Is there once the build has brought the libraries that the pages need."""
_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain",
    "": "text/plain",
}
"""By suffix; texts are UTF-8."""


@get("/", include_in_schema=False)
async def index() -> Response[bytes]:
    """The dashboard."""
    return await _page("index.html")


@get("/chart", include_in_schema=False)
async def chart() -> Response[bytes]:
    """One chart, to be embedded."""
    return await _page("chart.html")


@get("/docs", include_in_schema=False)
async def docs() -> Response[bytes]:
    """The description of the API, for people."""
    return await _page("docs.html")


@get("/page/{path:path}", include_in_schema=False)
async def page(path: Annotated[Path, PathParameter()]) -> Response[bytes]:
    """Any other file."""
    return await _file(str(path).lstrip("/"))


async def _page(name: str) -> Response[bytes]:
    if not await trio.Path(_BUILT).exists():
        raise ApiError(404, "not_found", "candleactors was built without its pages (CANDLEACTORS_SKIP_PAGE)")
    return await _file(name)


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

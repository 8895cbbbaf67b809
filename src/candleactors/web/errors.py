"""Errors as a client sees them: one shape, whatever went wrong."""

from __future__ import annotations

from typing import Final

import msgspec
from attrs import frozen
from litestar.openapi.datastructures import ResponseSpec

from candleactors.web.asgi import Send

_CODES: Final = {
    400: "invalid_parameter",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    503: "unavailable",
}


@frozen
class ErrorDetail:
    """What went wrong: a code for programs, a message for people, and the parameter to blame, if one is."""

    code: str
    message: str
    parameter: str | None = None


@frozen
class ErrorBody:
    """The body of every answer that is not a success."""

    error: ErrorDetail


ERRORS: Final = {
    status: ResponseSpec(ErrorBody, description=description, generate_examples=False)
    for status, description in {
        400: "A parameter or the body is wrong.",
        401: "A token is needed.",
        403: "Not from another origin's page, nor under another host's name.",
        404: "Something that was named is not there.",
        408: "The body came too slowly.",
        413: "The body is too large.",
        503: "The store cannot be read now, the feed is stopping, or there are too many clients.",
    }.items()
}
"""How endpoints describe what may go wrong."""


class ApiError(Exception):
    """A request that cannot be answered as it was meant."""

    def __init__(
        self,
        status: int,
        code: str | None = None,
        message: str = "",
        *,
        parameter: str | None = None,
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = ErrorBody(ErrorDetail(code or _CODES.get(status, "error"), message, parameter))
        self.headers = {**(headers or {}), **({} if retry_after_s is None else {"retry-after": str(retry_after_s)})}

    @classmethod
    def of_status(cls, status: int, message: str, headers: dict[str, str] | None = None) -> ApiError:
        """Return the error for an HTTP status as such."""
        return cls(status, None if status in _CODES else "error", message, headers=headers)

    async def send(self, send: Send) -> None:
        """Answer a request with this."""
        body = msgspec.json.encode(self.body)
        headers = {"content-type": "application/json", "content-length": str(len(body)), **self.headers}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def invalid(parameter: str, problem: object) -> ApiError:
    """Return the error for a parameter that cannot be what it is."""
    return ApiError(400, "invalid_parameter", str(problem), parameter=parameter)


def unknown(parameter: str, problem: object) -> ApiError:
    """Return the error for a parameter that might be right and names nothing that is here."""
    return ApiError(404, "not_found", str(problem), parameter=parameter)

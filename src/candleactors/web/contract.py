"""The contract: what the API's description promises of requests, kept to the letter.

A query parameter that an endpoint does not have, or has only once, is an error: a misspelt ``ends=`` would otherwise be
answered with what nobody asked for.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.openapi.spec import Components, OpenAPIType, Parameter, Schema

from candleactors.validators import nearest
from candleactors.web.errors import invalid
from candleactors.web.parameters import STREAM_PATTERN
from candleactors.web.values import LONGEST_INTEREST_S

_METHODS: Final = ("get", "put", "post", "delete")
_CLOSED: Final = ("WatchRequest", "LoginRequest")
"""Bodies that may have no other fields, which the framework does not say of them."""


class Contract:
    """Checks each request against the description of its endpoint."""

    def __init__(self) -> None:
        self._queries: dict[tuple[str, str], dict[str, bool]] = {}
        self._methods: dict[str, list[str]] = {}

    def learn(self, app: Litestar) -> None:
        """Take in the description of `app`, after completing it."""
        description = app.openapi_schema
        _complete(description.components)
        for path, item in (description.paths or {}).items():
            for method in _METHODS:
                if (operation := getattr(item, method)) is None:
                    continue
                declared = [each for each in operation.parameters or () if isinstance(each, Parameter)]
                queries = {each.name: _is_list(each) for each in declared if each.param_in == "query"}
                self._queries[method.upper(), path] = queries
                self._methods.setdefault(path, ["OPTIONS"]).append(method.upper())

    async def check(self, request: Request[None, None, State]) -> Response[None] | None:
        """Raise `ApiError` for a parameter that the endpoint does not have, or not so often; answer OPTIONS."""
        path = request.scope["path_template"]
        if request.method == "OPTIONS" and path in self._methods:
            return Response(None, status_code=204, headers={"allow": ", ".join(self._methods[path])})
        known = self._queries.get((request.method, path))
        if known is None:
            return None
        for name, count in Counter(name for name, _ in request.query_params.multi_items()).items():
            if name not in known:
                near = nearest(name, known)
                hint = f'; did you mean "{near}"?' if near else ""
                raise invalid(name, f"there is no such parameter{hint}")
            if count > 1 and not known[name]:
                raise invalid(name, "given more than once")
        return None


def _complete(components: Components) -> None:
    """Say what the framework leaves out of the descriptions of bodies."""
    for name in _CLOSED:
        _body(components, name).additional_properties = False
    watch = _body(components, "WatchRequest").properties
    assert watch is not None
    streams = watch["streams"]
    assert isinstance(streams, Schema)
    streams.items = Schema(type=OpenAPIType.STRING, pattern=STREAM_PATTERN)
    seconds = Schema(type=OpenAPIType.NUMBER, exclusive_minimum=0, maximum=LONGEST_INTEREST_S)
    watch["expires_after_s"] = Schema(one_of=[seconds, Schema(type=OpenAPIType.NULL)])


def _body(components: Components, name: str) -> Schema:
    body = components.schemas[name]
    assert isinstance(body, Schema)
    return body


def _is_list(parameter: Parameter) -> bool:
    schema = parameter.schema
    return isinstance(schema, Schema) and any(
        isinstance(one, Schema) and one.type == OpenAPIType.ARRAY for one in (schema, *(schema.one_of or ()))
    )

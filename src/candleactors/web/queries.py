"""Query parameters: one that an endpoint does not have, or has only once, is an error, not ignored.

A misspelt ``ends=`` would otherwise be answered with what nobody asked for.
"""

from __future__ import annotations

from collections import Counter

from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.openapi.spec import OpenAPIType, Parameter, Schema

from candleactors.validators import nearest
from candleactors.web.errors import invalid


class Queries:
    """Checks the query of each request against the description of its endpoint."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[str, bool]] = {}

    def learn(self, app: Litestar) -> None:
        """Take in the parameters of all endpoints that are described, and which of them may be repeated."""
        for path, item in (app.openapi_schema.paths or {}).items():
            for method in ("get", "put", "post", "delete"):
                if (operation := getattr(item, method)) is None:
                    continue
                declared = [each for each in operation.parameters or () if isinstance(each, Parameter)]
                self._known[method.upper(), path] = {
                    each.name: _is_list(each) for each in declared if each.param_in == "query"
                }

    async def check(self, request: Request[None, None, State]) -> None:
        """Raise `ApiError` for a parameter that the endpoint of `request` does not have, or not so often."""
        known = self._known.get((request.method, request.scope["path_template"]))
        if known is None:
            return
        for name, count in Counter(name for name, _ in request.query_params.multi_items()).items():
            if name not in known:
                near = nearest(name, known)
                hint = f'; did you mean "{near}"?' if near else ""
                raise invalid(name, f"there is no such parameter{hint}")
            if count > 1 and not known[name]:
                raise invalid(name, "given more than once")


def _is_list(parameter: Parameter) -> bool:
    schema = parameter.schema
    return isinstance(schema, Schema) and any(
        isinstance(one, Schema) and one.type == OpenAPIType.ARRAY for one in (schema, *(schema.one_of or ()))
    )

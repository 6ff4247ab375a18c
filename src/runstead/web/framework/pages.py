"""Registers page functions by path. Each noun's file has one `Pages`."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.responses import Response

from runstead.web.framework.request import PageRequest

Handler = Callable[[PageRequest], Awaitable[Response]]


class Page(NamedTuple):
    method: str
    path: str
    handler: Handler


class Pages:
    """The pages of one noun. GET shows a page; POST makes a change and redirects to a page."""

    def __init__(self) -> None:
        self.registered: list[Page] = []

    def get(self, path: str) -> Callable[[Handler], Handler]:
        return self._register("GET", path)

    def post(self, path: str) -> Callable[[Handler], Handler]:
        return self._register("POST", path)

    def _register(self, method: str, path: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            self.registered.append(Page(method, f"/ui{path}", handler))
            return handler

        return register

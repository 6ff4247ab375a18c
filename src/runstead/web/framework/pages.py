"""Which function answers for which address: each noun's file registers its pages here."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.responses import Response

from runstead.web.framework.request import Visit

Show = Callable[[Visit], Awaitable[Response]]


class Page(NamedTuple):
    method: str
    path: str
    show: Show


class Pages:
    """The pages of one noun. GET shows, POST changes and goes back to a page."""

    def __init__(self) -> None:
        self.found: list[Page] = []

    def get(self, path: str) -> Callable[[Show], Show]:
        return self._register("GET", path)

    def post(self, path: str) -> Callable[[Show], Show]:
        return self._register("POST", path)

    def _register(self, method: str, path: str) -> Callable[[Show], Show]:
        def register(show: Show) -> Show:
            self.found.append(Page(method, f"/ui{path}", show))
            return show

        return register

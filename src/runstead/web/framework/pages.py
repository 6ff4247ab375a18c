"""Registers page functions by path. Each noun's file has one `Pages`."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from starlette.responses import Response

from runstead.core.errors import Error
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project
from runstead.web.framework.request import PageRequest, at

Handler = Callable[[PageRequest], Awaitable[Response]]
Show = Callable[[PageRequest, Project], Awaitable[Response]]
S = TypeVar("S", bound=Show)
Change = Callable[[PageRequest, Project], Awaitable[str | Response]]

Refused = Callable[[PageRequest, Project, Error], Awaitable[Response]]
"""The page of a form that was refused, with the error. It raises an error that the page does not show."""


def to_admins(page: Refused) -> Refused:
    """Show the page to admins; others get the error."""

    async def show(request: PageRequest, project: Project, error: Error) -> Response:
        if not request.may("admin", project):
            raise error
        return await page(request, project, error)

    return show


def if_invalid(page: Refused) -> Refused:
    """Show the page for invalid fields; other errors have their own page."""

    async def show(request: PageRequest, project: Project, error: Error) -> Response:
        if error.code != "INVALID_REQUEST":
            raise error
        return await page(request, project, error)

    return show


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

    def show(
        self, path: str, *, scope: Scope = Scope.RUNS_READ, to_others: str | None = None
    ) -> Callable[[S], S]:
        """Register a page of a project, in which the caller needs the scope.

        `to_others`: the page is for admins, and others get this template with the status 403.
        """

        def register(show: S) -> S:
            async def respond(request: PageRequest) -> Response:
                project = await request.project(scope)
                if to_others is not None and not request.may("admin", project):
                    return await request.page(to_others, project=project, status=403)
                return await show(request, project)

            self._register("GET", path)(respond)
            return show

        return register

    def change(
        self,
        path: str,
        *,
        to: str | Callable[[PageRequest], str],
        scope: Scope = Scope.RUNS_READ,
        refused: Refused | None = None,
    ) -> Callable[[Change], Change]:
        """Register a form of a project, in which the caller needs the scope.

        The function makes the change and returns its message, which the page at the path `to` shows, or at the one that
        `to` finds for the form. It returns a response instead where another page follows. `refused` shows a form again whose change raised an error.
        """

        def register(make: Change) -> Change:
            async def respond(request: PageRequest) -> Response:
                project = await request.project(scope)
                try:
                    made = await make(request, project)
                except Error as error:
                    if refused is None:
                        raise
                    return await refused(request, project, error)
                if isinstance(made, str):
                    shown = to if isinstance(to, str) else to(request)
                    return request.redirect_with_flash(made, at(shown, request, project))
                return made

            self._register("POST", path)(respond)
            return make

        return register

    def _register(self, method: str, path: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            self.registered.append(Page(method, f"/ui{path}", handler))
            return handler

        return register

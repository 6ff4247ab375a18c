"""A browser's request, as a page function receives it, with the responses that it can make."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode

from markupsafe import Markup
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Scope as AsgiScope

from runstead.commands import locate, projects
from runstead.commands.app import App
from runstead.core.errors import Error
from runstead.core.identity.browser_session import BrowserSession
from runstead.core.identity.principal import Principal, Scope, can
from runstead.core.identity.project import Project
from runstead.http.framework.problems import STATUS
from runstead.web.framework.cookie import encrypted
from runstead.web.framework.form import Fields, header
from runstead.web.framework.render import render

FLASH_COOKIE = "runstead_flash"


def csrf_of(secret: str) -> str:
    """The CSRF token of a session, derived from its secret. Every form contains it."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


@dataclass(eq=False)
class PageRequest:
    """A request of a signed-in browser.

    `query` holds the fields of the address, `form` those of the body; `secret` is the session cookie. Call
    `forget_credentials` after a change of permissions: it clears the authenticator's cache.
    """

    app: App
    scope: InitVar[AsgiScope]
    principal: Principal
    session: BrowserSession | None
    secret: str
    query: Fields
    form: Fields
    forget_credentials: Callable[[], None]

    def __post_init__(self, scope: AsgiScope) -> None:
        self.path: dict[str, str] = scope["path_params"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.address = scope["path"] + (
            "?" + scope["query_string"].decode("latin-1") if scope["query_string"] else ""
        )
        #: Scheme and host of this server, as the browser sees them.
        self.origin = (
            f"{'https' if encrypted(scope, self.headers) else 'http'}://{header(self.headers, b'host') or ''}"
        )

    @property
    def caller(self) -> tuple[App, Principal]:
        """The first arguments of a command: `commands.get(*request.caller, project.id)`."""
        return self.app, self.principal

    def named(self, project: Project) -> tuple[App, Principal, str, str]:
        """The same, with the project and what else the path names, such as its webhook."""
        _, name, *_ = self.path.values()
        return self.app, self.principal, project.id, name

    @property
    def by_htmx(self) -> bool:
        """Whether htmx requests a part of a page."""
        return header(self.headers, b"hx-request") == "true"

    @property
    def in_place(self) -> bool:
        """Whether the script `actions.js` sends a form, and stays on the page if it can."""
        return header(self.headers, b"x-runstead-toast") == "true"

    async def project(self, scope: Scope = Scope.RUNS_READ) -> Project:
        """The project that the path names. NOT_FOUND, FORBIDDEN."""
        return await locate.project(self.app, self.principal, scope, self.path["project"])

    def may(self, scope: str, project: Project) -> bool:
        """Whether the principal has this scope in the project."""
        return can(self.principal, Scope(scope), project.id)

    async def page(
        self, template: str, *, project: Project | None = None, status: int = 200, **values: Any
    ) -> Response:
        """A whole page. `project` is the current project, whose menu is shown.

        Pages without one show the menu of the project that the query names, or of the first.
        """
        visible = await projects.visible(self.app, self.principal)
        named = [one for one in visible if one.slug == self.query.one("project")]
        cookies = header(self.headers, b"cookie") or ""
        flash = next(
            (part.partition("=")[2] for part in cookies.split("; ") if part.startswith(f"{FLASH_COOKIE}=")),
            "",
        )
        response = HTMLResponse(
            render(
                template,
                request=self,
                principal=self.principal,
                project=project,
                menu=project or next(iter(named or visible), None),
                projects=visible,
                csrf=csrf_of(self.secret),
                csrf_field=self.csrf_field,
                flash=unquote(flash)[:500],
                may=self.may,
                **values,
            ),
            status,
        )
        if flash:
            response.delete_cookie(FLASH_COOKIE, path="/ui")
        return response

    async def form_page(self, template: str, refused: Error | None, **values: Any) -> Response:
        """A whole page with a form. After a refusal, it has the status of the error, and the form keeps its fields."""
        status = STATUS[refused.code] if refused else 200
        return await self.page(template, status=status, refused=refused, filled=self.form, **values)

    def part(self, template: str, **values: Any) -> Response:
        """A response with a part of a page, for htmx."""
        return HTMLResponse(self.fragment(template, **values))

    def fragment(self, template: str, **values: Any) -> str:
        """A part of a page, as HTML."""
        return render(template, request=self, csrf_field=self.csrf_field, may=self.may, **values)

    @property
    def csrf_field(self) -> Markup:
        """The hidden field of every form that makes a change."""
        return Markup('<input type="hidden" name="csrf" value="{}">').format(csrf_of(self.secret))

    def redirect_with_flash(self, flash: str, to: str) -> Response:
        """Redirect to a page after a change. The page shows the message `flash` once.

        The script `actions.js` gets both as JSON.
        """
        if self.in_place:
            return JSONResponse({"flash": flash, "to": to})
        response = RedirectResponse(to, 303)
        response.set_cookie(
            FLASH_COOKIE,
            quote(flash, safe=""),
            max_age=30,
            path="/ui",
            httponly=True,
            samesite="strict",
            secure=self.origin.startswith("https:"),
        )
        return response


def at(path: str, request: PageRequest, project: Project) -> str:
    """The address at the path of a page, such as `/projects/{project}/runs`, with the names of the request's path."""
    names = request.path | {"project": project.slug}
    return "/ui" + path.format_map({name: quote(value, safe=":@") for name, value in names.items()})


def to(*parts: str, **query: Any) -> str:
    """An address of the dashboard: path segments, and a query without empty values."""
    path = "/".join(quote(part, safe=":@") for part in parts)
    kept = [(name, value) for name, value in query.items() if value not in (None, "", [])]
    return f"/ui/{path}" + ("?" + urlencode(kept, doseq=True) if kept else "")

"""One request of a browser, as a page's function gets it, and what it may answer."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote, urlencode

from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope as AsgiScope

from runstead.commands import locate, projects
from runstead.commands.app import App
from runstead.core.identity.browser_session import BrowserSession
from runstead.core.identity.principal import Principal, Scope, can
from runstead.core.identity.project import Project
from runstead.web.framework.cookie import encrypted
from runstead.web.framework.form import Fields, header
from runstead.web.framework.render import render

TOLD = "runstead_told"


def csrf_of(secret: str) -> str:
    """What a form must carry: only who has the cookie's page can know it."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


class Visit:
    """A request with its session: `query` from the address, `form` from the body. `secret` is the cookie's. To be called once
    what a credential may do has changed: `forget_credentials`.
    """

    def __init__(
        self,
        app: App,
        scope: AsgiScope,
        principal: Principal,
        session: BrowserSession | None,
        secret: str,
        query: Fields,
        form: Fields,
        forget_credentials: Callable[[], None],
    ) -> None:
        self.app = app
        self.principal = principal
        self.session = session
        self.query = query
        self.form = form
        self.forget_credentials = forget_credentials
        self.path: dict[str, str] = scope["path_params"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.address = scope["path"] + (
            "?" + scope["query_string"].decode("latin-1") if scope["query_string"] else ""
        )
        #: Where the browser finds this server.
        self.origin = (
            f"{'https' if encrypted(scope, self.headers) else 'http'}://{header(self.headers, b'host') or ''}"
        )
        self.secret = secret

    @property
    def by_htmx(self) -> bool:
        """Whether htmx asks for a part of a page."""
        return header(self.headers, b"hx-request") == "true"

    async def project(self, scope: Scope = Scope.RUNS_READ) -> Project:
        """The project that the path names. NOT_FOUND, FORBIDDEN."""
        return await locate.project(self.app, self.principal, scope, self.path["project"])

    def may(self, scope: str, project: Project) -> bool:
        """Whether to offer what needs this scope."""
        return can(self.principal, Scope(scope), project.id)

    async def page(
        self, template: str, *, project: Project | None = None, status: int = 200, **values: Any
    ) -> Response:
        """A whole page. `project` is where the reader is: its menu is shown."""
        told = header(self.headers, b"cookie") or ""
        message = next(
            (part.partition("=")[2] for part in told.split("; ") if part.startswith(f"{TOLD}=")), ""
        )
        answer = HTMLResponse(
            render(
                template,
                visit=self,
                principal=self.principal,
                project=project,
                projects=await projects.visible(self.app, self.principal),
                csrf=csrf_of(self.secret),
                csrf_field=self.csrf_field,
                told=unquote(message)[:500],
                may=self.may,
                **values,
            ),
            status,
        )
        if message:
            answer.delete_cookie(TOLD, path="/ui")
        return answer

    def part(self, template: str, **values: Any) -> Response:
        """A part of a page, for htmx."""
        return HTMLResponse(self.fragment(template, **values))

    def fragment(self, template: str, **values: Any) -> str:
        return render(template, visit=self, csrf_field=self.csrf_field, may=self.may, **values)

    @property
    def csrf_field(self) -> Markup:
        """What every form holds."""
        return Markup('<input type="hidden" name="csrf" value="{}">').format(csrf_of(self.secret))

    def back(self, told: str, to: str) -> Response:
        """After a change: on to a page of ours, which says once what was done."""
        answer = RedirectResponse(to, 303)
        answer.set_cookie(
            TOLD, quote(told, safe=""), max_age=30, path="/ui", httponly=True, samesite="strict"
        )
        return answer


def to(*parts: str, **query: Any) -> str:
    """An address of ours: parts of the path, each of them one segment, and a query without what is empty."""
    path = "/".join(quote(part, safe=":@") for part in parts)
    kept = [(name, value) for name, value in query.items() if value not in (None, "", [])]
    return f"/ui/{path}" + ("?" + urlencode(kept, doseq=True) if kept else "")

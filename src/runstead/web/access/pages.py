"""Who may do what in a project, and how much of it may run: keys, members and limits. And new projects."""

from typing import Final

from starlette.responses import Response

from runstead.commands import concurrency, projects as commands
from runstead.core import limits as bounds
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.core.identity.principal import DEFAULT_SCOPES, ROLE_SCOPES, Scope
from runstead.core.identity.project import Project, new_key
from runstead.core.queue.concurrency import ConcurrencyLimit
from runstead.http.concurrency import Limit
from runstead.http.framework.problems import STATUS
from runstead.http.projects import CreateKey, CreateProject, PutMember
from runstead.web.framework.command_body import body_of
from runstead.web.framework.idempotent_form import made_before, once, once_field, reveal
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit, to

pages = Pages()

DAY_MS: Final = 86_400_000
LIFETIMES: Final = {
    "": "never",
    "1": "in a day",
    "7": "in a week",
    "30": "in 30 days",
    "90": "in 90 days",
    "365": "in a year",
}
SCOPES: Final = {
    Scope.RUNS_READ: "read runs",
    Scope.RUNS_WRITE: "create and change runs",
    Scope.WORKERS: "work on runs",
    Scope.ADMIN: "everything, keys and members too",
}
ROLES: Final = {"admin": "everything", "member": "runs and workers", "viewer": "reading runs"}
assert ROLES.keys() == ROLE_SCOPES.keys()
TOLD: Final = {
    "user_id": "The user's id is missing, too long, or holds control characters",
    "name": f"The name is longer than {bounds.name_chars_max} characters, or holds control characters",
    "max_running": f"The number must be from 0 to {bounds.running_max:,}",
    "target": f"The target is longer than {bounds.target_chars_max} characters, or holds control characters",
    "slug": f"The short name has 1 to {bounds.slug_chars_max} lower-case letters, digits and inner hyphens",
}


def _here(project: Project, part: str = "") -> str:
    return to("projects", project.slug, "access") + (f"#{part}" if part else "")


async def listing(visit: Visit, project: Project, refused: Error | None = None, about: str = "") -> Response:
    """The page. `refused` is said at the form that was sent (`about`), which keeps what was filled in."""
    app, principal, now = visit.app, visit.principal, now_ms()
    admin = visit.may("admin", project)
    members = await commands.members(app, principal, project.id)
    keys = await commands.keys(app, principal, project.id) if admin else []
    return await visit.page(
        "access/page.html",
        project=project,
        status=STATUS[refused.code] if refused else 200,
        admin=admin,
        members=members,
        keys=keys[::-1],
        last_admin=commands.last_admin(members, keys, now) if admin else None,
        limits=await concurrency.get(app, principal, project.id),
        running_max=bounds.running_max,
        now=now,
        scopes=SCOPES,
        roles=ROLES,
        lifetimes=LIFETIMES,
        chosen=visit.form.all("scopes") if about == "key" else DEFAULT_SCOPES,
        refused=refused,
        about=about,
        filled=visit.form,
        once_field=once_field(),
    )


@pages.get("/projects/{project}/access")
async def index(visit: Visit) -> Response:
    return await listing(visit, await visit.project())


def _again(visit: Visit, project: Project, refused: Error) -> None:
    """Raise it anew where the page could not show it with its form."""
    if not visit.may("admin", project) or STATUS[refused.code] >= 500:
        raise refused


@pages.post("/projects/{project}/keys")
async def create_key(visit: Visit) -> Response:
    project, form, secret = await visit.project(), visit.form, new_key()
    try:
        body = body_of(CreateKey, TOLD, name=form.one("name"), scopes=form.all("scopes"))
        if body.scopes is None:
            raise Error("INVALID_REQUEST", "No scope is chosen: a key must be good for something")
        if form.one("days") not in LIFETIMES:
            raise Error("INVALID_REQUEST", "The time until it expires is none of those to choose from")
        days = int(form.one("days") or 0)
        expires_at = now_ms() + days * DAY_MS if days else None
        new = commands.NewKey(secret, frozenset(body.scopes), body.name, expires_at)
        made = await once(
            visit,
            lambda idempotency: commands.create_key(visit.app, visit.principal, project.id, new, idempotency),
        )
    except Error as refused:
        _again(visit, project, refused)
        return await listing(visit, project, refused, "key")
    if made is None:
        return made_before(visit, "The key", _here(project))
    return await reveal(
        visit,
        project,
        title=f"The key {made.name or made.prefix} is there",
        label="API key",
        secret=secret,
        note="Keep it where secrets are kept: it is shown only now, and the server keeps no more than a hash of it.",
        to=_here(project),
    )


@pages.post("/projects/{project}/keys/{key_id}/revoke")
async def revoke_key(visit: Visit) -> Response:
    project = await visit.project()
    key = await commands.revoke_key(visit.app, visit.principal, project.id, visit.path["key_id"])
    visit.forget_credentials()
    return visit.back(f"The key {key.name or key.prefix} is revoked: it opens nothing more.", _here(project))


@pages.post("/projects/{project}/members")
async def put_member(visit: Visit) -> Response:
    project, form = await visit.project(), visit.form
    try:
        body = body_of(PutMember, TOLD, user_id=form.one("user_id"), role=form.one("role"))
        member = await commands.put_member(visit.app, visit.principal, project.id, body.user_id, body.role)
    except Error as refused:
        _again(visit, project, refused)
        return await listing(visit, project, refused, "member")
    visit.forget_credentials()
    return visit.back(f"{member.user_id} is {member.role} of the project.", _here(project, "members"))


@pages.post("/projects/{project}/members/remove")
async def remove_member(visit: Visit) -> Response:
    project, user_id = await visit.project(), visit.form.required("user_id", "The user's id")
    try:
        await commands.remove_member(visit.app, visit.principal, project.id, user_id)
    except Error as refused:
        _again(visit, project, refused)
        return await listing(visit, project, refused, "member")
    visit.forget_credentials()
    if user_id == visit.principal.id and visit.principal.kind == "user":
        return visit.back("You are no member of the project any more.", "/ui")
    return visit.back(f"{user_id} is no member of the project any more.", _here(project, "members"))


@pages.post("/projects/{project}/limits")
async def put_limit(visit: Visit) -> Response:
    project, form = await visit.project(), visit.form
    try:
        number = form.one("max_running")
        most = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None
        body = body_of(Limit, TOLD, max_running=most, target=form.one("target"))
        limit = ConcurrencyLimit(body.target, body.max_running)
        await concurrency.put_one(visit.app, visit.principal, project.id, limit)
    except Error as refused:
        _again(visit, project, refused)
        return await listing(visit, project, refused, "limit")
    of = f"of {limit.target}" if limit.target else "of the project"
    return visit.back(f"At most {limit.max_running:,} runs {of} run at a time.", _here(project, "limits"))


@pages.post("/projects/{project}/limits/remove")
async def remove_limit(visit: Visit) -> Response:
    project = await visit.project()
    target = visit.form.one("target") or None
    await concurrency.drop_one(visit.app, visit.principal, project.id, target)
    return visit.back(f"{target or 'The project'} is not limited any more.", _here(project, "limits"))


@pages.get("/new-project")
async def new_project(visit: Visit) -> Response:
    return await _ask_for_project(visit)


async def _ask_for_project(visit: Visit, refused: Error | None = None) -> Response:
    return await visit.page(
        "access/new_project.html",
        status=STATUS[refused.code] if refused else 200,
        may_create=commands.may_create(visit.principal),
        by_key=visit.principal.kind == "api_key",
        refused=refused,
        filled=visit.form,
        once_field=once_field(),
    )


@pages.post("/new-project")
async def create_project(visit: Visit) -> Response:
    form, secret = visit.form, new_key()
    try:
        body = body_of(CreateProject, TOLD, slug=form.one("slug"), name=form.one("name"))
        made = await once(
            visit,
            lambda idempotency: commands.create(
                visit.app, visit.principal, body.slug, body.name, secret, idempotency
            ),
        )
    except Error as refused:
        if STATUS[refused.code] >= 500 or refused.code == "FORBIDDEN":
            raise
        return await _ask_for_project(visit, refused)
    visit.forget_credentials()
    if made is None:
        return made_before(visit, "The project", "/ui")
    if visit.principal.kind != "api_key":
        return visit.back(f"The project {made.slug} is there, and you are its admin.", _here(made))
    return await reveal(
        visit,
        None,
        title=f"The project {made.slug} is there",
        label="Its first key, with the scope admin",
        secret=secret,
        note="Sign in with it to see the project: the key that you are signed in with opens another one. It is shown only"
        " now, and the server keeps no more than a hash of it.",
        to="/ui",
    )

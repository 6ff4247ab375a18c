"""API keys, members and concurrency limits of a project, and the page that creates a project."""

from typing import Any, Final

from starlette.responses import Response

from runstead.commands import concurrency, projects as commands, quotas
from runstead.core import limits as bounds
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.core.identity.principal import DEFAULT_SCOPES, ROLE_SCOPES, Scope
from runstead.core.identity.project import Project, new_key
from runstead.http.arguments import from_body
from runstead.http.concurrency import Limit, limit_of
from runstead.http.framework.problems import STATUS
from runstead.http.projects import CreateKey, CreateProject, PutMember
from runstead.web.framework.command_body import body_of
from runstead.web.framework.form import Fields
from runstead.web.framework.idempotent_form import already_created, idempotent, show_secret
from runstead.web.framework.pages import Pages, Refused, to_admins
from runstead.web.framework.request import PageRequest, at, to

pages = Pages()

_ACCESS: Final = "/projects/{project}/access"
DAY_MS: Final = 86_400_000
LIFETIMES: Final = {
    "": "never",
    "1": "in 1 day",
    "7": "in 7 days",
    "30": "in 30 days",
    "90": "in 90 days",
    "365": "in 1 year",
}
SCOPES: Final = {
    Scope.RUNS_READ: "read runs",
    Scope.RUNS_WRITE: "create and change runs",
    Scope.WORKERS: "run workers",
    Scope.AUDIT_READ: "read the audit log",
    Scope.ADMIN: "everything in the project, including keys and members",
    Scope.SYSTEM: "the state of the instance, and creating projects",
}
ROLES: Final = {"admin": "everything", "member": "runs and workers", "viewer": "read runs"}
assert ROLES.keys() == ROLE_SCOPES.keys()
QUOTA_NAMES: Final = {
    "requests_per_minute": "requests per minute, at each process",
    "runs_per_minute": "new runs per minute, at each process",
    "runs_pending": "pending runs",
    "events_per_run": "events of a run",
    "event_bytes_per_run": "bytes of the events of a run",
    "artifact_bytes": "bytes of all stored artifacts",
    "streams": "open streams, at each process",
    "keys": "valid keys",
    "members": "members",
}
#: Setting → the part of the page that has it, and the messages for on and off.
SETTINGS: Final = {
    "require_attempt": (
        "workers",
        "Workers must prove their attempt with every write.",
        "Workers may write without a proof of their attempt.",
    ),
    "search_values": (
        "search",
        "Searches read the inputs and outputs of runs from now on.",
        "Searches no longer read inputs and outputs.",
    ),
}
FIELD_ERRORS: Final = {
    "user_id": "The user's id is missing, too long, or holds control characters",
    "name": f"The name is longer than {bounds.name_chars_max} characters, or holds control characters",
    "requests_per_minute": f"The number must be from 1 to {bounds.quota_max:,}",
    "runs_per_minute": f"The number must be from 1 to {bounds.quota_max:,}",
    "max_running": f"The number must be from 0 to {bounds.running_max:,}",
    "max_running_per_key": f"The number must be from 0 to {bounds.running_max:,}",
    "rate.limit": f"The number of runs or tokens of a rate must be from 1 to {bounds.rate_tokens_max:,}",
    "rate.period_seconds": f"The seconds of a rate must be from 1 to {bounds.rate_period_s_max:,}",
    "rate.unit": "A rate counts runs or tokens",
    "rate": "A rate needs a number of runs or tokens, and of seconds",
    "target": f"The target is longer than {bounds.target_chars_max} characters, or holds control characters",
    "slug": f"The short name has 1 to {bounds.slug_chars_max} lower-case letters, digits and inner hyphens",
}


async def listing(
    request: PageRequest, project: Project, refused: Error | None = None, about: str = ""
) -> Response:
    """The page. `about` names the form that was sent; it keeps its fields and shows the error `refused`."""
    app, principal, now = *request.caller, now_ms()
    admin = request.may("admin", project)
    members = await commands.members(app, principal, project.id)
    keys = await commands.keys(app, principal, project.id) if admin else []
    return await request.form_page(
        "access/page.html",
        refused,
        quotas=await quotas.get(app, principal, project.id),
        quota_names=QUOTA_NAMES,
        project=project,
        admin=admin,
        members=members,
        keys=keys[::-1],
        last_admin=commands.last_admin(members, keys, now) if admin else None,
        limits=await concurrency.get(app, principal, project.id),
        running_max=bounds.running_max,
        rate_max=bounds.rate_tokens_max,
        rate_period_max=bounds.rate_period_s_max,
        now=now,
        scopes=SCOPES,
        offered={scope: SCOPES[scope] for scope in SCOPES if scope != Scope.SYSTEM or principal.system},
        roles=ROLES,
        lifetimes=LIFETIMES,
        chosen=request.form.all("scopes") if about == "key" else DEFAULT_SCOPES,
        about=about,
    )


@pages.get(_ACCESS)
async def index(request: PageRequest) -> Response:
    return await listing(request, await request.project())


def _refused(about: str) -> Refused:
    """Show a refused form again, unless it is a fault of the server."""

    async def show(request: PageRequest, project: Project, refused: Error) -> Response:
        if STATUS[refused.code] >= 500:
            raise refused
        return await listing(request, project, refused, about)

    return to_admins(show)


@pages.change("/projects/{project}/keys", to=_ACCESS, refused=_refused("key"))
async def create_key(request: PageRequest, project: Project) -> Response:
    form, secret = request.form, new_key()
    body = body_of(
        CreateKey,
        FIELD_ERRORS,
        name=form.one("name"),
        scopes=form.all("scopes"),
        **{name: form.number(name) for name in ("requests_per_minute", "runs_per_minute")},
    )
    if body.scopes is None:
        raise Error("INVALID_REQUEST", "No scope is chosen: choose at least one")
    if form.one("days") not in LIFETIMES:
        raise Error("INVALID_REQUEST", "The expiry is not one of the choices")
    days = int(form.one("days") or 0)
    expires_at = now_ms() + days * DAY_MS if days else None
    scopes = frozenset(body.scopes)
    new = from_body(commands.NewKey, body, secret=secret, scopes=scopes, expires_at=expires_at)
    made = await idempotent(
        request, lambda record: commands.create_key(*request.caller, project.id, new, record)
    )
    if made is None:
        return already_created(request, "The key", at(_ACCESS, request, project))
    return await show_secret(
        request,
        project,
        title=f"The key {made.name or made.prefix} was created",
        label="API key",
        secret=secret,
        note="Store it with your secrets: it is shown only now. The server keeps only a hash of it.",
        to=at(_ACCESS, request, project),
    )


@pages.change("/projects/{project}/keys/{key_id}/revoke", to=_ACCESS)
async def revoke_key(request: PageRequest, project: Project) -> str:
    key = await commands.revoke_key(*request.named(project))
    request.forget_credentials()
    return f"The key {key.name or key.prefix} was revoked. It no longer works."


@pages.change("/projects/{project}/members", to=_ACCESS + "#members", refused=_refused("member"))
async def put_member(request: PageRequest, project: Project) -> str:
    form = request.form
    body = body_of(PutMember, FIELD_ERRORS, user_id=form.one("user_id"), role=form.one("role"))
    member = await commands.put_member(*request.caller, project.id, body.user_id, body.role)
    request.forget_credentials()
    return f"{member.user_id} has the role {member.role} in the project."


@pages.change("/projects/{project}/members/remove", to=_ACCESS + "#members")
async def remove_member(request: PageRequest, project: Project) -> str | Response:
    user_id = request.form.required("user_id", "The user's id")
    try:
        await commands.remove_member(*request.caller, project.id, user_id)
    except Error as refused:
        return await _refused("member")(request, project, refused)
    request.forget_credentials()
    if user_id == request.principal.id and request.principal.kind == "user":
        return request.redirect_with_flash("You no longer have access to the project.", "/ui")
    return f"{user_id} has no access to the project until you add the user again."


@pages.change("/projects/{project}/limits", to=_ACCESS + "#limits", refused=_refused("limit"))
async def put_limit(request: PageRequest, project: Project) -> str:
    form = request.form
    body = body_of(
        Limit,
        FIELD_ERRORS,
        target=form.one("target"),
        max_running=form.number("max_running"),
        max_running_per_key=form.number("max_running_per_key"),
        rate=_rate(form),
    )
    limit = limit_of(body)
    if not limit.limits_anything:
        raise Error("INVALID_REQUEST", FIELD_ERRORS["max_running"])
    await concurrency.put_one(*request.caller, project.id, limit)
    owner = limit.target or "the project"
    bounds_set = [] if limit.max_running is None else [f"{limit.max_running:,} running runs"]
    if limit.max_running_per_key is not None:
        bounds_set.append(f"{limit.max_running_per_key:,} of each key")
    if limit.rate is not None:
        of_key = " of each key" if limit.rate.per_key else ""
        what = "starts" if limit.rate.unit == "runs" else "tokens"
        bounds_set.append(f"{limit.rate.limit:,} {what} in {limit.rate.period_seconds:,} seconds{of_key}")
    return f"The limit of {owner} is {' and '.join(bounds_set)}."


def _rate(form: Fields) -> dict[str, object] | None:
    """The rate that was entered, None for none."""
    values = {name: form.number(f"rate_{name}") for name in ("limit", "period_seconds")}
    if set(values.values()) == {None}:
        return None
    given: dict[str, object] = {name: one for name, one in values.items() if one is not None}
    return given | {"per_key": form.one("rate_per_key") == "on", "unit": form.one("rate_unit") or "runs"}


@pages.change("/projects/{project}/limits/remove", to=_ACCESS + "#limits")
async def remove_limit(request: PageRequest, project: Project) -> str:
    target = request.form.one("target") or None
    await concurrency.drop_one(*request.caller, project.id, target)
    return f"The limit of {target or 'the project'} was removed."


@pages.post("/projects/{project}/settings")
async def change_settings(request: PageRequest) -> Response:
    project = await request.project()
    name = "search_values" if request.form.one("setting") == "search_values" else "require_attempt"
    wanted = request.form.one(name) == "on"
    changes: dict[str, Any] = {name: wanted}
    await commands.change(*request.caller, project.id, **changes)
    if name == "require_attempt":
        request.forget_credentials()
    part, when_on, when_off = SETTINGS[name]
    flash = when_on if wanted else when_off
    return request.redirect_with_flash(flash, at(f"{_ACCESS}#{part}", request, project))


@pages.get("/new-project")
async def new_project(request: PageRequest) -> Response:
    return await _new_project_form(request)


async def _new_project_form(request: PageRequest, refused: Error | None = None) -> Response:
    return await request.form_page(
        "access/new_project.html",
        refused,
        may_create=commands.may_create(request.principal),
        by_key=request.principal.kind == "api_key",
    )


@pages.post("/new-project")
async def create_project(request: PageRequest) -> Response:
    form, secret = request.form, new_key()
    try:
        body = body_of(CreateProject, FIELD_ERRORS, slug=form.one("slug"), name=form.one("name"))
        made = await idempotent(
            request, lambda record: commands.create(*request.caller, body.slug, body.name, secret, record)
        )
    except Error as refused:
        if STATUS[refused.code] >= 500 or refused.code == "FORBIDDEN":
            raise
        return await _new_project_form(request, refused)
    request.forget_credentials()
    if made is None:
        return already_created(request, "The project", "/ui")
    if request.principal.kind != "api_key":
        return request.redirect_with_flash(
            f"The project {made.slug} was created. You are its admin.", to("projects", made.slug, "access")
        )
    return await show_secret(
        request,
        None,
        title=f"The project {made.slug} was created",
        label="Its first key, with the scope admin",
        secret=secret,
        note="Sign in with it to see the project: your current key belongs to another one. It is shown only"
        " now. The server keeps only a hash of it.",
        to="/ui",
    )

"""Workers and push services: who is there, when they were heard of, and what they hold."""

from typing import Any, Final

from starlette.responses import Response

from runstead.commands import push_services, workers as commands
from runstead.http.workers import from_cursor, to_cursor
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit, to

pages = Pages()

rows_shown: Final = 50
held_shown: Final = 5  # of one worker; how many more there are is told
_SILENT: Final = {"online": False, "offline": True}


@pages.get("/projects/{project}/workers")
async def index(visit: Visit) -> Response:
    project = await visit.project()
    show, cursor = visit.query.one("show"), visit.query.one("cursor")
    found = await commands.page(
        visit.app,
        visit.principal,
        project.id,
        from_cursor(cursor) if cursor else None,
        rows_shown + 1,
        silent=_SILENT.get(show),
    )
    rows = found[:rows_shown]
    following = to_cursor(rows[-1]) if len(found) > rows_shown else None
    services = await push_services.visible(visit.app, visit.principal, project.id)
    owners = [worker.id for worker in rows] + [service.id for service in services]
    values: dict[str, Any] = {
        "rows": rows,
        "services": services,
        "held": await commands.held(visit.app, visit.principal, project.id, owners),
        "held_shown": held_shown,
        "show": show if show in _SILENT else "",
        "changeable": {one.id for one in services if push_services.may_change(visit.principal, one)},
        "following": to("projects", project.slug, "workers", show=show, cursor=following)
        if following
        else None,
    }
    if visit.by_htmx:
        return visit.part("system/workers_now.html", project=project, **values)
    here = to("projects", project.slug, "workers", show=show, cursor=cursor)
    return await visit.page("system/workers.html", project=project, address=here, **values)


@pages.post("/projects/{project}/push-services/{service_id}/disable")
async def disable(visit: Visit) -> Response:
    project = await visit.project()
    service = await push_services.disable(visit.app, visit.principal, visit.path["service_id"])
    visit.forget_credentials()
    told = f"{service.service_name} is disabled: it gets no more runs, and its tokens have ended."
    return visit.back(told, to("projects", project.slug, "workers"))

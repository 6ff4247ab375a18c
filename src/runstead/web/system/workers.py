"""Workers and push services: status, last heartbeat, and the runs that they hold."""

from typing import Any, Final

from starlette.responses import Response

from runstead.commands import push_services, workers as commands
from runstead.http.framework.list_page import position_by_name, to_cursor
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest, to

pages = Pages()

rows_shown: Final = 50
held_shown: Final = 5  # of each worker; the number of the others is shown
_SILENT: Final = {"online": False, "offline": True}


@pages.get("/projects/{project}/workers")
async def index(request: PageRequest) -> Response:
    project = await request.project()
    show, cursor = request.query.one("show"), request.query.one("cursor")
    found = await commands.page(
        request.app,
        request.principal,
        project.id,
        position_by_name(cursor or None),
        rows_shown,
        silent=_SILENT.get(show),
    )
    rows = found.rows
    following = to_cursor((rows[-1].implementation_kind, rows[-1].worker_key)) if found.more else None
    services = await push_services.with_short_values(request.app, request.principal, project.id)
    owners = [worker.id for worker in rows] + [service.id for service in services]
    values: dict[str, Any] = {
        "rows": rows,
        "versions": await commands.versions(request.app, request.principal, project.id),
        "services": services,
        "held": await commands.held(request.app, request.principal, project.id, owners),
        "held_shown": held_shown,
        "removable": request.may("workers", project),
        "show": show if show in _SILENT else "",
        "changeable": {
            service.id for service in services if push_services.may_change(request.principal, service)
        },
        "following": to("projects", project.slug, "workers", show=show, cursor=following)
        if following
        else None,
    }
    if request.by_htmx:
        return request.part("system/workers_now.html", project=project, **values)
    here = to("projects", project.slug, "workers", show=show, cursor=cursor)
    return await request.page("system/workers.html", project=project, address=here, **values)


@pages.post("/projects/{project}/workers/{worker_id}/remove")
async def remove(request: PageRequest) -> Response:
    project = await request.project()
    await commands.remove(request.app, request.principal, request.path["worker_id"])
    request.forget_credentials()
    flash = "The worker was removed. Its tokens are revoked, and its runs return to the queue."
    return request.redirect_with_flash(flash, to("projects", project.slug, "workers"))


@pages.post("/projects/{project}/push-services/{service_id}/disable")
async def disable(request: PageRequest) -> Response:
    project = await request.project()
    service = await push_services.disable(request.app, request.principal, request.path["service_id"])
    request.forget_credentials()
    flash = f"{service.service_name} was disabled. It gets no more runs, and its tokens are revoked."
    return request.redirect_with_flash(flash, to("projects", project.slug, "workers"))


@pages.post("/projects/{project}/push-services/{service_id}/enable")
async def enable(request: PageRequest) -> Response:
    project = await request.project()
    service = await push_services.enable(request.app, request.principal, request.path["service_id"])
    request.forget_credentials()
    state = "It gets runs again." if service.active else "It gets runs after its next heartbeat."
    flash = f"{service.service_name} was enabled. {state}"
    return request.redirect_with_flash(flash, to("projects", project.slug, "workers"))


@pages.post("/projects/{project}/push-services/{service_id}/delete")
async def delete(request: PageRequest) -> Response:
    project = await request.project()
    service = await push_services.delete(request.app, request.principal, request.path["service_id"])
    request.forget_credentials()
    flash = f"{service.service_name} was deleted. If it registers again, it is a new service."
    return request.redirect_with_flash(flash, to("projects", project.slug, "workers"))

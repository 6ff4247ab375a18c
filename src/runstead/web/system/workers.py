"""Workers and push services: status, last heartbeat, and the runs that they hold."""

from typing import Any, Final

from starlette.responses import Response

from runstead.commands import push_services, workers as commands
from runstead.core.identity.project import Project
from runstead.http.framework.list_page import position_by_name, to_cursor
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest, to

pages = Pages()

_WORKERS: Final = "/projects/{project}/workers"
_SERVICE: Final = "/projects/{project}/push-services/{service_id}"
rows_shown: Final = 50
held_shown: Final = 5  # of each worker; the number of the others is shown
_SILENT: Final = {"online": False, "offline": True}


@pages.show(_WORKERS)
async def index(request: PageRequest, project: Project) -> Response:
    show, cursor = request.query.one("show"), request.query.one("cursor")
    found = await commands.page(
        *request.caller, project.id, position_by_name(cursor or None), rows_shown, silent=_SILENT.get(show)
    )
    rows = found.rows
    following = to_cursor((rows[-1].implementation_kind, rows[-1].worker_key)) if found.more else None
    services = await push_services.with_short_values(*request.caller, project.id)
    owners = [worker.id for worker in rows] + [service.id for service in services]
    values: dict[str, Any] = {
        "rows": rows,
        "versions": await commands.versions(*request.caller, project.id),
        "services": services,
        "held": await commands.held(*request.caller, project.id, owners),
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


@pages.change(_WORKERS + "/{worker_id}/remove", to=_WORKERS)
async def remove(request: PageRequest, project: Project) -> str:
    await commands.remove(*request.caller, request.path["worker_id"])
    request.forget_credentials()
    return "The worker was removed. Its tokens are revoked, and its runs return to the queue."


@pages.change(_SERVICE + "/disable", to=_WORKERS)
async def disable(request: PageRequest, project: Project) -> str:
    service = await push_services.disable(*request.caller, request.path["service_id"])
    request.forget_credentials()
    return f"{service.service_name} was disabled. It gets no more runs, and its tokens are revoked."


@pages.change(_SERVICE + "/enable", to=_WORKERS)
async def enable(request: PageRequest, project: Project) -> str:
    service = await push_services.enable(*request.caller, request.path["service_id"])
    request.forget_credentials()
    state = "It gets runs again." if service.active else "It gets runs after its next heartbeat."
    return f"{service.service_name} was enabled. {state}"


@pages.change(_SERVICE + "/delete", to=_WORKERS)
async def delete(request: PageRequest, project: Project) -> str:
    service = await push_services.delete(*request.caller, request.path["service_id"])
    request.forget_credentials()
    return f"{service.service_name} was deleted. If it registers again, it is a new service."

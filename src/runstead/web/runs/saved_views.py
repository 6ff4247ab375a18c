"""Saves the filters of the list of runs as a view, and deletes views."""

from urllib.parse import urlsplit

from starlette.responses import Response

from runstead.commands import saved_views as commands
from runstead.core import limits
from runstead.core.errors import Error
from runstead.web.framework.form import fields_of
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest
from runstead.web.runs.filters import filters_of

pages = Pages()


@pages.post("/projects/{project}/list/views")
async def save(request: PageRequest) -> Response:
    """Save the filters in the field `filters`, a query string. Filters that are not valid are left out."""
    project, form = await request.project(), request.form
    address = filters_of(fields_of(form.one("filters").encode())).address(project.slug)
    filters = urlsplit(address).query
    if len(filters) > limits.saved_view_filters_chars_max:
        raise Error("INVALID_REQUEST", "The filters are too long for a view")
    shared = form.one("shared") == "on"
    view = await commands.save(*request.caller, project.id, form.one("name"), filters, shared=shared)
    return request.redirect_with_flash(f"The view {view.name} was saved.", address)


@pages.post("/projects/{project}/list/views/delete")
async def delete(request: PageRequest) -> Response:
    project, form = await request.project(), request.form
    shared = form.one("shared") == "on"
    await commands.delete(*request.caller, project.id, form.one("name"), shared=shared)
    address = filters_of(fields_of(form.one("filters").encode())).address(project.slug)
    return request.redirect_with_flash(f"The view {form.one('name')} was deleted.", address)

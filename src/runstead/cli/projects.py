"""`runstead projects …`."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from runstead.cli.app import AsJson, Database
from runstead.cli.shared.connection import UNSAID, Reach, asks_server, connected
from runstead.cli.shared.output import run, say, show, tell

projects = App(name="projects", help="Projects of a store (also one that a server has open), or of a server.")


@projects.command(name="create")
def create_project(
    slug: Annotated[str, Parameter(help="Lower-case letters, digits and inner hyphens")],
    *,
    name: Annotated[str | None, Parameter(help="What people call it; else the slug")] = None,
    database: Database = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Create a project. Through a server, an admin's key of the project comes with it, shown once."""
    if not asks_server(reach, database):
        from runstead.server import administration  # noqa: PLC0415

        project = run(administration.create_project(database, slug, name))
        show({"id": project.id, "slug": project.slug, "name": project.name}, json=json)
        return
    with connected(reach) as client:
        made = client.create_project(slug, name=name)
    told = {"id": made.id, "slug": made.slug, "name": made.name}
    if made.api_key is not None:
        told["api_key"] = made.api_key
        if not json:
            tell("runstead: its admin key is shown only now")
    show(told, json=json)


@projects.command(name="list")
def list_projects(*, database: Database = None, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """List all projects of the store, or those that the key reaches."""
    from runstead.cli.shared.render import Column, Screen, document, table  # noqa: PLC0415

    if asks_server(reach, database):
        with connected(reach) as client:
            found: list[Any] = list(client.list_projects().data)
    else:
        from runstead.server import administration  # noqa: PLC0415

        found = run(administration.projects(database))
    if json:
        say(document([{"id": one.id, "slug": one.slug, "name": one.name} for one in found]))
        return
    columns: list[Column[Any]] = [
        Column("PROJECT", lambda one: one.id, leaves=1, whole=True),
        Column("SLUG", lambda one: one.slug, whole=True),
        Column("NAME", lambda one: one.name, leaves=2),
    ]
    if found:
        say(table(columns, found, Screen.of()))
    else:
        tell("no projects")

"""`runstead projects …`."""

from typing import Annotated

from cyclopts import App, Parameter

from runstead.cli.answers import run, say, show
from runstead.cli.app import AsJson, Database, app

projects = App(name="projects", help="Projects of a store, also of one that a server has open.")
app.command(projects)


@projects.command(name="create")
def create_project(
    slug: Annotated[str, Parameter(help="Lower-case letters, digits and inner hyphens")],
    *,
    name: Annotated[str | None, Parameter(help="What people call it; else the slug")] = None,
    database: Database = None,
    json: AsJson = False,
) -> None:
    """Create a project."""
    from runstead import administration  # noqa: PLC0415

    project = run(administration.create_project(database, slug, name))
    show({"id": project.id, "slug": project.slug, "name": project.name}, json=json)


@projects.command(name="list")
def list_projects(*, database: Database = None, json: AsJson = False) -> None:
    """List all projects of the store."""
    from runstead import administration  # noqa: PLC0415

    found = run(administration.projects(database))
    if json:
        show([{"id": p.id, "slug": p.slug, "name": p.name} for p in found], json=True)
    else:
        for project in found:
            say(f"{project.id}  {project.slug}  {project.name}")

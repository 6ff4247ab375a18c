"""`runstead projects …`."""

from collections.abc import Container
from typing import Annotated, Any

from cyclopts import App, Parameter

from runstead.cli.shared.command import Client, Output, command, facts, listed
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected, uses_server
from runstead.cli.shared.options import AsJson, Database
from runstead.cli.shared.output import fail, run, write_err
from runstead.cli.shared.render import Column

projects = App(name="projects", help="Projects of a store or of a server.")


@projects.command(name="create")
def create_project(
    slug: Annotated[str, Parameter(help="Lower-case letters, digits and inner hyphens")],
    *,
    name: Annotated[str | None, Parameter(help="Name of the project; else the slug")] = None,
    database: Database = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Create a project. A server also returns an admin key, which is shown only once."""
    if not uses_server(server, database):
        from runstead.server import administration  # noqa: PLC0415

        project = run(administration.create_project(database, slug, name))
        facts({"id": project.id, "slug": project.slug, "name": project.name}).show(json=json)
        return
    with connected(server) as client:
        made = client.projects.create(slug, name=name)
    members = {"id": made.id, "slug": made.slug, "name": made.name}
    if made.api_key is not None:
        members["api_key"] = made.api_key
        if not json:
            write_err("runstead: its admin key is shown only now")
    facts(members).show(json=json)


@command(projects, "set")
def set_project(
    client: Client,
    project: Annotated[str, "Id or slug of the project"],
    *,
    require_attempt: Annotated[
        bool | None,
        Parameter(
            help="Whether workers must prove their attempt with every write", negative="--no-require-attempt"
        ),
    ] = None,
    search_values: Annotated[
        bool | None,
        Parameter(
            help="Whether searches read the inputs and outputs of new runs", negative="--no-search-values"
        ),
    ] = None,
) -> Output:
    """Change a project's settings, and print them."""
    changed = client.projects.update(
        require_attempt=require_attempt, search_values=search_values, project=project
    )
    settings = {"require_attempt": changed.require_attempt, "search_values": changed.search_values}
    return facts({"id": changed.id, "slug": changed.slug, **settings})


@projects.command(name="list")
def list_projects(
    *, database: Database = None, server: ServerOptions = NO_OPTIONS, json: AsJson = False
) -> None:
    """List all projects of the store, or those that the key has access to."""
    if uses_server(server, database):
        with connected(server) as client:
            found: list[Any] = list(client.projects.iter())
    else:
        from runstead.server import administration  # noqa: PLC0415

        found = run(administration.projects(database))
    shown = [{"id": one.id, "slug": one.slug, "name": one.name} for one in found]
    columns: list[Column[dict[str, str]]] = [
        Column("PROJECT", lambda one: one["id"], drop_rank=1, keep_whole=True),
        Column("SLUG", lambda one: one["slug"], keep_whole=True),
        Column("NAME", lambda one: one["name"], drop_rank=2),
    ]
    listed(shown, columns, "projects").show(json=json)


@command(projects, "quota", project=True)
def show_quota(
    client: Client,
    changes: Annotated[
        tuple[str, ...] | None, "Changes: name=number, or name=default for the default of the instance"
    ] = None,
    /,
) -> Output:
    """Show the quotas of a project, or change them. Changes need a key with the scope system."""
    found = client.quotas.get().data
    if changes:
        own = {one.name: one.own for one in found}
        found = client.quotas.put(own | dict(_quota_change(text, own) for text in changes)).data
    columns: list[Column[Any]] = [
        Column("QUOTA", lambda one: one.name),
        Column("LIMIT", lambda one: "none" if one.limit is None else f"{one.limit:,}", number=True),
        Column("USED", lambda one: "" if one.used is None else f"{one.used:,}", number=True),
        Column("SET FOR", lambda one: "instance" if one.own is None else "project"),
    ]
    return listed(found, columns, "quotas")


def _quota_change(text: str, known: Container[str]) -> tuple[str, int | None]:
    name, _, number = text.partition("=")
    if name not in known or not (number == "default" or number.isdecimal()):
        fail(f"{text} is not a change of a quota: write name=number or name=default")
    return name, None if number == "default" else int(number)

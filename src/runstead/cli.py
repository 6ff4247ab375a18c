"""The command line. Answers go to stdout, everything else to stderr; a refusal is one sentence and exit 1."""

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
from cyclopts import App, Parameter

from runstead import __version__

app = App(
    name="runstead",
    help="Runstead: a self-hosted control plane for durable runs.",
    version=__version__,
    help_format="plaintext",
)
projects = App(name="projects", help="Projects of a store, also of one that a server has open.")
keys = App(name="keys", help="API keys of a store, also of one that a server has open.")
app.command(projects)
app.command(keys)

Database = Annotated[
    str | None, Parameter(help="postgresql://… or sqlite:///<path>; else RUNSTEAD_DATABASE_URL")
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON")]


def main() -> None:
    app()


@app.command
def serve(
    *,
    host: Annotated[
        str | None, Parameter(help="Address to listen on; else RUNSTEAD_HOST, else 127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, Parameter(help="Port, 0 for any free one; else RUNSTEAD_PORT, else 8720")
    ] = None,
    database: Database = None,
) -> None:
    """Start the server and keep it up until SIGTERM or Ctrl-C."""
    import uvloop  # noqa: PLC0415 - each command loads what it needs: `runstead --help` stays quick

    from runstead.main import Main  # noqa: PLC0415
    from runstead.settings import load  # noqa: PLC0415
    from runstead.telemetry import log_to_stderr  # noqa: PLC0415

    log_to_stderr()
    _allow_many_connections()
    try:
        settings = load(host=host, port=port, database=database)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Main(settings).run())
    except (ValueError, RuntimeError, OSError) as trouble:
        _refuse(str(trouble))
    except Exception as trouble:
        _refuse_database(trouble)
        raise


def _allow_many_connections() -> None:
    """Every open stream is an open file, and a shell allows 1,024 of them where the machine allows far more."""
    import resource  # noqa: PLC0415

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS calls its limit infinite, and then refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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

    project = _run(administration.create_project(database, slug, name))
    _print({"id": project.id, "slug": project.slug, "name": project.name}, json=json)


@projects.command(name="list")
def list_projects(*, database: Database = None, json: AsJson = False) -> None:
    """List all projects of the store."""
    from runstead import administration  # noqa: PLC0415

    found = _run(administration.projects(database))
    if json:
        _print([{"id": p.id, "slug": p.slug, "name": p.name} for p in found], json=True)
    else:
        for project in found:
            print(f"{project.id}  {project.slug}  {project.name}")


@keys.command(name="create")
def create_key(
    *,
    project: Annotated[str, Parameter(help="The project's slug or id")],
    scope: Annotated[
        list[str] | None,
        Parameter(
            help="runs:read, runs:write, workers or admin; may repeat. Else all but admin", negative=""
        ),
    ] = None,
    name: Annotated[str | None, Parameter(help="What the key is for")] = None,
    database: Database = None,
    json: AsJson = False,
) -> None:
    """Create an API key. It is shown once."""
    from runstead import administration  # noqa: PLC0415

    secret, key = _run(administration.create_key(database, project, scope or [], name))
    if json:
        made = {
            "key": secret,
            "prefix": key.prefix,
            "id": key.id,
            "project_id": key.project_id,
            "scopes": sorted(key.scopes),
            "name": key.name,
        }
        _print(made, json=True)
    else:
        print(secret)


@keys.command(name="signing")
def signing_keys(
    *,
    out: Annotated[Path | None, Parameter(help="Add a new pair of private keys to this file instead")] = None,
    rotate: Annotated[bool, Parameter(negative="", help="Add a new pair to the store first")] = False,
    database: Database = None,
    json: AsJson = False,
) -> None:
    """Print the public keys with which push services check the server's calls and tokens."""
    if out is not None:
        from runstead.signing import write_file  # noqa: PLC0415

        try:
            write_file(out)
        except (ValueError, OSError) as trouble:
            _refuse(str(trouble))
        if json:
            _print({"file": str(out)}, json=True)
        else:
            print(
                f"added a new pair of private keys to {out}\nset RUNSTEAD_SIGNING_KEY_FILE={out} to sign with it"
            )
        return
    from runstead import administration  # noqa: PLC0415

    found = _run(administration.signing_keys(database, rotate=rotate))
    if json:
        _print(found, json=True)
    else:
        print(f"# CHANNEL_DISPATCH_SIGNING_PUBLIC_KEY: signs calls\n{found['control_plane']}", end="")
        print(f"# OAUTH_PUBLIC_KEY: signs tokens\n{found['tokens']}", end="")


@app.command
def bench(
    *,
    url: str = "http://127.0.0.1:8720",
    key: Annotated[str, Parameter(env_var="RUNSTEAD_KEY", help="API key; else RUNSTEAD_KEY")],
    project: str = "default",
    concurrency: Annotated[int, Parameter(help="Callers at a time")] = 16,
    seconds: Annotated[float, Parameter(help="How long to measure")] = 10.0,
    processes: Annotated[int | None, Parameter(help="Load processes; else one up to 32 callers")] = None,
    json: AsJson = False,
) -> None:
    """Measure a deployment: whole lifecycles (create, claim, append 10 events, complete), and two floors."""
    from runstead.bench import BenchError, BenchOptions, render_bench, run_bench  # noqa: PLC0415
    from runstead.main import measure_updates  # noqa: PLC0415

    options = BenchOptions(
        url=url, key=key, project=project, concurrency=concurrency, seconds=seconds, processes=processes
    )
    try:
        report = run_bench(options, measure_updates)
    except BenchError as trouble:
        _refuse(str(trouble))
    print(render_bench(report, json=json), end="")


@app.command
def race(
    *,
    url: str = "http://127.0.0.1:8720",
    key: Annotated[str, Parameter(env_var="RUNSTEAD_KEY", help="API key; else RUNSTEAD_KEY")],
    project: str = "default",
    runs: int = 50,
    callers: Annotated[int, Parameter(help="Concurrent calls for each run")] = 32,
    json: AsJson = False,
) -> None:
    """Prove that a deployment completes each run exactly once; exit 1 and a report where it does not."""
    from runstead.bench import BenchError, RaceOptions, render_race, run_race  # noqa: PLC0415

    try:
        report = run_race(RaceOptions(url=url, key=key, project=project, runs=runs, callers=callers))
    except BenchError as trouble:
        _refuse(str(trouble))
    print(render_race(report, json=json), end="")
    if not report.exactly_once:
        sys.exit(1)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    from runstead.errors import Error  # noqa: PLC0415

    try:
        return asyncio.run(work)
    except Error as refusal:
        _refuse(refusal.message)
    except (ValueError, RuntimeError, OSError) as trouble:
        _refuse(str(trouble))
    except Exception as trouble:
        _refuse_database(trouble)
        raise


def _refuse_database(trouble: Exception) -> None:
    import sqlite3  # noqa: PLC0415

    if isinstance(trouble, sqlite3.Error):
        _refuse(f"cannot use the database: {trouble}")


def _refuse(sentence: str) -> NoReturn:
    print(f"runstead: {sentence}", file=sys.stderr)
    sys.exit(1)


def _print(value: Any, *, json: bool) -> None:
    if json:
        print(msgspec.json.encode(value).decode())
    else:
        for name, member in value.items():
            print(f"{name}: {member}")


if __name__ == "__main__":
    main()

"""`runstead keys …`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from runstead.cli.answers import refuse, run, say, show
from runstead.cli.app import AsJson, Database, app

keys = App(name="keys", help="API keys of a store, also of one that a server has open.")
app.command(keys)


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

    secret, key = run(administration.create_key(database, project, scope or [], name))
    if json:
        made = {
            "key": secret,
            "prefix": key.prefix,
            "id": key.id,
            "project_id": key.project_id,
            "scopes": sorted(key.scopes),
            "name": key.name,
        }
        show(made, json=True)
    else:
        say(secret)


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
            refuse(str(trouble))
        if json:
            show({"file": str(out)}, json=True)
        else:
            say(
                f"added a new pair of private keys to {out}\nset RUNSTEAD_SIGNING_KEY_FILE={out} to sign with it"
            )
        return
    from runstead import administration  # noqa: PLC0415

    found = run(administration.signing_keys(database, rotate=rotate))
    if json:
        show(found, json=True)
    else:
        say(f"# CHANNEL_DISPATCH_SIGNING_PUBLIC_KEY: signs calls\n{found['control_plane']}", end="")
        say(f"# OAUTH_PUBLIC_KEY: signs tokens\n{found['tokens']}", end="")

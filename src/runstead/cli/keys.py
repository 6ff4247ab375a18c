"""`runstead keys …`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runstead.cli.app import AsJson, Database
from runstead.cli.shared.connection import UNSAID, Reach, asks_server, connected, resolve
from runstead.cli.shared.output import refuse, run, say, show

if TYPE_CHECKING:
    from runstead.core.identity.project import ApiKey as KeptKey

keys = App(name="keys", help="API keys of a store (also one that a server has open), or of a server.")
USAGE = 2


@keys.command(name="list")
def list_keys(*, database: Database = None, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """List a project's API keys, revoked ones included. The keys themselves are kept nowhere."""
    from runstead.cli.shared.render import Column, Screen, age, when  # noqa: PLC0415
    from runstead.cli.shared.run_tables import print_list  # noqa: PLC0415

    if asks_server(reach, database):
        with connected(reach, project=True) as client:
            found = [_facts(one) for one in client.list_api_keys().data]
    else:
        from runstead.server import administration  # noqa: PLC0415

        found = [_kept(one) for one in run(administration.keys(database, _project(reach)))]
    screen = Screen.of()
    columns: list[Column[dict[str, Any]]] = [
        Column("KEY", lambda one: one["id"] or "", whole=True),
        Column("STATUS", _status, status=True),
        Column("PREFIX", lambda one: one["prefix"], leaves=1, whole=True),
        Column("SCOPES", lambda one: ",".join(one["scopes"]), leaves=3),
        Column("LAST USED", lambda one: age(one["last_used_at"], screen), leaves=2, whole=True),
        Column("EXPIRES", lambda one: when(one["expires_at"]), leaves=4, whole=True),
        Column("NAME", lambda one: one["name"] or "", leaves=5),
    ]
    print_list(found, columns, "keys", json=json)


def _status(one: dict[str, Any]) -> str:
    if one["revoked_at"] is not None:
        return "revoked"
    return "expired" if one["expires_at"] is not None and one["expires_at"] <= datetime.now(UTC) else "active"


def _facts(one: Any) -> dict[str, Any]:
    """A key as a server shows it, without the member that is the key itself."""
    names = (
        "id",
        "prefix",
        "name",
        "scopes",
        "project_id",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    return {name: getattr(one, name) for name in names}


def _kept(one: "KeptKey") -> dict[str, Any]:
    """The same of a key as the store has it."""
    facts = _facts(one) | {"scopes": sorted(one.scopes)}
    for name in ("created_at", "last_used_at", "expires_at", "revoked_at"):
        if facts[name] is not None:
            facts[name] = datetime.fromtimestamp(facts[name] / 1000, UTC)
    return facts


def _project(reach: Reach) -> str:
    """The store's side asks nobody who would know the only project."""
    project = resolve(reach).project.value
    if project is None:
        refuse("name a project with --project or RUNSTEAD_PROJECT", USAGE)
    return project


@keys.command(name="create")
def create_key(
    *,
    scope: Annotated[
        list[str] | None,
        Parameter(
            help="runs:read, runs:write, workers or admin; may repeat. Else all but admin", negative=""
        ),
    ] = None,
    name: Annotated[str | None, Parameter(help="What the key is for")] = None,
    expires: Annotated[
        str | None, Parameter(help="When it ends: a time, or a span from now such as 90d")
    ] = None,
    database: Database = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Create an API key. It is shown once."""
    from runstead.cli.shared.parsing import moment  # noqa: PLC0415

    until = None if expires is None else moment("--expires", expires, ahead=True)
    if asks_server(reach, database):
        scopes: Any = scope or None
        with connected(reach, project=True) as client:
            made = client.create_api_key(name=name, scopes=scopes, expires_at=until)
        secret, facts = made.key, _facts(made)
    else:
        from runstead.server import administration  # noqa: PLC0415

        ends = None if until is None else round(until.timestamp() * 1000)
        secret, kept = run(administration.create_key(database, _project(reach), scope or [], name, ends))
        facts = _kept(kept)
    if json:
        shown = ("prefix", "id", "project_id", "scopes", "name", "expires_at")
        show({"key": secret} | {member: facts[member] for member in shown}, json=True)
    else:
        say(secret or "")


@keys.command(name="revoke")
def revoke_key(
    key_id: Annotated[str, Parameter(help="The key's id, as `keys list` shows it")],
    /,
    *,
    database: Database = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Revoke an API key: it is good for nothing from now on."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    if asks_server(reach, database):
        with connected(reach, project=True) as client:
            facts = _facts(client.revoke_api_key(key_id))
    else:
        from runstead.server import administration  # noqa: PLC0415

        facts = _kept(run(administration.revoke_key(database, _project(reach), key_id)))
    say(document(facts) if json else f"{safe(facts['id'] or key_id)}  revoked")


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
        from runstead.security.signing import write_file  # noqa: PLC0415

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
    from runstead.server import administration  # noqa: PLC0415

    found = run(administration.signing_keys(database, rotate=rotate))
    if json:
        show(found, json=True)
    else:
        say(f"# CHANNEL_DISPATCH_SIGNING_PUBLIC_KEY: signs calls\n{found['control_plane']}", end="")
        say(f"# OAUTH_PUBLIC_KEY: signs tokens\n{found['tokens']}", end="")

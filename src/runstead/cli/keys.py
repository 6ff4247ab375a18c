"""`runstead keys …`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runstead.cli.encryption import encryption
from runstead.cli.shared.command import Output, listed, one_line
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected, resolve, uses_server
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import AsJson, Database
from runstead.cli.shared.output import fail, run, write_err, write_out
from runstead.cli.shared.parsing import parse_time
from runstead.cli.shared.render import Column, age_column, time_column
from runstead.core.identity.project import new_key

if TYPE_CHECKING:
    from runstead.core.identity.project import ApiKey as StoredKey

keys = App(name="keys", help="API keys of a store or of a server, signing keys and encryption keys.")
keys.command(encryption)


@keys.command(name="list")
def list_keys(*, database: Database = None, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """List a project's API keys, including revoked ones. The keys themselves are not stored."""
    if uses_server(server, database):
        with connected(server, project=True) as client:
            found = [_members(one) for one in client.api_keys.iter()]
    else:
        from runstead.server import administration  # noqa: PLC0415

        found = [_stored_members(one) for one in run(administration.keys(database, _project(server)))]
    columns: list[Column[dict[str, Any]]] = [
        Column("KEY", lambda one: one["id"] or "", keep_whole=True),
        Column("STATUS", _status, status=True),
        Column("PREFIX", lambda one: one["prefix"], drop_rank=1, keep_whole=True),
        Column("SCOPES", lambda one: ",".join(one["scopes"]), drop_rank=3),
        age_column("LAST USED", lambda one: one["last_used_at"], drop_rank=2),
        time_column("EXPIRES", lambda one: one["expires_at"], drop_rank=4),
        Column("QUOTAS", _quotas, drop_rank=6, keep_whole=True),
        Column("NAME", lambda one: one["name"] or "", drop_rank=5),
    ]
    listed(found, columns, "keys").show(json=json)


def _status(one: dict[str, Any]) -> str:
    if one["revoked_at"] is not None:
        return "revoked"
    return "expired" if one["expires_at"] is not None and one["expires_at"] <= datetime.now(UTC) else "active"


def _quotas(one: dict[str, Any]) -> str:
    quotas = (("requests", one["requests_per_minute"]), ("runs", one["runs_per_minute"]))
    return ", ".join(f"{number:,} {what}/min" for what, number in quotas if number is not None)


def _members(one: Any) -> dict[str, Any]:
    """The members of a key, without the key itself."""
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
        "requests_per_minute",
        "runs_per_minute",
    )
    return {name: getattr(one, name) for name in names}


def _stored_members(one: "StoredKey") -> dict[str, Any]:
    """The same members of a stored key."""
    facts = _members(one) | {"scopes": sorted(one.scopes)}
    for name in ("created_at", "last_used_at", "expires_at", "revoked_at"):
        if facts[name] is not None:
            facts[name] = datetime.fromtimestamp(facts[name] / 1000, UTC)
    return facts


def _project(server: ServerOptions) -> str:
    """The named project, which is required for a store. Only a server can find the key's only project."""
    project = resolve(server).project.value
    if project is None:
        fail("name a project with --project or RUNSTEAD_PROJECT", USAGE)
    return project


@keys.command(name="create")
def create_key(
    *,
    scope: Annotated[
        list[str] | None,
        Parameter(
            help="runs:read, runs:write, workers, audit:read, admin or system; may repeat. Else the first three"
        ),
    ] = None,
    name: Annotated[str | None, Parameter(help="Name of the key")] = None,
    expires: Annotated[
        str | None, Parameter(help="Expiry: a time, or a duration from now such as 90d")
    ] = None,
    requests_per_minute: Annotated[
        int | None, Parameter(help="Requests with the key, at each process")
    ] = None,
    runs_per_minute: Annotated[
        int | None, Parameter(help="Runs created with the key, at each process")
    ] = None,
    database: Database = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Create an API key. It is shown only once."""
    until = parse_time("--expires", expires, ahead=True)
    if uses_server(server, database):
        scopes: Any = scope or None
        with connected(server, project=True) as client:
            made = client.api_keys.create(
                name=name,
                scopes=scopes,
                expires_at=until,
                requests_per_minute=requests_per_minute,
                runs_per_minute=runs_per_minute,
            )
        secret, facts = made.key, _members(made)
    else:
        from runstead.server import administration  # noqa: PLC0415

        ends = None if until is None else round(until.timestamp() * 1000)
        rates = {"requests_per_minute": requests_per_minute, "runs_per_minute": runs_per_minute}
        secret, kept = run(
            administration.create_key(database, _project(server), scope or [], name, ends, rates)
        )
        facts = _stored_members(kept)
    shown = ("prefix", "id", "project_id", "scopes", "name", "expires_at")
    one_line({"key": secret} | {member: facts[member] for member in shown}, secret or "").show(json=json)


@keys.command(name="quota")
def change_key(
    key_id: Annotated[str, Parameter(help="The key's id, as `keys list` shows it")],
    changes: Annotated[
        tuple[str, ...], Parameter(help="requests_per_minute=NUMBER, runs_per_minute=NUMBER; none ends one")
    ],
    /,
    *,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Change the quotas of an API key. It needs the scope admin, and another key."""
    quotas: dict[str, int | None] = {}
    for text in changes:
        name, _, number = text.partition("=")
        if name not in ("requests_per_minute", "runs_per_minute") or not (
            number == "none" or number.isdecimal()
        ):
            fail(
                f"{text} is not a quota of a key: write requests_per_minute=NUMBER or runs_per_minute=none",
                USAGE,
            )
        quotas[name] = None if number == "none" else int(number)
    with connected(server, project=True) as client:
        facts = _members(client.api_keys.update(key_id, quotas))
    one_line(facts, f"{facts['id'] or key_id}  {_quotas(facts) or 'no quotas'}").show(json=json)


@keys.command(name="generate")
def generate_key() -> None:
    """Print a new random key for RUNSTEAD_BOOTSTRAP_KEY. It is stored nowhere."""
    write_out(new_key())


@keys.command(name="revoke")
def revoke_key(
    key_id: Annotated[str, Parameter(help="The key's id, as `keys list` shows it")],
    /,
    *,
    database: Database = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Revoke an API key. It stops working at once."""
    if uses_server(server, database):
        with connected(server, project=True) as client:
            facts = _members(client.api_keys.revoke(key_id))
    else:
        from runstead.server import administration  # noqa: PLC0415

        facts = _stored_members(run(administration.revoke_key(database, _project(server), key_id)))
    one_line(facts, f"{facts['id'] or key_id}  revoked").show(json=json)


@keys.command(name="signing")
def signing_keys(
    *,
    out: Annotated[Path | None, Parameter(help="Add a new pair of private keys to this file instead")] = None,
    rotate: Annotated[bool, Parameter(help="Add a new pair to the store first")] = False,
    database: Database = None,
    json: AsJson = False,
) -> None:
    """Print the public keys with which push services verify the server's calls and tokens."""
    if out is not None:
        from runstead.security.signing import write_file  # noqa: PLC0415

        try:
            write_file(out)
        except (ValueError, OSError) as error:
            fail(str(error))
        text = (
            f"added a new pair of private keys to {out}\nset RUNSTEAD_SIGNING_KEY_FILE={out} to sign with it"
        )
        Output({"file": str(out)}, text).show(json=json)
        return
    from runstead.server import administration  # noqa: PLC0415

    found = run(administration.signing_keys(database, rotate=rotate, note=write_err))
    text = f"# CHANNEL_DISPATCH_SIGNING_PUBLIC_KEY: signs calls\n{found['control_plane']}"
    text += f"# OAUTH_PUBLIC_KEY: signs tokens\n{found['tokens'].rstrip()}"
    Output(found, text).show(json=json)

"""`runstead keys encryption …`, and how commands show which secrets are encrypted."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runstead.cli.shared.command import Output, one_line
from runstead.cli.shared.options import AsJson, Database
from runstead.cli.shared.output import fail, run, write_err

if TYPE_CHECKING:
    from runstead.core.secret import SecretCount

encryption = App(name="encryption", help="The keys that encrypt secrets in the store.")


@encryption.command(name="create")
def create_encryption_key(
    *,
    out: Annotated[
        Path | None, Parameter(help="Put the key first in this file instead of printing it")
    ] = None,
    json: AsJson = False,
) -> None:
    """Create an encryption key for RUNSTEAD_ENCRYPTION_KEY."""
    from runstead.security.stored_secrets import add_key, key_id, new_key  # noqa: PLC0415

    if out is None:
        key = new_key()
        one_line({"key": key, "key_id": key_id(key.encode())}, key).show(json=json)
        return
    try:
        added = add_key(out)
    except (ValueError, OSError) as error:
        fail(str(error))
    line = f"put the new key {added} first in {out}"
    one_line({"file": str(out), "key_id": added}, line).show(json=json)


@encryption.command(name="rotate")
def rotate_encryption(*, database: Database = None, json: AsJson = False) -> None:
    """Encrypt every secret of the store with the first encryption key, also while servers run."""
    from runstead.server import administration  # noqa: PLC0415

    changed, secrets = run(administration.rotate_encryption(database, write_err))
    value = {"encrypted": changed, "secrets": members_of(secrets)}
    Output(value, f"encrypted {changed:,} secret(s)\nsecrets: {described(secrets)}").show(json=json)


def members_of(secrets: Sequence["SecretCount"]) -> list[dict[str, Any]]:
    return [each._asdict() for each in secrets]


def described(secrets: Sequence["SecretCount"]) -> str:
    """Return one line: how many secrets are encrypted with which key, and how many are in plain text."""
    parts: dict[str, int] = {}
    for each in secrets:
        if each.key_id is None:
            state = "in plain text"
        elif not each.readable:
            state = f"encrypted with the key {each.key_id}, which is missing"
        else:
            state = f"encrypted with the {'' if each.current else 'earlier '}key {each.key_id}"
        parts[state] = parts.get(state, 0) + each.number
    return ", ".join(f"{number:,} {state}" for state, number in parts.items()) or "none"

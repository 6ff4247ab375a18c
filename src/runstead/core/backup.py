"""The manifest of a backup: what belongs to it, with digests. It is written last, so a backup with it is complete."""

import hashlib
import re
from typing import Any, Final

import msgspec

from runstead.core.clock import iso

FORMAT: Final = 1
#: Names of the files of a backup, and of the folder of contents that all backups of a place share.
DATABASE, MANIFEST, ARTIFACTS = "runstead.db", "manifest.json", "artifacts"
#: The name of a backup is its time in UTC, so names sort by time.
NAME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z")


class BackupError(RuntimeError):
    """A backup is impossible, incomplete or damaged. The message is for the operator."""


class Missing(msgspec.Struct, frozen=True):
    """An artifact that the database names and the backup lacks. `deleted`: the server deleted it during the backup;
    otherwise the artifact store has lost or damaged it.
    """

    run_id: str
    sha256: str
    deleted: bool


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`created_at` in ms; `engine`: that of the store, whatever the file; `migration`: the newest one of the file.
    `artifacts`: sha256 → bytes, None if the backup was made without artifacts.
    """

    created_at: int
    version: str
    engine: str
    migration: str
    database_bytes: int
    database_sha256: str
    runs: int
    artifacts: dict[str, int] | None
    missing: tuple[Missing, ...] = ()


class _Envelope(msgspec.Struct, frozen=True):
    format: int
    sha256: str  # of the bytes of `manifest`
    manifest: msgspec.Raw


def name_of(created_at: int) -> str:
    """1774008000000 → `2026-03-20T12-00-00.000Z`. Windows has no file names with colons."""
    return iso(created_at).replace(":", "-")


def content_name(sha256: str) -> str:
    """Return the name of an artifact's content in a place."""
    return f"{ARTIFACTS}/{sha256[:2]}/{sha256}"


def encode(manifest: Manifest) -> bytes:
    encoded = msgspec.json.encode(manifest)
    return msgspec.json.encode(_Envelope(FORMAT, hashlib.sha256(encoded).hexdigest(), msgspec.Raw(encoded)))


def decode(name: str, encoded: bytes) -> Manifest:
    """Decode the manifest of the backup `name`. BackupError if it is damaged, or of a newer program."""
    damaged = BackupError(f"the file {MANIFEST} of the backup {name} is damaged: its digest differs")
    try:
        head: dict[str, Any] = msgspec.json.decode(encoded)
        if isinstance(head, dict) and head.get("format") != FORMAT:
            raise BackupError(
                f"the backup {name} has the format {head.get('format')!r}, and this program reads {FORMAT}:"
                " use the version of Runstead that made it"
            )
        envelope = msgspec.json.decode(encoded, type=_Envelope)
        if hashlib.sha256(bytes(envelope.manifest)).hexdigest() != envelope.sha256:
            raise damaged
        return msgspec.json.decode(bytes(envelope.manifest), type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise damaged from None

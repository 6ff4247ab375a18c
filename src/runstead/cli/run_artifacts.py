"""`runstead runs artifacts …`: lists and downloads the artifacts of a run."""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from runstead.cli.shared.command import Client, Output, command, listed
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import RunId
from runstead.cli.shared.output import fail, write_out
from runstead.cli.shared.render import Column, format_size, safe

_CHUNK_BYTES: Final = 8 * 1024 * 1024

artifacts = App(name="artifacts", help="List and download artifacts.")


@command(artifacts, "list", default=True)
def list_artifacts(client: Client, run_id: RunId, /) -> Output:
    """List the artifacts of a run."""
    found = client.runs.get(run_id).artifacts

    def size(one: dict[str, Any]) -> str:
        return format_size(one["size"]) if isinstance(one.get("size"), int) else ""

    columns: list[Column[dict[str, Any]]] = [
        Column("ARTIFACT", lambda one: str(one.get("name")), keep_whole=True),
        Column("SIZE", size, number=True),
        Column("TYPE", lambda one: str(one.get("media_type") or ""), drop_rank=1),
        Column("SHA256", lambda one: str(one.get("sha256") or ""), drop_rank=3),
        Column("URI", lambda one: str(one.get("uri") or ""), drop_rank=2),
    ]
    return listed(found, columns, "artifacts")


@artifacts.command(name="get")
def get_artifact(
    run_id: RunId,
    name: Annotated[str, Parameter(help="The artifact's name")],
    /,
    *,
    out: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="File to write; - for stdout; else the artifact's name"),
    ] = None,
    force: Annotated[bool, Parameter(help="Replace an existing file")] = False,
    server: ServerOptions = NO_OPTIONS,
) -> None:
    """Download an artifact to a file, and compare its SHA-256."""
    path = Path(out if out is not None else name)
    if out is None and path.name != name:
        fail(f"{name!r} is no file name: name a file with --out")
    if out != "-" and path.exists() and not force:
        fail(f"{path} exists: name another file with --out, or use --force")
    with connected(server) as client:
        found = [one for one in client.runs.get(run_id).artifacts if one.get("name") == name]
        if not found:
            fail(
                f"the run has no artifact named {name!r}: `runstead runs artifacts list {run_id}` lists them"
            )
        uri = str(found[0].get("uri") or "")
        if "://" in uri or not isinstance(found[0].get("size"), int):
            fail(f"the server does not store {name!r}" + (f": it is at {uri}" if uri else ""))
        chunks = _chunks(client, run_id, name, found[0]["size"])
        try:
            if out == "-":
                _copy(chunks, sys.stdout.buffer, found[0].get("sha256"))
                return
            part = path.with_name(f"{path.name}.part")
            try:
                with part.open("wb") as file:
                    _copy(chunks, file, found[0].get("sha256"))
                part.replace(path)
            finally:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
        except OSError as error:
            fail(f"cannot write {path}: {error.strerror}")
    write_out(f"{safe(str(path))}  {format_size(found[0]['size'])}")


def _chunks(client: Client, run_id: str, name: str, size: int) -> Iterator[bytes]:
    for start in range(0, size, _CHUNK_BYTES):
        yield client.artifacts.read(run_id, name, start=start, end=min(start + _CHUNK_BYTES, size))


def _copy(chunks: Iterator[bytes], file: Any, sha256: str | None) -> None:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        file.write(chunk)
    file.flush()
    if sha256 is not None and digest.hexdigest() != sha256:
        fail("the bytes differ from the artifact's SHA-256: it was replaced meanwhile; repeat the command")

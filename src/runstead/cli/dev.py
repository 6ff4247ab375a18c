"""`runstead dev`."""

from typing import Annotated

from cyclopts import Parameter

from runstead.cli.run_worker import Concurrency, Grace
from runstead.cli.shared.output import fail


def dev(
    reference: Annotated[str, Parameter(name="module:app", help="The app; see `runstead worker`")],
    /,
    *,
    host: Annotated[str, Parameter(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port, 0 for any free one")] = 8720,
    database: Annotated[
        str | None, Parameter(help="postgresql://… or sqlite:///<path>; else a file in ./.runstead")
    ] = None,
    concurrency: Concurrency = 4,
    grace_seconds: Grace = 5.0,
) -> None:
    """Run a server and a worker that restarts when a source file changes. Ctrl-C ends both."""
    from runstead.cli.dev_loop import DevelopError, develop  # noqa: PLC0415 - each command loads what it needs
    from runstead.cli.shared.app_loader import LoadError, split_reference  # noqa: PLC0415

    try:
        split_reference(reference)
        develop(reference, host, port, database, concurrency, grace_seconds)
    except (LoadError, DevelopError, OSError) as error:
        fail(str(error))

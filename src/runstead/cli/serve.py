"""`runstead serve`."""

import asyncio
import gc
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from runstead.cli.app import Database
from runstead.cli.shared.output import refuse, refuse_database

if TYPE_CHECKING:
    from runstead.server.settings import Settings


def serve(
    *,
    host: Annotated[
        str | None, Parameter(help="Address to listen on; else RUNSTEAD_HOST, else 127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, Parameter(help="Port, 0 for any free one; else RUNSTEAD_PORT, else 8720")
    ] = None,
    database: Database = None,
    processes: Annotated[
        int | None,
        Parameter(help="How many processes serve, with PostgreSQL; else RUNSTEAD_PROCESSES, else 1"),
    ] = None,
) -> None:
    """Start the server and keep it up until SIGTERM or Ctrl-C."""
    gc.disable()  # until it serves: nothing that is loaded now is garbage, and looking takes a fifth of the start
    import uvloop  # noqa: PLC0415 - each command loads what it needs: `runstead --help` stays quick

    from runstead.server.settings import load  # noqa: PLC0415
    from runstead.server.telemetry import log_to_stderr  # noqa: PLC0415

    log_to_stderr()
    _allow_many_connections()
    try:
        settings = load(host=host, port=port, database=database, processes=processes)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            status = runner.run(_serve(settings))
    except (ValueError, RuntimeError, OSError) as trouble:
        refuse(str(trouble))
    except Exception as trouble:
        refuse_database(trouble)
        raise
    sys.exit(status)


async def _serve(settings: "Settings") -> int:
    """Until the server ended; the exit status."""
    if settings.processes > 1:
        from runstead.server.supervisor import Supervisor  # noqa: PLC0415

        return await Supervisor(settings).run()
    from runstead.server.main import Main  # noqa: PLC0415

    await Main(settings).run()
    return 0


def _allow_many_connections() -> None:
    """Every open stream is an open file, and a shell allows 1,024 of them where the machine allows far more."""
    import resource  # noqa: PLC0415

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS calls its limit infinite, and then refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

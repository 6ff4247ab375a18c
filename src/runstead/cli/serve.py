"""`runstead serve`."""

import asyncio
import gc
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from runstead.cli.shared.options import Database
from runstead.cli.shared.output import fail, fail_if_database_error, write_err

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
        Parameter(help="Number of server processes, with PostgreSQL; else RUNSTEAD_PROCESSES, else 1"),
    ] = None,
    tls_cert: Annotated[
        str | None, Parameter(help="PEM file of the TLS certificate and its chain; else RUNSTEAD_TLS_CERT")
    ] = None,
    tls_key: Annotated[str | None, Parameter(help="PEM file of its key; else RUNSTEAD_TLS_KEY")] = None,
) -> None:
    """Run the server until SIGTERM or Ctrl-C."""
    gc.disable()  # until the server starts: collections would take a fifth of the start time
    from runstead.cli.shared.event_loop import loop_factory, missing_here  # noqa: PLC0415 - so that --help is fast
    from runstead.server.settings import load  # noqa: PLC0415
    from runstead.server.telemetry import log_to_stderr  # noqa: PLC0415

    log_to_stderr()
    if lacks := missing_here():
        write_err(lacks)
    _allow_many_connections()
    try:
        settings = load(
            host=host,
            port=port,
            database=database,
            processes=processes,
            tls_cert=tls_cert,
            tls_key=tls_key,
        )
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            status = runner.run(_serve(settings))
    except (ValueError, RuntimeError, OSError) as error:
        fail(str(error))
    except Exception as error:
        fail_if_database_error(error)
        raise
    sys.exit(status)


async def _serve(settings: "Settings") -> int:
    """Run until the server has ended. Return the exit code."""
    if settings.processes > 1:
        from runstead.server.supervisor import Supervisor  # noqa: PLC0415

        return await Supervisor(settings).run()
    from runstead.server.main import Main  # noqa: PLC0415

    await Main(settings).run()
    return 0


def _allow_many_connections() -> None:
    """Raise the limit of open files to the hard limit. Each stream is one; shells often allow only 1,024."""
    try:
        import resource  # noqa: PLC0415
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS reports an infinite limit and then rejects it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

"""`runstead serve`."""

import asyncio
import gc
from contextlib import suppress
from typing import Annotated

from cyclopts import Parameter

from runstead.cli.answers import refuse, refuse_database
from runstead.cli.app import Database


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
    gc.disable()  # until it serves: nothing that is loaded now is garbage, and looking takes a fifth of the start
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
        refuse(str(trouble))
    except Exception as trouble:
        refuse_database(trouble)
        raise


def _allow_many_connections() -> None:
    """Every open stream is an open file, and a shell allows 1,024 of them where the machine allows far more."""
    import resource  # noqa: PLC0415

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS calls its limit infinite, and then refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

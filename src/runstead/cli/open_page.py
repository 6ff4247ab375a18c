"""`runstead open`."""

from typing import Annotated

from cyclopts import Parameter

from runstead.cli.shared.connection import DEFAULT_URL, NO_OPTIONS, ServerOptions, resolve, shown_url
from runstead.cli.shared.output import write_out


def open_page(
    run_id: Annotated[str | None, Parameter(help="The run; else the dashboard's first page")] = None,
    /,
    *,
    only_print: Annotated[bool, Parameter(name="--print", help="Only print the address")] = False,
    server: ServerOptions = NO_OPTIONS,
) -> None:
    """Open a run's page in the browser and print its address. In a pipe it is only printed."""
    import sys  # noqa: PLC0415
    import webbrowser  # noqa: PLC0415
    from urllib.parse import quote  # noqa: PLC0415

    base = shown_url(resolve(server).url.value or DEFAULT_URL).rstrip("/")
    address = f"{base}/ui" if run_id is None else f"{base}/ui/runs/{quote(run_id, safe='')}"
    write_out(address)
    if not only_print and sys.stdout.isatty():
        webbrowser.open(address)

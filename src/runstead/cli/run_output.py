"""`runstead runs output`: prints a whole output, or the result of a step, also where an artifact holds it."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from runstead.cli.run_group import runs
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import RunId
from runstead.cli.shared.output import fail, write_out
from runstead.cli.shared.render import safe


@runs.command(name="output")
def run_output(
    run_id: RunId,
    /,
    *,
    step: Annotated[str | None, Parameter(help="Id of a step, such as 3: print its result instead")] = None,
    out: Annotated[str | None, Parameter(help="File to write; else stdout")] = None,
    server: ServerOptions = NO_OPTIONS,
) -> None:
    """Print the output of a run as JSON, or the result of a step. RUNSTEAD_CODEC names the codec of encoded values."""
    with connected(server) as client:
        run = client.runs.get(run_id)
        if step is not None:
            run = msgspec.structs.replace(run, output=_result(client, run_id, step))
        elif not run.terminal:
            fail(f"the run has no output yet: it is {run.status}")
        found = client.decoded(run).output
    text = msgspec.json.format(msgspec.json.encode(found), indent=2)
    if out is None:
        write_out(text.decode())
        return
    try:
        Path(out).write_bytes(text + b"\n")
    except OSError as error:
        fail(f"cannot write {safe(out)}: {error.strerror}")


def _result(client: Any, run_id: str, step: str) -> Any:
    found = None
    for event in client.events.iter(run_id, event_types=["STEP_FINISHED"]):
        if event.payload.get("stepId") == step:
            found = event
    if found is None:
        fail(f"the run has no finished step {step!r}: `runstead runs logs {run_id}` shows its steps")
    return found.payload.get("result")

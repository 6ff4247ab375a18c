"""`runstead completion`."""

from typing import Annotated, Literal

from cyclopts import Parameter

from runstead.cli.app import app
from runstead.cli.shared.output import write_out


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="The shell")], /) -> None:
    """Print a shell completion script. Use it with `source <(runstead completion bash)`."""
    write_out(app.generate_completion(prog_name="runstead", shell=shell), end="")

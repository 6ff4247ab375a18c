"""`runstead completion`."""

from typing import Annotated, Literal

from cyclopts import Parameter

from runstead.cli.app import app
from runstead.cli.shared.output import say


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Which shell")], /) -> None:
    """Print what makes a shell complete commands and options: `source <(runstead completion bash)`."""
    say(app.generate_completion(prog_name="runstead", shell=shell), end="")

"""The program's commands. Each group is imported when it is used, so that `runstead --help` is fast."""

from cyclopts import App, Parameter

from runstead import __version__
from runstead.cli.commands import COMMANDS, SUMMARY
from runstead.cli.shared.help_text import HelpText

app = App(
    name="runstead",
    help=SUMMARY,
    version=__version__,
    help_format="plaintext",
    default_parameter=Parameter(negative=""),
    help_formatter=HelpText(),
    suppress_keyboard_interrupt=False,
)

for _name, (_path, _help) in COMMANDS.items():
    app.command(_path, name=_name, help=_help)

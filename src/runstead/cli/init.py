"""`runstead init`."""

import re
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from runstead.cli.shared.output import fail, write_out
from runstead.cli.shared.render import safe

#: File of the new project → its template in `new_project`.
_FILES: Final = {
    "app.py": "app.py.txt",
    "test_app.py": "test_app.py.txt",
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    ".gitignore": "gitignore.txt",
}
_NEXT: Final = """\
  pip install pytest
  python -m pytest        # tests the handlers, without a server
  runstead dev app:app    # runs a server, its dashboard and a worker

And in another terminal, to start a run and follow it:

  {cd}RUNSTEAD_KEY=$(cat .runstead/key) runstead runs create workflow:bill --input '{{"customer": "Ada"}}' --wait"""


def init(
    folder: Annotated[
        Path, Parameter(help="The folder, which may exist; else the working directory")
    ] = Path(),
    /,
) -> None:
    """Create a project: an app with a workflow, its tests, and how to run them."""
    try:
        existing = [name for name in _FILES if (folder / name).exists()]
        if existing:
            fail(
                f"{folder.resolve()} has {', '.join(existing)} already: choose another folder, or move them away"
            )
        folder.mkdir(parents=True, exist_ok=True)
        name = _project_name(folder)
        for file, template in _FILES.items():
            text = (files("runstead.cli") / "new_project" / template).read_text(encoding="utf-8")
            with (folder / file).open("x", encoding="utf-8") as opened:
                opened.write(text.replace("$name", name))
    except OSError as error:
        fail(f"the project was not created: {error}")
    cd = "" if folder == Path() else f"cd {shlex.quote(str(folder))}"
    write_out(safe(f"Created {', '.join(_FILES)} in {folder.resolve()}"))
    write_out("\nNext:\n")
    if cd:
        write_out(safe(f"  {cd}"))
    write_out(_NEXT.format(cd=safe(f"{cd} && ") if cd else ""))


def _project_name(folder: Path) -> str:
    """Return the folder's name as that of a Python project (PEP 508): letters, digits and inner `-`."""
    return re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "app"

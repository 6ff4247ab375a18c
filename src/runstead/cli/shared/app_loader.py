"""From `module:app` to what it names: an app, or a function that makes workers."""

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runstead.sdk.app import App
from runstead.sdk.worker.worker import Worker

#: `(client, **options) -> Worker`, for those who serve without an app.
WorkerFactory = Callable[..., Worker]


class LoadError(ValueError):
    """It cannot be served; the sentence says why."""


def shaped(reference: str) -> tuple[str, str]:
    """The module, and the name in it. LoadError."""
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise LoadError(
            f"Name what to serve as module:app, as in jobs:app for the app in jobs.py, not {reference!r}"
        )
    return module_name, name


def load(reference: str) -> App | WorkerFactory:
    """Import it, from the working directory or wherever Python looks. LoadError."""
    module_name, name = shaped(reference)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name and (module_name + ".").startswith(missing.name + "."):
            raise LoadError(
                f"There is no module {missing.name!r}, neither in {here} nor where Python looks for packages"
            ) from missing
        raise LoadError(f"Importing {module_name} failed: {_told(missing)}") from missing
    except Exception as trouble:
        raise LoadError(f"Importing {module_name} failed: {_told(trouble)}") from trouble
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            apps = [known for known, value in vars(module).items() if isinstance(value, App)]
            hint = f"; it has {', '.join(apps)}" if apps else ""
            raise LoadError(f"The module {module_name} has no {name!r}{hint}")
        found = getattr(found, part)
    if isinstance(found, App):
        if not found.targets:
            raise LoadError(
                f"{reference} serves nothing: register a function with @app.task or another decorator"
            )
        return found
    if not callable(found) or isinstance(found, type):
        raise LoadError(
            f"{reference} is {type(found).__name__}, and neither an App nor a function that makes a Worker"
        )
    factory: WorkerFactory = found
    return factory


def _told(trouble: Exception) -> str:
    """What went wrong, and in which line of the user's."""
    if isinstance(trouble, SyntaxError):
        return f"{trouble.msg} ({trouble.filename}, line {trouble.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(trouble.__traceback__)
        if not frame.filename.startswith("<frozen")
    ]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(trouble).__name__}: {trouble}{where}"

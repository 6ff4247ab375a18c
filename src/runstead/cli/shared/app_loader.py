"""Loads the app, or the function that creates a worker, that `module:app` names."""

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runstead.sdk.app import App
from runstead.sdk.worker.worker import Worker

#: `(client, **options) -> Worker`, for workers without an app.
WorkerFactory = Callable[..., Worker]


class LoadError(ValueError):
    """The reference cannot be loaded. The message says why."""


def split_reference(reference: str) -> tuple[str, str]:
    """The module and the name in it. LoadError."""
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise LoadError(
            f"Write the app as module:app, such as jobs:app for the app in jobs.py, not {reference!r}"
        )
    return module_name, name


def load_object(reference: str) -> Any:
    """Import the reference, from the working directory or from Python's path. LoadError."""
    module_name, name = split_reference(reference)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name and (module_name + ".").startswith(missing.name + "."):
            raise LoadError(f"There is no module {missing.name!r} in {here} or on Python's path") from missing
        raise LoadError(f"Importing {module_name} failed: {_describe(missing)}") from missing
    except Exception as error:
        raise LoadError(f"Importing {module_name} failed: {_describe(error)}") from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            apps = [known for known, value in vars(module).items() if isinstance(value, App)]
            hint = f"; it has {', '.join(apps)}" if apps else ""
            raise LoadError(f"The module {module_name} has no {name!r}{hint}")
        found = getattr(found, part)
    return found


def load(reference: str) -> App | WorkerFactory:
    """Import the app or the factory. LoadError."""
    found = load_object(reference)
    if isinstance(found, App):
        if not found.targets:
            raise LoadError(
                f"{reference} has no handlers: register a function with @app.task or another decorator"
            )
        return found
    if not callable(found) or isinstance(found, type):
        raise LoadError(
            f"{reference} has the type {type(found).__name__}, not App, and is not a function that returns a Worker"
        )
    factory: WorkerFactory = found
    return factory


def _describe(error: Exception) -> str:
    """The error with the line in which it was raised."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({error.filename}, line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen")
    ]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"

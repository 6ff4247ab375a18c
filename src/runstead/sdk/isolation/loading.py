"""References to an app, with which another process imports it."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any


def reference(app: object) -> str:
    """Return `module:attribute`, or `path/to/file.py:attribute` for an app of the main program.

    Raise ValueError where no module has the app as an attribute.
    """
    main = None
    for name, module in list(sys.modules.items()):
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is not app:
                continue
            if name not in ("__main__", "__mp_main__"):
                return f"{name}:{attribute}"
            main = main or _reference_in_main(module, attribute)
    if main is None:
        raise ValueError(
            "A child process cannot find the app: assign it to a name at the top level of a module"
        )
    return main


def default_name(app: object) -> str:
    """Return `module:attribute`, the same wherever the program's file is. `app` where no module has the app."""
    try:
        module, _, attribute = reference(app).rpartition(":")
    except ValueError:
        return "app"
    return f"{Path(module).stem if module.endswith('.py') else module}:{attribute}"


def _reference_in_main(module: Any, attribute: str) -> str | None:
    spec = getattr(module, "__spec__", None)
    if spec is not None:  # python -m
        return f"{spec.name}:{attribute}"
    file = getattr(module, "__file__", None)
    return None if file is None else f"{os.path.abspath(file)}:{attribute}"  # noqa: PTH100 - links stay


def load(name: str) -> Any:
    """Import the object of a reference. Raise ValueError where the module has no such attribute.

    Exceptions of the import are not caught.
    """
    module, _, attribute = name.rpartition(":")
    found: Any = _import_file(module) if module.endswith(".py") else importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise ValueError(f"{module} has no {attribute}")
    return found


def _import_file(path: str) -> Any:
    """Import a program as a module, so that code under `if __name__ == "__main__"` does not run."""
    spec = importlib.util.spec_from_file_location("__mp_main__", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["__mp_main__"] = module
    spec.loader.exec_module(module)
    return module

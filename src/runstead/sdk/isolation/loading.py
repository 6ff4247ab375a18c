"""Naming an app so that another process finds it, and finding it there."""

import importlib
import importlib.util
import os
import sys
from typing import Any


def reference(app: object) -> str:
    """`module:attribute`, or `path/to/file.py:attribute` for an app of the program that was started.

    ValueError where no module has it at its top.
    """
    main = None
    for name, module in list(sys.modules.items()):
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is not app:
                continue
            if name not in ("__main__", "__mp_main__"):
                return f"{name}:{attribute}"
            main = main or _of_main(module, attribute)
    if main is None:
        raise ValueError(
            "A process of its own cannot find the app: keep it in a module, under a name at the module's top"
        )
    return main


def _of_main(module: Any, attribute: str) -> str | None:
    spec = getattr(module, "__spec__", None)
    if spec is not None:  # python -m
        return f"{spec.name}:{attribute}"
    file = getattr(module, "__file__", None)
    return None if file is None else f"{os.path.abspath(file)}:{attribute}"  # noqa: PTH100 - links stay


def load(name: str) -> Any:
    """What `reference` names. Raises whatever importing it raises; ValueError where it has no such attribute."""
    module, _, attribute = name.rpartition(":")
    held: Any = _of_file(module) if module.endswith(".py") else importlib.import_module(module)
    for part in attribute.split("."):
        held = getattr(held, part, None)
    if held is None:
        raise ValueError(f"{module} has no {attribute}")
    return held


def _of_file(path: str) -> Any:
    """A program as a module, so that what it does when it is started is not done."""
    spec = importlib.util.spec_from_file_location("__mp_main__", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["__mp_main__"] = module
    spec.loader.exec_module(module)
    return module

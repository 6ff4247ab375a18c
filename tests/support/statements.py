"""Every statement that an engine has: the named ones, those of its modules, and the functions that make others."""

import ast
import importlib
import inspect
import pkgutil
import re

_BEGINNING = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH) (?!\d+$)")
_PART = re.compile(r"\b(SELECT|INSERT INTO|UPDATE \w* ?SET|DELETE FROM|WHERE|FOR UPDATE)\b")


def written(package):
    """Name → statement: those in .sql files, the shared ones too, and the texts of modules, in functions too."""
    statements = importlib.import_module(f"{package}.sql")
    named = statements.Q | {name: one.text for name, one in statements.DIALECT.named.items()}
    for short, module in _modules(package):
        found = {f"{short}.{name}": value for name, value in vars(module).items() if isinstance(value, str)}
        for function, node in _texts(module):
            if isinstance(node, ast.Constant):
                found[f"{short}.{function}:{node.lineno}"] = node.value
        for name, sql in found.items():
            if _BEGINNING.match(sql) and sql not in named.values():
                named[name] = sql
    return named


def makers(package):
    """The functions that put statements together, as "module.function"."""
    return {
        f"{short}.{function}"
        for short, module in _modules(package)
        for function, node in _texts(module)
        if isinstance(node, ast.JoinedStr)
        and _PART.search(
            "".join(part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
        )
    }


def _modules(package):
    path = importlib.import_module(package).__path__
    return [
        (one.name, importlib.import_module(f"{package}.{one.name}")) for one in pkgutil.iter_modules(path)
    ]


def _texts(module):
    """(function, node) of every text within a function."""
    tree = ast.parse(inspect.getsource(module))
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    for function in (node for body in bodies for node in body):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        nodes = list(ast.walk(function))
        parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if isinstance(node, ast.JoinedStr) or (
                isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
            ):
                yield function.name, node

"""How commands answer: the one place that prints."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn

import msgspec


def say(text: str, end: str = "\n") -> None:
    print(text, end=end)


def tell(text: str) -> None:
    """Beside the answer."""
    print(text, file=sys.stderr)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    from runstead.errors import Error  # noqa: PLC0415

    try:
        return asyncio.run(work)
    except Error as refusal:
        refuse(refusal.message)
    except (ValueError, RuntimeError, OSError) as trouble:
        refuse(str(trouble))
    except Exception as trouble:
        refuse_database(trouble)
        raise


def refuse_database(trouble: Exception) -> None:
    import sqlite3  # noqa: PLC0415

    if isinstance(trouble, sqlite3.Error):
        refuse(f"cannot use the database: {trouble}")


def refuse(sentence: str) -> NoReturn:
    print(f"runstead: {sentence}", file=sys.stderr)
    sys.exit(1)


def show(value: Any, *, json: bool) -> None:
    if json:
        print(msgspec.json.encode(value).decode())
    else:
        for name, member in value.items():
            print(f"{name}: {member}")

"""How commands answer: the one place that prints."""

import sys
from collections.abc import Coroutine
from typing import Any, NoReturn

REFUSED = 1


def say(text: str, end: str = "\n", *, flush: bool = False) -> None:
    print(text, end=end, flush=flush)


def tell(text: str) -> None:
    """Beside the answer."""
    print(text, file=sys.stderr)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    import asyncio  # noqa: PLC0415 - not for `runstead --help`

    from runstead.core.errors import Error  # noqa: PLC0415

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


def refuse(sentence: str, status: int = REFUSED) -> NoReturn:
    from runstead.cli.shared.render import safe  # noqa: PLC0415

    print(f"runstead: {safe(sentence)}", file=sys.stderr)
    sys.exit(status)


def show(value: Any, *, json: bool) -> None:
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    if json:
        print(document(value), flush=True)
    else:
        for name, member in value.items():
            print(f"{name}: {safe(str(member))}")

"""Columns of tokens, and amounts of money."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.output import fail
from runstead.cli.shared.render import Column

if TYPE_CHECKING:
    from runstead.sdk.models.usage import TokenSums

_MICROS: Final = 1_000_000


def model_name(provider: str | None, model: str | None) -> str:
    return "/".join(one for one in (provider, model) if one) or "unknown"


def token_columns(sums: "Callable[[Any], TokenSums]") -> list[Column[Any]]:
    return [
        Column("RUNS", lambda row: f"{sums(row).runs:,}", drop_rank=2, number=True),
        Column("INPUT", lambda row: f"{sums(row).input_tokens:,}", number=True),
        Column("CACHED", lambda row: f"{sums(row).cached_input_tokens:,}", drop_rank=4, number=True),
        Column("OUTPUT", lambda row: f"{sums(row).output_tokens:,}", number=True),
        Column("REASONING", lambda row: f"{sums(row).reasoning_tokens:,}", drop_rank=5, number=True),
        Column("TOTAL", lambda row: f"{sums(row).total_tokens:,}", drop_rank=1, number=True),
    ]


def format_money(micros: int | None) -> str:
    """An amount such as `2.50`, with as many decimals as it has, and at least two. Empty for None."""
    if micros is None:
        return ""
    text = f"{micros / _MICROS:,.6f}"
    return text[:-4] + text[-4:].rstrip("0")


def parse_money(option: str, text: str) -> int:
    """An amount such as `2.5`, in millionths."""
    try:
        micros = Decimal(text) * _MICROS
        whole = int(micros)
    except (InvalidOperation, ValueError, OverflowError):
        micros, whole = Decimal(-1), -1
    if whole != micros or whole < 0:
        fail(f"{option} takes an amount with at most six decimals, like 2.50, not {text!r}", USAGE)
    return whole

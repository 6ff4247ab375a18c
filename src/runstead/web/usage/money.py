"""Formats and parses amounts of a project's currency, stored in millionths."""

from decimal import Decimal, InvalidOperation
from typing import Final

from runstead.core import limits
from runstead.core.errors import invalid_at

_MILLION: Final = 1_000_000


def exact(micros: int) -> str:
    """The exact amount, such as `2.50` or `0.075`: two decimal places, more if needed."""
    whole, parts = divmod(micros, _MILLION)
    return f"{whole}.{f'{parts:06d}'.rstrip('0').ljust(2, '0')}"


def rounded(micros: int) -> str:
    """Rounded for display: `1,234.57`. Small amounts keep two significant digits: `0.0034`."""
    if micros >= 10_000 or micros == 0:
        whole, parts = divmod((micros + 5_000) // 10_000, 100)
        return f"{whole:,}.{parts:02d}"
    digits = len(str(micros))
    places = 10 ** max(0, digits - 2)
    return exact((micros + places // 2) // places * places)


def parsed(field: str, text: str) -> int:
    """A price in millionths, from a form field. INVALID_REQUEST, with the field."""
    try:
        amount = Decimal(text) if text.isascii() and "_" not in text and len(text) <= 40 else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    micros = amount * _MILLION if amount.is_finite() and abs(amount.adjusted()) < 40 else Decimal(-1)
    if micros < 0 or micros != micros.to_integral_value() or micros > limits.price_max:
        most = limits.price_max // _MILLION
        sentence = f"A price is a number such as 2.50, from 0 to {most:,}, with at most six decimal places"
        raise invalid_at(f"$.{field}", sentence)
    return int(micros)


def compact(count: int) -> str:
    """A count with a unit prefix, such as `1.2 M`."""
    for unit, name in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return str(count)

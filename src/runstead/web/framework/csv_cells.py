"""Cells of CSV files that a spreadsheet shows as text."""

from typing import Final

#: A spreadsheet reads a cell that starts with one of these as a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe(text: str | None) -> str:
    """The text, with an apostrophe in front if a spreadsheet would read it as a formula."""
    text = text or ""
    return f"'{text}" if text.startswith(_FORMULA) else text

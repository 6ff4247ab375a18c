"""The systems around an invoice: a mail server that is often busy, and a ledger with a closed account."""

from dataclasses import dataclass, field


@dataclass
class Line:
    account: str
    cents: int


@dataclass
class Receipt:
    status: str
    cents: int = 0
    bookings: list[str] = field(default_factory=list)


class AccountClosedError(Exception):
    """The ledger refuses a booking for good."""


calls: list[str] = []
booked: list[str] = []


def fetch(invoice_id: str) -> list[str]:
    """Return the lines of an invoice, as text. The first two calls fail."""
    calls.append("fetch")
    if calls.count("fetch") < 3:
        raise ConnectionError("The mail server is busy")
    return ["rent 120000", "power 8050", "closed 1" if invoice_id == "bad" else "water 2100"]


def parse(text: str) -> Line:
    account, cents = text.split()
    return Line(account, int(cents))


def book(line: Line) -> str:
    """Add a line to the ledger, and return the name of the booking. Raise AccountClosedError."""
    if line.account == "closed":
        raise AccountClosedError(line.account)
    booked.append(line.account)
    return f"booking-{line.account}"


def unbook(booking: str) -> None:
    booked.remove(booking.removeprefix("booking-"))


def close_day() -> None:
    calls.append("close_day")


def reset() -> None:
    calls.clear()
    booked.clear()

"""A test of the invoices: each point once, on a clock that the test moves."""

from collections.abc import AsyncIterator

import pytest

import ledger
from app import app, invoice
from ledger import Receipt
from runstead import RunFailed, RunHandle
from runstead.testing import Testbed

BOOKED = Receipt("booked", 130150, ["booking-rent", "booking-power", "booking-water"])


@pytest.fixture
async def bed() -> AsyncIterator[Testbed]:
    ledger.reset()
    async with Testbed(app) as bed:
        yield bed


async def start(bed: Testbed, invoice_id: str) -> RunHandle[Receipt]:
    run = await bed.client.start(invoice, invoice_id=invoice_id, id=f"invoice-{invoice_id}")
    await bed.settle()
    return run


async def test_an_approved_invoice_is_booked_after_an_hour(bed: Testbed) -> None:
    run = await start(bed, "1")
    again = await start(bed, "1")
    assert (again.id, ledger.calls) == (run.id, ["fetch"] * 3)
    await run.approve()
    await bed.advance(minutes=59)
    assert ledger.booked == []
    await bed.advance(minutes=1)
    elsewhere = bed.client.run("invoice-1", returns=Receipt)
    assert await elsewhere.result() == BOOKED


async def test_a_rejected_invoice_is_not_booked(bed: Testbed) -> None:
    run = await start(bed, "2")
    await run.reject()
    assert (await run.result()).status == "rejected"


async def test_an_invoice_without_an_answer_expires(bed: Testbed) -> None:
    run = await start(bed, "3")
    await bed.advance(days=1)
    assert (await run.result()).status == "expired"


async def test_a_refused_line_undoes_the_others(bed: Testbed) -> None:
    run = await start(bed, "bad")
    await run.approve()
    await bed.advance(hours=1)
    with pytest.raises(RunFailed) as failed:
        await run.result()
    assert (failed.value.code, ledger.booked) == ("AccountClosedError", [])


async def test_a_cancelled_invoice_is_not_booked(bed: Testbed) -> None:
    run = await start(bed, "4")
    await run.cancel()
    await bed.advance(days=1)
    assert (await run.status(), ledger.booked) == ("cancelled", [])


async def test_the_day_is_closed_at_half_past_two_in_berlin(bed: Testbed) -> None:
    await bed.advance(hours=13, minutes=29)  # from noon UTC, which is 13:00 in Berlin
    assert ledger.calls == []
    await bed.advance(minutes=1)
    assert ledger.calls == ["close_day"]

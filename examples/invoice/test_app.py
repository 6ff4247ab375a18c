"""A test of the invoices: each point once, on a clock that the test moves."""

from collections.abc import AsyncIterator

import pytest

import ledger
from app import app
from runstead.sdk.models.run import Run
from runstead.testing import Testbed


@pytest.fixture
async def bed() -> AsyncIterator[Testbed]:
    ledger.reset()
    async with Testbed(app) as bed:
        yield bed


async def start(bed: Testbed, invoice_id: str) -> Run:
    return await bed.run("workflow:invoice", config={"invoice_id": invoice_id}, id=f"invoice-{invoice_id}")


async def test_an_approved_invoice_is_booked_after_an_hour(bed: Testbed) -> None:
    run = await start(bed, "1")
    assert await start(bed, "1") == run  # the same id: the same run
    assert ledger.calls == ["fetch"] * 3
    await bed.approve(run)
    await bed.advance(3599)
    assert ledger.booked == []
    await bed.advance(1)
    elsewhere = await bed.client.runs.get("invoice-1")
    assert elsewhere.output == {
        "status": "booked",
        "cents": 130150,
        "bookings": ["booking-rent", "booking-power", "booking-water"],
    }


async def test_a_rejected_invoice_is_not_booked(bed: Testbed) -> None:
    run = await start(bed, "2")
    await bed.approve(run, approved=False)
    assert (await bed.result(run)).output["status"] == "rejected"


async def test_an_invoice_without_an_answer_expires(bed: Testbed) -> None:
    run = await start(bed, "3")
    await bed.advance(86400)
    assert (await bed.result(run)).output["status"] == "expired"


async def test_a_refused_line_undoes_the_others(bed: Testbed) -> None:
    run = await start(bed, "bad")
    await bed.approve(run)
    await bed.advance(3600)
    failed = await bed.result(run)
    assert failed.error is not None
    assert (failed.error.code, ledger.booked) == ("AccountClosedError", [])


async def test_a_cancelled_invoice_is_not_booked(bed: Testbed) -> None:
    run = await start(bed, "4")
    await bed.approve(run)
    assert (await bed.cancel(run)).status == "cancelled"
    await bed.advance(3600)
    assert ledger.booked == []


async def test_the_day_is_closed_at_half_past_two_in_berlin(bed: Testbed) -> None:
    await bed.client.schedules.create(
        "close-day", {"kind": "workflow", "id": "close-day"}, "30 2 * * *", timezone="Europe/Berlin"
    )
    await bed.advance(13.5 * 3600 - 1)  # the clock starts at noon UTC, 13:00 in Berlin
    assert ledger.calls == []
    await bed.advance(1)
    assert ledger.calls == ["close_day"]

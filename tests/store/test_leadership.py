"""The lead: one owner at a time, by the engine's clock."""

import asyncio

LEASE_MS = 6_000


async def lead(store, owner, lease_ms=LEASE_MS):
    """(who leads, in which term)"""
    held = await store.leadership.lead(owner, lease_ms)
    return held.owner, held.term


async def test_the_first_to_ask_leads(store, clock):
    held = await store.leadership.lead("ann", LEASE_MS)
    assert (held.owner, held.term, held.expires_at) == ("ann", 1, clock.now + LEASE_MS)
    assert await lead(store, "bob") == ("ann", 1)


async def test_who_renews_stays_and_the_term_with_them(store, clock):
    for _ in range(5):
        assert await lead(store, "ann") == ("ann", 1)
        clock.advance_ms(LEASE_MS - 1)
        assert await lead(store, "bob") == ("ann", 1)


async def test_a_lead_that_ran_out_is_the_next_ones_in_a_new_term(store, clock):
    await lead(store, "ann")
    clock.advance_ms(LEASE_MS)
    assert await lead(store, "bob") == ("bob", 2)
    assert await lead(store, "ann") == ("bob", 2)
    clock.advance_ms(LEASE_MS)
    assert await lead(store, "ann") == ("ann", 3)


async def test_who_let_it_run_out_is_elected_anew(store, clock):
    await lead(store, "ann")
    clock.advance_ms(LEASE_MS)
    assert await lead(store, "ann") == ("ann", 2)


async def test_a_lead_that_is_given_up_is_the_next_ones_at_once(store):
    await lead(store, "ann")
    await store.leadership.resign("ann")
    assert await lead(store, "bob") == ("bob", 2)


async def test_nobody_gives_up_the_lead_of_another(store):
    await store.leadership.resign("bob")
    await lead(store, "ann")
    await store.leadership.resign("bob")
    assert await lead(store, "bob") == ("ann", 1)


async def test_who_gave_it_up_may_take_it_again(store):
    for term in (1, 2, 3):
        assert await lead(store, "ann") == ("ann", term)
        await store.leadership.resign("ann")
        await store.leadership.resign("ann")


async def test_a_clock_that_was_set_back_keeps_a_dead_leader_for_one_lease_and_no_longer(store, clock):
    await lead(store, "ann")
    clock.advance_ms(-3_600_000)
    assert await lead(store, "bob") == ("ann", 1)
    clock.advance_ms(LEASE_MS - 1)
    assert await lead(store, "bob") == ("ann", 1)
    clock.advance_ms(1)
    assert await lead(store, "bob") == ("bob", 2)


async def test_of_many_who_ask_at_once_one_leads_and_all_are_told_so(store, clock):
    for term in (1, 2):
        told = await asyncio.gather(*(lead(store, f"replica-{n}") for n in range(8)))
        assert len(set(told)) == 1
        assert told[0][1] == term
        clock.advance_ms(LEASE_MS)


async def test_the_lead_is_kept_where_the_store_is(store, clock, engine):
    await lead(store, "ann")
    await store.close()
    await store.open()
    assert await lead(store, "bob") == ("ann", 1)

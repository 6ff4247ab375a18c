"""Projects, members and keys."""

import asyncio

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import ALL_SCOPES, Scope
from runstead.core.identity.project import ApiKey, Member, Project, personal_project, token_hash
from runstead.ports.store import MemberCounts


def project(name="one", **fields):
    given = {"id": f"id-{name}", "slug": name, "name": name.title(), "created_at": 1, "created_by": "u-1"}
    return Project(**(given | fields))


def member(user_id="u-1", role="admin", of="one", **fields):
    return Member(**({"project_id": f"id-{of}", "user_id": user_id, "role": role, "created_at": 2} | fields))


def key(name="k-1", of="one", **fields):
    given = {"id": name, "project_id": f"id-{of}", "prefix": name, "hash": token_hash(name), "created_at": 3}
    return ApiKey(**(given | {"scopes": frozenset({Scope.RUNS_READ, Scope.WORKERS})} | fields))


def anything(_counts):
    """A guard that lets every change be."""


@pytest.fixture
async def directory(store):
    return store.identity


async def test_a_project_is_stored_with_its_first_member_and_key(directory):
    assert await directory.create_project(project(), member(), key()) == project()
    assert await directory.project("id-one") == project()
    assert await directory.members("id-one") == [member()]
    assert await directory.keys("id-one") == [key()]


async def test_a_project_needs_neither_member_nor_key(directory):
    await directory.create_project(project(), None, None)
    assert await directory.members("id-one") == []
    assert await directory.keys("id-one") == []


async def test_a_project_is_found_by_id_or_slug(directory):
    await directory.create_project(project(), None, None)
    assert await directory.project("one") == await directory.project("id-one") == project()
    assert await directory.project("two") is None


async def test_a_taken_slug_is_refused_and_nothing_of_it_stays(directory, refusal):
    await directory.create_project(project(), None, None)
    taken = project(id="id-other")
    attempt = directory.create_project(taken, member(project_id="id-other"), key(project_id="id-other"))
    assert await refusal(attempt) == "PROJECT_SLUG_TAKEN"
    assert await directory.project("id-other") is None
    assert await directory.members("id-other") == []
    assert await directory.key_by_hash(key().hash) is None


async def test_of_concurrent_creates_of_a_slug_one_wins(directory):
    creates = [directory.create_project(project(id=f"id-{n}"), None, None) for n in range(10)]
    outcomes = await asyncio.gather(*creates, return_exceptions=True)
    assert sum(isinstance(outcome, Project) for outcome in outcomes) == 1


async def test_a_personal_project_names_its_owner(directory):
    mine = personal_project("u-1", 5)
    await directory.create_project(mine, None, None)
    assert await directory.project(mine.id) == mine


async def test_ensuring_creates_what_is_missing(directory):
    assert await directory.ensure_project(project(), member(), key()) == project()
    assert await directory.project("one") == project()
    assert await directory.members("id-one") == [member()]
    assert await directory.key_by_hash(key().hash) == key()


async def test_ensuring_again_changes_nothing(directory):
    await directory.ensure_project(project(), member(), key())
    again = project(name="Other", id="id-new", slug="one")
    kept = await directory.ensure_project(
        again, member(role="viewer", project_id="id-new"), key("k-2", project_id="id-new", hash=key().hash)
    )
    assert kept == project()
    assert await directory.members("id-one") == [member()]
    assert await directory.keys("id-one") == [key()]


async def test_what_is_ensured_joins_the_project_that_is_there(directory):
    await directory.create_project(project(), None, None)
    await directory.ensure_project(
        project(id="id-new"), member(project_id="id-new"), key(project_id="id-new")
    )
    assert await directory.project("id-new") is None
    assert await directory.members("id-one") == [member()]
    assert await directory.key_by_hash(key().hash) == key()


async def test_concurrent_ensuring_makes_one_project(directory):
    ensured = await asyncio.gather(
        *(directory.ensure_project(project(id=f"id-{n}"), None, key(f"k-{n}")) for n in range(10))
    )
    assert len({found.id for found in ensured}) == 1
    assert len(await directory.keys(ensured[0].id)) == 10


async def test_projects_come_oldest_first_and_unknown_ones_are_left_out(directory):
    for name, at in [("new", 30), ("old", 10), ("mid", 20)]:
        await directory.create_project(project(name, created_at=at), None, None)
    found = await directory.projects(["id-mid", "unknown", "id-old", "id-new", "id-old"])
    assert [p.slug for p in found] == ["old", "mid", "new"]
    assert await directory.projects([]) == []
    assert [p.slug for p in await directory.projects(None)] == ["old", "mid", "new"]


async def test_a_store_is_empty_until_it_holds_a_project(directory):
    assert await directory.is_empty()
    await directory.create_project(project(), None, None)
    assert not await directory.is_empty()


async def test_a_key_is_given_back_as_it_was_stored(directory):
    await directory.create_project(project(), None, None)
    full = ApiKey("k-9", "id-one", "abcd", b"\x00\xff" * 16, ALL_SCOPES, 3, "CI", "u-1", 4, 5, 6)
    bare = key("k-2", scopes=frozenset())
    for stored in (full, bare):
        assert await directory.create_key(stored) == stored
        assert await directory.key_by_hash(stored.hash) == stored
    assert await directory.key_by_hash(b"unknown") is None


async def test_an_existing_key_gets_the_scopes_that_it_lacks(directory):
    reader = frozenset({Scope.RUNS_READ})
    await directory.ensure_project(project(), None, key(scopes=reader, expires_at=9))
    other = key("k-2", scopes=frozenset({Scope.SYSTEM}))
    await directory.ensure_project(project(), None, replace(other, hash=key().hash))
    [stored] = await directory.keys("id-one")
    assert stored == key(scopes=reader | {Scope.SYSTEM}, expires_at=9)
    assert await directory.key("k-1") == stored
    assert await directory.key("k-2") is None


async def test_the_projects_of_a_creator_are_counted(directory):
    counted = []
    for name, creator in [("one", "u-1"), ("two", "u-2"), ("three", "u-1")]:
        made = project(name)
        made = replace(made, created_by=creator)
        await directory.create_project(made, None, None, count=counted.append)
    personal = replace(project("four"), created_by="u-1", personal_of="ada")
    await directory.create_project(personal, None, None)
    made = replace(project("five"), created_by="u-1")
    await directory.create_project(made, None, None, count=counted.append)
    assert counted == [0, 0, 1, 2]


async def test_keys_come_oldest_first_revoked_ones_included(directory):
    await directory.create_project(project(), None, None)
    await directory.create_project(project("two"), None, key("theirs", of="two"))
    for name, at in [("new", 30), ("old", 10), ("mid", 20)]:
        await directory.create_key(key(name, created_at=at))
    await directory.revoke_key("id-one", "mid", 99)
    assert [(k.id, k.revoked_at) for k in await directory.keys("id-one")] == [
        ("old", None),
        ("mid", 99),
        ("new", None),
    ]


async def test_the_first_revocations_time_stays(directory):
    await directory.create_project(project(), None, key())
    assert (await directory.revoke_key("id-one", "k-1", 50)).revoked_at == 50
    assert (await directory.revoke_key("id-one", "k-1", 60)).revoked_at == 50
    assert (await directory.key_by_hash(key().hash)).revoked_at == 50


async def test_a_key_of_another_project_cannot_be_revoked(directory):
    await directory.create_project(project(), None, key())
    assert await directory.revoke_key("id-two", "k-1", 50) is None
    assert await directory.revoke_key("id-one", "unknown", 50) is None
    assert (await directory.key_by_hash(key().hash)).revoked_at is None


async def test_keys_remember_when_they_were_last_used(directory):
    await directory.create_project(project(), None, key())
    await directory.create_key(key("k-2"))
    await directory.touch_keys({"k-1": 70, "unknown": 71})
    assert [k.last_used_at for k in await directory.keys("id-one")] == [70, None]
    await directory.touch_keys({"k-1": 80, "k-2": 81})
    assert [k.last_used_at for k in await directory.keys("id-one")] == [80, 81]
    await directory.touch_keys({})


async def test_putting_a_member_adds_one_or_changes_the_role(directory):
    await directory.create_project(project(), member(), None)
    assert await directory.put_member(member("u-2", "viewer"), anything) == member("u-2", "viewer")
    changed = await directory.put_member(member("u-2", "member", created_at=99), anything)
    assert changed == member("u-2", "member")
    assert await directory.members("id-one") == [member(), member("u-2", "member")]


async def test_a_removed_user_stays_removed_until_added_again(directory):
    await directory.create_project(project(), member(), None)
    assert await directory.remove_member("id-one", "u-1", anything)
    assert not await directory.remove_member("id-one", "u-1", anything)
    assert await directory.members("id-one") == []
    assert await directory.remove_member("id-one", "u-2", anything)  # no member: a claim may give access
    assert await directory.removed_from("u-1", ["id-one", "id-two"]) == {"id-one"}
    await directory.put_member(member(), anything)
    assert await directory.removed_from("u-1", ["id-one"]) == frozenset()
    assert await directory.removed_from("u-2", ["id-one"]) == {"id-one"}


async def test_a_guard_sees_the_counts_as_they_stand_and_can_refuse(directory):
    await directory.create_project(project(), member(), None)
    seen = []

    def refuse(counts):
        seen.append(counts)
        raise Error("LAST_ADMIN", "no")

    async def refused(change):
        with pytest.raises(Error, match="no"):
            await change
        return seen.pop()

    assert await refused(directory.remove_member("id-one", "u-1", refuse)) == MemberCounts(
        1, "admin", other_admins=False
    )
    demoted = member(role="viewer")
    assert await refused(directory.put_member(demoted, refuse)) == MemberCounts(
        1, "admin", other_admins=False
    )
    assert await directory.members("id-one") == [member()]
    # Another admin counts: a member, or a valid key.
    await directory.put_member(member("u-2", "admin"), anything)
    assert await refused(directory.put_member(demoted, refuse)) == MemberCounts(2, "admin", other_admins=True)
    await directory.put_member(member("u-2", "viewer"), anything)
    assert await refused(directory.put_member(member("u-3"), refuse)) == MemberCounts(
        2, None, other_admins=True
    )
    assert not (await refused(directory.put_member(demoted, refuse))).other_admins
    await directory.create_key(key(scopes=frozenset({Scope.ADMIN, Scope.RUNS_READ})))
    assert (await refused(directory.put_member(demoted, refuse))).other_admins
    await directory.revoke_key("id-one", key().id, 5)
    assert not (await refused(directory.put_member(demoted, refuse))).other_admins


async def test_a_guard_of_new_keys_counts_those_that_are_not_revoked(directory):
    await directory.create_project(project(), None, key())
    counted = []
    await directory.create_key(key("k-2", hash=b"2"), guard=counted.append)
    await directory.revoke_key("id-one", key().id, 5)
    await directory.create_key(key("k-3", hash=b"3"), guard=counted.append)
    assert counted == [1, 1]


async def test_old_revoked_keys_are_dropped(monkeypatch, directory):
    monkeypatch.setattr(limits, "revoked_keys_kept_max", 2)
    await directory.create_project(project(), None, None)
    for number in range(4):
        await directory.create_key(key(f"k-{number}", hash=b"%d" % number, created_at=number))
        await directory.revoke_key("id-one", f"k-{number}", 10 + number)
    assert [each.id for each in await directory.keys("id-one")] == ["k-2", "k-3"]


async def test_roles_are_those_of_every_project_of_the_user(directory):
    await directory.create_project(project(), member(), None)
    await directory.create_project(project("two"), member(of="two", role="viewer"), None)
    await directory.create_project(project("three"), member("u-2", of="three"), None)
    assert await directory.roles("u-1") == {"id-one": "admin", "id-two": "viewer"}
    assert await directory.roles("unknown") == {}

"""Values of secret fields: kept encrypted until the run ends, and read by the holder of its lease only."""

import pytest

from runstead.core.conversations.form import fill
from runstead.security.stored_secrets import StoredSecrets, new_key

from .test_secrets import FIELDS, NUMBER, SECRET, VALUES

pytestmark = pytest.mark.postgres
KEPT = {"password": SECRET, "pin": NUMBER}


@pytest.fixture(autouse=True)
def with_key(api):
    use(api, new_key().encode())


def use(api, *keys):
    api.app.secrets = StoredSecrets(lambda: keys)


class Asked:
    """A run that a worker has claimed, and whose form was answered."""

    def __init__(self, api, worker, run, conversation, request):
        self.api, self.worker, self.run, self.request = api, worker, run, request
        self.run_id = run["run_id"]
        self.responses = f"/conversations/{conversation}/input-requests/{request['id']}/responses"
        self.path = f"/runs/{self.run_id}/input-requests/{request['id']}/secrets"

    def lease(self, run=None):
        return {"X-Lease-Token": (run or self.run)["lease_token"]}

    async def values(self, run=None):
        response = await self.api.send("POST", self.path, headers=self.lease(run))
        assert response.status_code == 200, response.text
        assert response.headers["cache-control"] == "no-store"
        return response.json()["values"]

    async def refused(self, status, code, **options):
        return await self.api.refused(status, code, "POST", self.path, **options)

    async def claim(self):
        return (await self.api.claim(self.worker, kinds=["agent"]))["run"]


@pytest.fixture
async def asked(api):
    made = await ask(api)
    await api.post(made.responses, {"values": VALUES}, 201)
    return made


async def ask(api):
    conversation = await api.conversation()
    await api.create(api.agent(conversation, request={"implementation_kind": "claude"}))
    worker, _ = await api.worker()
    run = (await api.claim(worker, kinds=["agent"]))["run"]
    body = {"run_id": run["run_id"], "tool_call_id": "t1", "kind": "form", "title": "Sign in"}
    body |= {"fields": FIELDS, "requested_responder_type": "human"}
    request = await api.post(f"/conversations/{conversation}/input-requests", body, 201)
    return Asked(api, worker, run, conversation, request)


async def test_the_lease_holder_reads_the_values_as_often_as_it_needs(asked):
    assert asked.request["keeps_secrets"] is True
    assert await asked.values() == KEPT
    assert await asked.values() == KEPT


async def test_a_reader_of_the_database_cannot_find_a_short_secret_by_trying(api, asked):
    """The digest stays when the secrets are deleted, and there are only ten thousand PINs of four digits."""
    stored = await api.store.inputs.get(asked.request["id"])
    assert stored.response.digest != fill(stored.fields, VALUES).digest(stored.salt)
    await api.post(asked.responses, {"values": VALUES}, 201)  # and a repeat is still found
    await api.refused(
        409, "INPUT_REQUEST_NOT_OPEN", "POST", asked.responses, {"values": VALUES | {"pin": NUMBER + 1}}
    )


async def test_no_other_caller_reads_them(api, asked):
    await asked.refused(403, "FORBIDDEN")
    await asked.refused(403, "FORBIDDEN", by="admin")
    await asked.refused(409, "ATTEMPT_SUPERSEDED", headers={"X-Lease-Token": "another"})
    await asked.refused(403, "FORBIDDEN", by="read", headers=asked.lease())
    await asked.refused(404, "NOT_FOUND", by="other", headers=asked.lease())
    other = await api.create()
    path = asked.path.replace(asked.run_id, other["run_id"])
    await api.refused(404, "NOT_FOUND", "POST", path, headers=asked.lease())


async def test_the_next_attempt_reads_them_and_the_earlier_one_no_more(api, asked):
    for _ in range(5):  # past the lease, then past the backoff
        await api.pass_time(61)
    later = await asked.claim()
    assert later["attempt"] == 2
    assert await asked.values(later) == KEPT
    await asked.refused(409, "ATTEMPT_SUPERSEDED", headers=asked.lease())


async def test_they_are_gone_after_the_run(api, asked):
    await api.complete(asked.run_id, "cancelled")
    await asked.refused(410, "RUN_NOT_ACTIVE", headers=asked.lease())
    await asked.refused(403, "FORBIDDEN")
    assert await api.store.secrets.page("input_secrets.secrets", "", 10) == []


async def test_each_read_is_audited_without_the_values(api, asked):
    await asked.values()
    await asked.refused(403, "FORBIDDEN")
    path = f"/projects/{api.project.slug}/audit?action=run.read_secrets"
    [entry] = (await api.get(path, by="admin"))["data"]
    assert entry["object"] == {"kind": "run", "id": asked.run_id}
    assert entry["change"] == {"before": {}, "after": {"input_request": asked.request["id"]}}
    assert SECRET not in str((await api.get(f"/projects/{api.project.slug}/audit", by="admin"))["data"])


async def test_a_form_without_a_response_has_no_secrets(api):
    asked = await ask(api)
    await asked.refused(409, "SECRETS_NOT_KEPT", headers=asked.lease())
    await api.post(asked.responses, {"values": {**VALUES, "pin": None}}, 201)
    assert await asked.values() == {"password": SECRET}


async def test_without_an_encryption_key_they_are_acknowledged_and_dropped(api):
    use(api)
    asked = await ask(api)
    assert asked.request["keeps_secrets"] is False
    answer = await api.post(asked.responses, {"values": VALUES}, 201)
    assert answer["latest_response"]["withheld"] == ["password", "pin"]
    assert await api.store.secrets.page("input_secrets.secrets", "", 10) == []
    await asked.refused(409, "SECRETS_NOT_KEPT", headers=asked.lease())
    use(api, new_key().encode())
    await asked.refused(409, "SECRETS_NOT_KEPT", headers=asked.lease())


async def test_a_lost_key_is_reported_and_a_new_response_works_again(api, asked):
    use(api, new_key().encode())
    await asked.refused(503, "ENCRYPTION_KEY_MISSING", headers=asked.lease())

"""Unknown credentials are throttled by address, so that none can be guessed."""

import pytest

from runstead.core import limits
from runstead.core.errors import Error, UnknownCredentialError
from runstead.core.identity.project import new_key
from runstead.http.auth.throttle import FailureThrottle
from runstead.ports import metrics

BURST = limits.authentication_failures_max


class Addresses:
    """A throttle with a clock in seconds. `try_` sends a credential from an address and returns the outcome."""

    def __init__(self):
        self.now = 1_000.0
        self.looked_up = 0
        self.throttle = FailureThrottle(lambda: self.now)

    def try_(self, address, credential=b"guess", error=None):
        try:
            with self.throttle.look_up("api_key", credential, address):
                self.looked_up += 1
                if error is not None:
                    raise error
        except Error as refusal:
            return refusal.code
        return "valid"

    def guess(self, address, credential=b"guess"):
        return self.try_(address, credential, UnknownCredentialError("UNAUTHENTICATED", "unknown"))

    def guesses(self, address, count):
        return [self.guess(address, b"guess-%d" % n) for n in range(count)].count("UNAUTHENTICATED")


@pytest.fixture
def addresses():
    return Addresses()


def test_an_address_may_fail_only_so_often(addresses):
    assert addresses.guesses("192.0.2.1", 1_000) == BURST
    assert addresses.looked_up == BURST
    assert addresses.guesses("192.0.2.2", 1) == 1  # other addresses are not affected


def test_tokens_come_back_with_time(addresses):
    addresses.guesses("192.0.2.1", 1_000)
    total = 0
    for _ in range(240):
        addresses.now += 0.25
        total += addresses.guesses("192.0.2.1", 10)
    assert total == 60 * limits.authentication_failures_per_s
    addresses.now += 3_600
    assert addresses.guesses("192.0.2.1", 1_000) == BURST


def test_a_refusal_names_the_time_until_the_next_token(addresses):
    addresses.guesses("192.0.2.1", 1_000)
    with (
        pytest.raises(Error) as caught,
        addresses.throttle.look_up("api_key", b"other", "192.0.2.1"),
    ):
        pass
    assert caught.value.code == "AUTHENTICATION_THROTTLED"
    assert caught.value.retry_after_s == 1
    addresses.now += 1
    assert addresses.try_("192.0.2.1", b"other") == "valid"


def test_a_known_credential_of_a_throttled_address_is_looked_up(addresses):
    """Two callers behind one NAT: the guesses of one do not lock the other out."""
    assert addresses.try_("192.0.2.1", b"mine") == "valid"
    addresses.guesses("192.0.2.1", 1_000)
    assert addresses.try_("192.0.2.1", b"mine") == "valid"
    assert addresses.try_("192.0.2.1", b"new") == "AUTHENTICATION_THROTTLED"


def test_a_valid_an_expired_and_a_deleted_credential_take_no_token(addresses):
    expired = Error("UNAUTHENTICATED", "expired")
    for n in range(10 * BURST):
        assert addresses.try_("192.0.2.1", b"key-%d" % n) == "valid"
        assert addresses.try_("192.0.2.1", b"old-%d" % n, expired) == "UNAUTHENTICATED"
    for n in range(10 * BURST):
        assert addresses.guess("192.0.2.1", b"key-%d" % n) == "UNAUTHENTICATED"
    assert addresses.guesses("192.0.2.1", 1_000) == BURST


def test_a_network_of_ipv6_is_one_address(addresses):
    found = sum(addresses.guesses(f"2001:db8::{n:x}", 1) for n in range(1_000))
    assert found == BURST
    assert addresses.guesses("2001:db8:0:1::1", 1) == 1


def test_a_burst_at_once_is_paid_back(addresses):
    """Guesses that were admitted before the first one failed take tokens too."""
    entered = []
    for n in range(3 * BURST):
        context = addresses.throttle.look_up("api_key", b"%d" % n, "192.0.2.1")
        context.__enter__()
        entered.append(context)
    for context in entered:
        error = UnknownCredentialError("UNAUTHENTICATED", "unknown")
        assert context.__exit__(UnknownCredentialError, error, None) is False
    addresses.now += BURST
    assert addresses.guess("192.0.2.1") == "AUTHENTICATION_THROTTLED"
    addresses.now += 1
    assert addresses.guess("192.0.2.1") == "UNAUTHENTICATED"


def test_the_memory_of_the_throttle_is_bounded(addresses, monkeypatch):
    monkeypatch.setattr(limits, "throttled_addresses_max", 100)
    monkeypatch.setattr(limits, "known_credentials_max", 100)
    addresses.throttle = FailureThrottle(lambda: addresses.now)
    for n in range(1_000):
        addresses.guess(f"10.0.{n // 250}.{n % 250}")
        addresses.try_("192.0.2.1", b"key-%d" % n)
    assert len(addresses.throttle._buckets) == len(addresses.throttle._known) == 100


# Over HTTP. The clock of `api` stands still, so no token comes back.


def failures(credential, reason):
    sample = {"credential": credential, "reason": reason}
    return metrics.registry.get_sample_value("runstead_authentication_failures_total", sample) or 0


def guess_of(kind):
    return {"api_key": new_key(), "worker_token": f"vfw_{new_key()}", "token": f"a.{new_key()}.c"}[kind]


@pytest.mark.parametrize("kind", ["api_key", "worker_token", "token"])
async def test_credentials_cannot_be_guessed(api, kind):
    before = failures(kind, "unknown"), failures(kind, "throttled")
    await api.get("/runs", by="read")
    answers = [await api.send("GET", "/runs", by=guess_of(kind)) for _ in range(BURST + 20)]
    assert [answer.status_code for answer in answers] == [401] * BURST + [429] * 20
    api.problem(answers[-1], 429, "AUTHENTICATION_THROTTLED")
    assert answers[-1].headers["retry-after"] == "1"
    assert (failures(kind, "unknown"), failures(kind, "throttled")) == (before[0] + BURST, before[1] + 20)
    api.clock.advance(3)
    assert (await api.send("GET", "/runs", by="write")).status_code == 200
    assert (await api.send("GET", "/runs", by=guess_of(kind))).status_code == 401


async def test_a_caller_behind_the_same_address_keeps_working(api):
    await api.get("/runs", by="read")
    for _ in range(BURST + 5):
        await api.send("GET", "/runs", by=new_key())
    for _ in range(5):
        api.authenticator.forget()  # as after any change of keys
        await api.get("/runs", by="read")


async def test_tokens_of_triggers_cannot_be_guessed(api):
    body = {"name": "t", "target": "task:count"}
    made = await api.post(f"/projects/{api.project.id}/triggers", body, 201, by="admin")
    path = f"/triggers/{made['token']}"
    await api.post(path, {}, 202, by=None)
    answers = [await api.send("POST", f"/triggers/{new_key()}", {}, by=None) for _ in range(BURST + 20)]
    assert [answer.status_code for answer in answers] == [404] * BURST + [429] * 20
    await api.post(path, {}, 202, by=None)
    await api.get("/healthz", by=None)

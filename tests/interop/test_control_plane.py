"""`veryfront/channels/control-plane`: the SDK accepts the server's signatures, and no others."""

import pytest

SETTINGS = {"RUNSTEAD_ALLOW_PRIVATE_EGRESS": "1"}  # the service is on this machine
ENGINES = ("sqlite",)
REFUSALS = {
    "body": "body hash mismatch",
    "word": "body hash mismatch",
    "audience": "audience mismatch",
    "project": "project mismatch",
    "subject": "subject mismatch",
    "surface": "surface mismatch",
    "key": "signature verification failed",
    "claims": "signature verification failed",
}


@pytest.fixture(scope="module")
def facts(drive):
    return drive("control_plane")


def test_the_sdk_accepts_the_signature_of_a_dispatch(facts, api):
    claims = facts["claims"]
    assert (claims["iss"], claims["aud"], claims["sub"]) == ("veryfront-api", "default", "run-signed")
    assert (claims["project_id"], claims["surface"]) == (api.project_id(), "studio")
    assert 0 < claims["exp"] - claims["iat"] <= 300


def test_the_key_is_among_those_that_the_server_publishes(facts, api):
    keys = {key["kid"]: key["alg"] for key in api.get("/.well-known/jwks.json")["keys"]}
    assert facts["header"]["alg"] == keys[facts["header"]["kid"]] == "EdDSA"


@pytest.mark.parametrize("what", REFUSALS)
def test_the_sdk_refuses_what_the_server_did_not_sign(facts, what):
    assert REFUSALS[what] in facts["refused"][what]

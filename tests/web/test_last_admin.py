"""Users with tokens: their projects, and the last admin of a project."""

import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.server import Server

from .plain_browser import PlainBrowser, refusal

SIGNING = ed25519.Ed25519PrivateKey.generate()


@pytest.fixture
def tokens(tmp_path):
    """A server that accepts tokens of users."""
    public = SIGNING.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    started = Server(tmp_path, tmp_path / "runstead.db", RUNSTEAD_JWT_PUBLIC_KEY=public).start()
    yield started
    started.kill()


def as_user(server, name):
    token = jwt.encode({"sub": name, "exp": int(time.time()) + 600}, SIGNING, "EdDSA")
    return PlainBrowser(server.url, token)


def test_a_user_creates_a_project_and_remains_its_last_admin(tokens):
    page = "/ui/projects/adas/access"
    with as_user(tokens, "ada") as ada:
        flash = ada.flash_after(ada.send("/ui/new-project", "/new-project", {"slug": "adas"}))
        assert flash == "The project adas was created. You are its admin."
        assert "The last admin: add another one first" in ada.page(page)
        # The page has no such form, so the test posts it directly.
        _, ready = ada.form(page, "/members")
        for path, filled in (("members", {"role": "viewer"}), ("members/remove", {})):
            answer = ada.http.post(f"/ui/projects/adas/{path}", data=ready | {"user_id": "ada"} | filled)
            assert answer.status_code == 409
            assert "last admin: add another admin first" in refusal(answer)
        ada.flash_after(ada.send(page, "/members", {"user_id": "bob", "role": "admin"}))
        left = ada.send(page, "/members/remove", user_id="ada")
        assert left.headers["location"] == "/ui"
        assert ada.get(page).status_code == 404
    with as_user(tokens, "bob") as bob:
        assert "The last admin" in bob.page(page)

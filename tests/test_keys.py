"""Keys: what they look like, what is kept of them, and when a service wants one."""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cvpipe.errors import Forbidden, InvalidRequest
from cvpipe.keys import ANYBODY, ApiKey, Credential, Identity, KeyRequest, keys_are_needed, new_key
from cvpipe.scopes import Scope
from cvpipe.settings import Settings


def make_key(**changes: Any) -> ApiKey:
    return ApiKey(**{"id": "0" * 12, "name": "n", "tenant": "t", "scopes": ["read"], "created_at": 100.0} | changes)


def test_a_key_has_an_id_that_is_no_secret_and_256_random_bits() -> None:
    made, other = new_key(), new_key()
    assert re.fullmatch(r"cvp_[0-9a-f]{12}_[0-9a-f]{64}", made.text)
    assert made.text.split("_")[1] == made.id
    assert made.id != other.id
    assert made.text[-64:] != other.text[-64:]


def test_of_its_secret_only_the_sha256_is_kept() -> None:
    made = new_key()
    secret = made.text[-64:]
    assert made.digest == hashlib.sha256(secret.encode()).hexdigest()
    credential = Credential.parse(made.text)
    assert credential is not None
    assert credential.matches(made.digest)
    assert not credential.matches(new_key().digest)
    assert secret not in repr(credential)


@pytest.mark.parametrize(
    "text",
    ["", "cvp_", "cvp_" + "0" * 12, f"cvp_{'0' * 12}_{'0' * 63}", f"cvp_{'0' * 12}_{'0' * 64}\n",
     f"CVP_{'0' * 12}_{'0' * 64}", f"cvp_{'0' * 12}_{'G' * 64}", "Bearer x", "é"],
)  # fmt: skip
def test_what_is_no_key_is_told_from_one(text: str) -> None:
    assert Credential.parse(text) is None


def test_a_key_is_good_until_it_expires_or_is_revoked() -> None:
    make_key().check(1e12)
    make_key(expires_at=200.0).check(199.9)
    with pytest.raises(ValueError, match="has expired"):
        make_key(expires_at=200.0).check(200.0)
    with pytest.raises(ValueError, match="was revoked"):
        make_key(revoked_at=150.0).check(140.0)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_may_do_what_its_scopes_say_and_an_administrator_everything(scope: Scope) -> None:
    Identity("t", frozenset({scope})).check([scope])
    Identity("t", frozenset({Scope.admin})).check([scope])
    ANYBODY.check([scope])
    others = frozenset(set(Scope) - {scope, Scope.admin})
    with pytest.raises(Forbidden, match=f"a key with the scope `{scope}`"):
        Identity("t", others).check([scope])


def test_a_key_that_is_asked_for_without_more_may_submit_and_read_as_the_default_tenant() -> None:
    request = KeyRequest(name="camera")
    assert (request.tenant, request.scopes) == ("default", {Scope.submit, Scope.read})


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"tenant": "../x"}, {"tenant": "A"}, {"scopes": []}, {"scopes": ["root"]}, {"expires_in_seconds": 0},
     {"expires_in_seconds": float("inf")}, {"secret": "mine"}, {"expires_in_seconds": True},
     {"quotas": {"open_jobs": True}}, {"quotas": {"stored_bytes": "1"}}],
    ids=str,
)  # fmt: skip
def test_a_key_that_can_not_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KeyRequest.model_validate({"name": "camera"} | wrong)


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "127.0.0.9", "public_url": "http://localhost:9000"}, False),
        ({"auth": "none"}, False),
        ({"auth": "keys"}, True),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": ""}, True),
        ({"host": "192.168.1.5"}, True),
        ({"host": "example.com"}, True),
        ({"public_url": "https://video.example.com"}, True),
    ],
    ids=str,
)
def test_keys_are_needed_wherever_others_could_reach_the_service(settings: dict[str, Any], needed: bool) -> None:
    assert keys_are_needed(Settings(data_dir=Path("/x"), **settings)) is needed


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"host": "0.0.0.0"}, "it listens on 0.0.0.0, which others reach"),
        ({"host": ""}, "it listens on all addresses"),
        ({"public_url": "https://video.example.com"}, "CVPIPE_PUBLIC_URL says that others reach it"),
    ],
    ids=str,
)
def test_a_service_that_others_reach_does_not_run_without_keys(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequest, match=why) as raised:
        keys_are_needed(Settings(data_dir=Path("/x"), auth="none", **settings))
    assert "set CVPIPE_AUTH=keys, or listen on 127.0.0.1" in raised.value.message

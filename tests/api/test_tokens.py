"""Tokens of an identity provider: which are taken, for whom, and where the provider's keys come from."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from cvpipe.api import create_app, tokens
from cvpipe.api.tokens import KeySet, Tokens, parse_keys
from cvpipe.cli import doctor
from cvpipe.errors import Forbidden, InvalidRequest, Unauthenticated, Unavailable
from cvpipe.keys import Identity
from cvpipe.quotas import Quotas
from cvpipe.scopes import Scope
from cvpipe.settings import Settings
from tests.api.conftest import Service
from tests.api.test_identity import PROVIDER, House, guarded, house
from tests.providers import AUDIENCE, Provider, encoded
from tests.receivers import Asked, Said, receiving

__all__ = ["guarded", "house"]  # fixtures


def make_settings(provider: Provider = PROVIDER, **changes: Any) -> Settings:
    return Settings(**{"oidc_issuer": provider.issuer, "oidc_audience": AUDIENCE, **changes})


def make_tokens(provider: Provider = PROVIDER, again_seconds: float = 60, **changes: Any) -> Tokens:
    return Tokens(make_settings(provider, **changes), lambda: parse_keys(provider.jwks()), again_seconds=again_seconds)


def holder(reader: Tokens, token: str) -> Identity:
    return asyncio.run(reader.holder(token))


# --- which are taken


@pytest.mark.parametrize("algorithm", tokens.ALGORITHMS)
def test_a_token_is_taken_with_each_algorithm(algorithm: str, house: House) -> None:
    with house.client(PROVIDER.token(algorithm, scope="cvpipe:read cvpipe:submit")) as api:
        video = api.put("/v1/videos", content=b"a video of ada")
        assert video.status_code == 201
        assert api.get(f"/v1/videos/{video.json()['id']}").status_code == 200
        assert api.get("/v1/keys").json()["detail"] == (
            "this needs a token with the scope `admin`; the token has: read, submit"
        )
        house.store.video(f"mine/{video.json()['id']}")  # it is the tenant's that the token names


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"exp": -60}, "the token has expired; get another", id="old"),
        pytest.param({"nbf": 600}, "the token is not good yet", id="young"),
        pytest.param({"aud": "another"}, "the token was made for another audience", id="audience"),
        pytest.param({"aud": ["another", "third"]}, "the token was made for another audience", id="audiences"),
        pytest.param({"iss": "https://login.example.com/it/"}, "the token is from another issuer", id="issuer"),
        pytest.param({"exp": None}, "the token lacks one of the claims exp, iss, aud and sub", id="no end"),
        pytest.param({"aud": None}, "the token lacks one of the claims exp, iss, aud and sub", id="no audience"),
        pytest.param({"sub": None}, "the token lacks one of the claims exp, iss, aud and sub", id="no subject"),
        pytest.param({"exp": "soon"}, "the token is not good", id="no number"),
    ],
)
def test_a_token_that_is_not_good_is_told_why(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        holder(make_tokens(), PROVIDER.token(**from_now(changes)))
    assert str(caught.value) == why


def from_now(changes: dict[str, Any]) -> dict[str, Any]:
    """Claims with times in seconds from now."""
    return {name: value + int(time.time()) if isinstance(value, int) else value for name, value in changes.items()}


@pytest.mark.parametrize("changes", [{"exp": 5000, "nbf": 0}, {"aud": ["x", AUDIENCE]}], ids=str)
def test_a_good_token_is_taken(changes: dict[str, Any]) -> None:
    assert holder(make_tokens(), PROVIDER.token(**from_now(changes))).scopes == {Scope.read}


def test_clocks_may_be_half_a_minute_apart() -> None:
    now = int(time.time())
    assert holder(make_tokens(), PROVIDER.token(exp=now - 10, nbf=now + 20, iat=now + 20))
    with pytest.raises(Unauthenticated, match="expired"):
        holder(make_tokens(), PROVIDER.token(exp=now - 40))


@pytest.mark.parametrize(
    ("token", "why"),
    [
        pytest.param(PROVIDER.unsigned(), "not signed by one of RS256, ES256, EdDSA", id="none"),
        pytest.param(PROVIDER.confused(), "not signed by one of RS256, ES256, EdDSA", id="a shared secret"),
        pytest.param(
            PROVIDER.token("RS256", header={"kid": PROVIDER.key_id("ES256")}),
            "another algorithm than its key is for", id="another key's id",
        ),
        pytest.param(PROVIDER.token(header={"crit": ["exp"], "exp": 1}), "neither an API key", id="a critical header"),
        pytest.param("a.b.c", "neither an API key", id="no JSON"),
        pytest.param("a.b", "neither an API key", id="two parts"),
        pytest.param(f"{encoded(b'[]')}.{encoded(b'{}')}.", "neither an API key", id="a list"),
        pytest.param("\x00", "neither an API key", id="a control character"),
        pytest.param("x" * 20_000, "longer than 16384 characters", id="too long"),
        pytest.param(PROVIDER.token(header={"kid": "shared"}), "does not show", id="the id of a shared secret"),
    ],
)  # fmt: skip
def test_what_is_no_token_of_the_provider_is_refused(token: str, why: str) -> None:
    with pytest.raises(Unauthenticated, match=why):
        holder(make_tokens(), token)


def test_neither_logs_nor_answers_tell_a_token(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for who, token in {**PROVIDER.bad(), "good": PROVIDER.token()}.items():
        with house.client(token) as api:
            told = api.get("/v1/keys").text + caplog.text
        assert not any(part in told for part in token.split(".") if len(part) > 8), who


def test_an_api_key_is_not_looked_for_among_tokens(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Tokens, "holder", lambda _self, token: asked.append(token))
    with house.client(house.key(Scope.read)) as api:
        assert api.get("/v1/jobs").status_code == 200
    with house.client("cvp_nonsense") as api:
        assert "is no API key" in api.get("/v1/jobs").json()["detail"]
    assert asked == []


# --- whose, and for what


@pytest.mark.parametrize(
    ("settings", "claims", "tenant", "scopes"),
    [
        pytest.param({}, {}, "default", {"read"}, id="as it is"),
        pytest.param({}, {"scope": "read admin"}, "default", set(), id="bare words are another service's"),
        pytest.param({}, {"scope": ["cvpipe:admin"]}, "default", {"admin"}, id="a list"),
        pytest.param({}, {"scope": {"cvpipe:admin": 1}}, "default", set(), id="no list"),
        pytest.param({"oidc_tenant_claim": "tenant"}, {}, "mine", {"read"}, id="a tenant"),
        pytest.param(
            {"oidc_scope_claim": "realm_access.roles", "oidc_scopes": "eye=read eye=submit boss=admin"},
            {"realm_access": {"roles": ["eye", "other"]}}, "default", {"read", "submit"}, id="roles of a realm",
        ),
        pytest.param(
            {"oidc_scope_claim": "https://example.com/roles", "oidc_scopes": "a=b=read"},
            {"https://example.com/roles": ["a=b"]}, "default", {"read"}, id="a name with dots",
        ),
    ],
)  # fmt: skip
def test_claims_say_the_tenant_and_the_scopes(
    settings: dict[str, Any], claims: dict[str, Any], tenant: str, scopes: set[str]
) -> None:
    found = holder(make_tokens(**settings), PROVIDER.token(**claims))
    assert (found.tenant, found.scopes) == (tenant, scopes)


@pytest.mark.parametrize("tenant", [None, "", "UPPER", "a/b", "..", 7, ["mine"]], ids=str)
def test_a_token_without_a_tenant_is_nobodys(tenant: Any) -> None:
    with pytest.raises(Forbidden, match="its claim `tenant` is missing, or no tenant's name"):
        holder(make_tokens(oidc_tenant_claim="tenant"), PROVIDER.token(tenant=tenant))


def test_each_subject_has_its_own_quotas() -> None:
    reader = make_tokens(oidc_quotas="open_jobs=2 requests_per_minute=60")
    ada, again, bob = (holder(reader, PROVIDER.token(sub=sub)) for sub in ("ada", "ada", "bob"))
    assert ada.quotas == Quotas(open_jobs=2, requests_per_minute=60)
    assert ada.key == again.key != bob.key
    assert "ada" not in str(ada.key)


def test_requests_of_a_subject_are_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = Service(house.service.settings.model_copy(update={"oidc_quotas": "requests_per_minute=2"}))
    limited.start()
    try:
        answers = []
        for _ in range(3):
            headers = {"authorization": f"Bearer {PROVIDER.token()}"}
            answers.append(httpx.get(f"{limited.url}/v1/jobs", headers=headers, trust_env=False))
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    finally:
        limited.stop()


# --- where the keys come from


class Shelf:
    """Keys that are counted when they are read."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.reads = 0
        self.is_open = True

    def __call__(self) -> KeySet:
        self.reads += 1
        if not self.is_open:
            raise Unavailable("closed")
        return parse_keys(self.provider.jwks())


def test_keys_are_read_once_and_again_for_one_that_is_new() -> None:
    provider = Provider()
    shelf = Shelf(provider)
    reader = Tokens(make_settings(provider), shelf, again_seconds=0)
    old = provider.token()
    for _ in range(3):
        holder(reader, old)
    assert shelf.reads == 1
    provider.rotate()
    assert holder(reader, provider.token())
    assert shelf.reads == 2
    with pytest.raises(Unauthenticated, match="does not show"):
        holder(reader, old)


def test_strangers_tokens_do_not_have_the_provider_called() -> None:
    shelf = Shelf(PROVIDER)
    reader = Tokens(make_settings(), shelf, again_seconds=3600)
    for number in range(20):
        with pytest.raises(Unauthenticated):
            holder(reader, PROVIDER.token(header={"kid": f"made-up-{number}"}))
    assert shelf.reads == 1
    assert holder(reader, PROVIDER.token())


def test_keys_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider()
    shelf = Shelf(provider)
    reader = Tokens(make_settings(provider), shelf, again_seconds=0)
    taken_back = provider.token()
    holder(reader, taken_back)
    monkeypatch.setattr(tokens, "_KEEP_SECONDS", 0)
    provider.rotate()
    with pytest.raises(Unauthenticated, match="does not show"):
        holder(reader, taken_back)


def test_a_provider_that_is_away_stops_nobody_whose_key_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(PROVIDER)
    reader = Tokens(make_settings(), shelf, again_seconds=0)
    shelf.is_open = False
    with pytest.raises(Unavailable, match="can't be had"):
        holder(reader, PROVIDER.token())
    shelf.is_open = True
    holder(reader, PROVIDER.token())
    shelf.is_open = False
    monkeypatch.setattr(tokens, "_KEEP_SECONDS", 0)
    assert holder(reader, PROVIDER.token())


@pytest.fixture
def login() -> Iterator[Provider]:
    """A provider on this machine; `about` is what it says of itself."""
    provider = Provider()
    provider.about = {}  # type: ignore[attr-defined]

    def answer(asked: Asked) -> Said:
        if asked.path == "/it/.well-known/openid-configuration":
            return Said(body=json.dumps(provider.about).encode())  # type: ignore[attr-defined]
        return Said(body=provider.jwks()) if asked.path == "/keys" else Said(status=404)

    with receiving(answer) as server:
        provider.issuer = f"{server.url.rstrip('/')}/it"
        provider.about = {"issuer": provider.issuer, "jwks_uri": f"{server.url.rstrip('/')}/keys"}  # type: ignore[attr-defined]
        yield provider


def test_keys_are_fetched_from_the_provider(login: Provider) -> None:
    reader = Tokens.of(make_settings(login, outside_loopback=True))
    assert reader is not None
    assert holder(reader, login.token()).scopes == {Scope.read}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"issuer": "https://evil.example.com"}, "it says that it is 'https://evil.example.com'"),
        ({"jwks_uri": None}, "does not answer as an OpenID Connect provider"),
        ({"jwks_uri": "file:///etc/passwd"}, "http"),
    ],
    ids=str,
)
def test_a_provider_that_says_something_else_is_not_believed(
    changes: dict[str, Any], why: str, login: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    login.about |= changes  # type: ignore[attr-defined]
    reader = Tokens.of(make_settings(login, outside_loopback=True))
    assert reader is not None
    with pytest.raises(Unavailable):
        holder(reader, login.token())
    assert why in caplog.text


def test_the_provider_is_called_by_the_guarded_client_alone(login: Provider, caplog: pytest.LogCaptureFixture) -> None:
    reader = Tokens.of(make_settings(login, outside_loopback=False))
    assert reader is not None
    with pytest.raises(Unavailable):
        holder(reader, login.token())
    assert "127.0.0.1 is" in caplog.text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        (b"{", "it is no JWKS"),
        (b'{"keys": 3}', "it is no JWKS"),
        (b'{"keys": [3]}', "it is no JWKS"),
        (b'{"keys": []}', "it has no key for RS256, ES256, EdDSA"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "s"}]}', "it has no key for RS256, ES256, EdDSA"),
    ],
    ids=str,
)
def test_a_file_of_keys_that_is_none_is_told_at_the_start(content: bytes | None, why: str, tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    if content is not None:
        path.write_bytes(content)
    settings = make_settings(oidc_jwks=path, data_dir=tmp_path)
    with pytest.raises(InvalidRequest, match=why):
        Tokens.of(settings)
    found = doctor.look(doctor.check_auth, settings)
    assert (found.state, why in found.detail) == ("problem", True)


def test_a_weak_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_MIN_RSA_BITS", 2049)
    assert PROVIDER.key_id("RS256") not in parse_keys(PROVIDER.jwks())


def test_a_private_key_that_was_put_there_by_mistake_does_no_harm() -> None:
    shown = json.loads(jwt.get_algorithm_by_name("ES256").to_jwk(PROVIDER.private["ES256"]))
    assert "d" in shown
    keys = parse_keys(json.dumps({"keys": [shown]}).encode())
    reader = Tokens(make_settings(), lambda: keys)
    assert holder(reader, jwt.encode(PROVIDER.claims(), PROVIDER.private["ES256"], "ES256"))  # it has no id


# --- settings


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"oidc_audience": None}, "CVPIPE_OIDC_ISSUER needs CVPIPE_OIDC_AUDIENCE"),
        ({"oidc_issuer": None}, "need CVPIPE_OIDC_ISSUER"),
        ({"oidc_issuer": "http://login.example.com"}, "wanted https://"),
        ({"oidc_issuer": "https://login.example.com/?a=b"}, "an address of a host and perhaps a path"),
        ({"oidc_scopes": "boss=king"}, "wanted WORD=SCOPE, the scope one of submit, read"),
        ({"oidc_quotas": "jobs=3"}, "there is no quota 'jobs'"),
        ({"oidc_quotas": "open_jobs=many"}, "open_jobs: must be a number"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make_settings(**changes)


def test_a_service_with_a_provider_wants_keys_or_tokens(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="CVPIPE_OIDC_ISSUER says who is let in"):
        create_app(make_settings(data_dir=tmp_path, auth="none"))


def test_the_doctor_says_whether_tokens_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(PROVIDER.jwks())
    look: Callable[[Settings], str] = lambda settings: doctor.look(doctor.check_auth, settings).detail  # noqa: E731
    assert look(make_settings(oidc_jwks=path)).endswith(
        f"requests need a key, or a token of {PROVIDER.issuer} (3 public keys)"
    )
    assert look(Settings(auth="keys")).endswith("requests need a key; no tokens are taken")

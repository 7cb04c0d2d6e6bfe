"""Keys in the store: made, looked up, used, revoked."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cvpipe.errors import NotFound
from cvpipe.keys import Credential, KeyRequest
from cvpipe.scopes import Scope
from cvpipe.store import Store, make_first_key


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store.connect(redis_url)
    yield store
    store.close()


def test_a_key_that_was_made_is_found_by_its_id_with_the_digest_of_its_secret(store: Store) -> None:
    request = KeyRequest(name="camera", tenant="site-3", scopes=frozenset({Scope.read}), expires_in_seconds=60)
    made, text = store.make_key(request)
    credential = Credential.parse(text)
    assert credential is not None
    key, digest = store.key(credential.id)
    assert key == made
    assert (key.name, key.tenant, key.scopes) == ("camera", "site-3", [Scope.read])
    assert key.expires_at == pytest.approx(key.created_at + 60)
    assert credential.matches(digest)


def test_no_secret_is_in_the_store(store: Store) -> None:
    _, text = store.make_key(KeyRequest(name="camera"))
    hashes = [store.client.hgetall(key) for key in store.client.keys("cvpipe:key:*")]  # type: ignore[union-attr]
    everything = b"".join(part for fields in hashes for pair in fields.items() for part in pair)  # type: ignore[union-attr]
    assert b"camera" in everything
    assert text[-64:].encode() not in everything


def test_a_revoked_key_stays_listed_and_a_second_time_changes_nothing(store: Store) -> None:
    first, _ = store.make_key(KeyRequest(name="a"))
    time.sleep(0.002)
    second, _ = store.make_key(KeyRequest(name="b"))
    revoked = store.revoke_key(first.id)
    assert revoked.revoked_at == pytest.approx(time.time(), abs=60)
    assert store.revoke_key(first.id) == revoked
    assert store.keys() == [revoked, second]
    with pytest.raises(NotFound, match="there is no key 'ffffffffffff'"):
        store.revoke_key("ffffffffffff")
    with pytest.raises(NotFound):
        store.key("ffffffffffff")


def test_the_last_use_is_noted_to_the_minute(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = store.make_key(KeyRequest(name="a"))
    monkeypatch.setattr("cvpipe.store.keys.time.time", lambda: 1_000_000_019.5)
    store.note_use(made)
    used = store.key(made.id)[0]
    assert used.last_used_at == 999_999_960
    store.client.hset(f"cvpipe:key:{made.id}", "used_at", 999_999_961)
    store.note_use(used)  # within the minute: nothing is written
    assert store.key(made.id)[0].last_used_at == 999_999_961


def test_only_the_first_start_makes_an_administrators_key_whoever_else_starts_at_the_same_time(redis_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [key for key in pool.map(make_first_key, [redis_url] * 8) if key is not None]
    assert len(made) == 1
    store = Store.connect(redis_url)
    (key,) = store.keys()
    assert (key.tenant, key.scopes) == ("default", [Scope.admin])
    store.revoke_key(key.id)
    store.close()
    assert make_first_key(redis_url) is None

from __future__ import annotations

from pathlib import Path

import pytest

from cvpipe.errors import InvalidRequest, OutsideUnavailable
from cvpipe.outside import Answer, Caller, Outside, Rules, with_cassette
from tests.receivers import Asked, Said, receiving

HERE = Outside(Rules(loopback=True))


def post(way: Caller, url: str, body: bytes) -> Answer:
    headers = {"authorization": "Bearer sk-123"}
    return way.call("POST", url, headers=headers, body=body, timeout_seconds=60, max_answer_bytes=1000)


def echo(request: Asked) -> Said:
    return Said(200, request.body[::-1], {"content-type": "text/plain", "set-cookie": "a=b"})


def test_what_was_recorded_is_answered_again_and_nobody_is_called(tmp_path: Path) -> None:
    cassette = tmp_path / "answers.ndjson"
    with receiving(echo) as receiver:
        recording = with_cassette(HERE, f"record:{cassette}")
        said = [post(recording, receiver.url, body) for body in (b"one", b"two")]
    replaying = with_cassette(HERE, f"replay:{cassette}")  # the server is gone
    again = [post(replaying, receiver.url, body) for body in (b"one", b"two")]
    assert [(a.status, a.body) for a in again] == [(a.status, a.body) for a in said] == [(200, b"eno"), (200, b"owt")]


def test_a_request_that_was_not_recorded_has_no_answer(tmp_path: Path) -> None:
    cassette = tmp_path / "answers.ndjson"
    with receiving(echo) as receiver:
        post(with_cassette(HERE, f"record:{cassette}"), receiver.url, b"one")
    for url, body in ((receiver.url, b"three"), (f"{receiver.url}/else", b"one")):
        with pytest.raises(OutsideUnavailable, match="the cassette has no answer to this request; record it again"):
            post(with_cassette(HERE, f"replay:{cassette}"), url, body)


def test_neither_secrets_nor_what_was_sent_nor_cookies_are_in_a_cassette(tmp_path: Path) -> None:
    cassette = tmp_path / "answers.ndjson"
    with receiving(echo) as receiver:
        post(with_cassette(HERE, f"record:{cassette}"), receiver.url, b"a face")
    text = cassette.read_text()
    assert not any(word in text for word in ("sk-123", "a face", "authorization", "cookie", "a=b"))


def test_without_a_cassette_the_way_is_as_it_was() -> None:
    assert with_cassette(HERE, None) is HERE


@pytest.mark.parametrize(
    ("content", "words"), [(None, "can't be read"), ("[1]", "is no cassette"), ("x", "is no cassette")]
)
def test_what_is_no_cassette_is_told(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "answers.ndjson"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidRequest, match=words):
        with_cassette(HERE, f"replay:{path}")

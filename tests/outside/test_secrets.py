from __future__ import annotations

from pathlib import Path

import pytest

from cvpipe.errors import AddressRefused, InvalidRequest
from cvpipe.outside import Secrets

GOOD = """
models: {server: 'https://models.example.com', value: Bearer sk-123}
other: {server: 'http://10.0.0.1:8443', header: X-Api-Key, value: k}
"""


def read(tmp_path: Path, text: str) -> Secrets:
    (tmp_path / "secrets.yaml").write_text(text)
    return Secrets.read(tmp_path / "secrets.yaml")


def test_a_secret_is_a_header_to_its_own_server(tmp_path: Path) -> None:
    secrets = read(tmp_path, GOOD)
    assert secrets.headers("models", "https://models.example.com/v1/chat") == {"authorization": "Bearer sk-123"}
    assert secrets.headers("other", "http://10.0.0.1:8443/") == {"x-api-key": "k"}
    assert secrets.headers(None, "https://anywhere.example/") == {}


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example.com/",
        "https://models.example.com:8443/",
        "https://models.example.com.evil.example/",
        "https://evil.example/models.example.com",
    ],
)
def test_no_other_server_gets_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(AddressRefused, match="is for another server"):
        read(tmp_path, GOOD).headers("models", url)


def test_a_secret_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="there is no secret 'nobody'; the operator keeps them in"):
        read(tmp_path, GOOD).headers("nobody", "https://models.example.com/")


def test_nothing_of_it_is_in_what_is_printed(tmp_path: Path) -> None:
    secrets = read(tmp_path, GOOD)
    assert "sk-123" not in repr(secrets) + repr(vars(secrets))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: sk-123", "models"),
        ("models: {value: sk-123}", "models.server is missing"),
        ("models: {server: 'https://a.example', value: sk-123, extra: 1}", "models.extra"),
        ("models: {server: 'https://a.example', value: \"sk-123\\nx: y\"}", "a header can't carry this"),
        ("models: {server: 'https://a.example', value: sk-123, header: host}", "a header can't carry this"),
        ("{", "is not YAML"),
    ],
)
def test_a_file_that_can_not_be_is_refused_without_a_word_of_its_values(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match="CVPIPE_OUTSIDE_SECRETS") as refused:
        read(tmp_path, text)
    assert words in str(refused.value)
    assert "sk-123" not in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="can't be read: No such file"):
        Secrets.read(tmp_path / "nothing.yaml")

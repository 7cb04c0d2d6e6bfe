from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from cvpipe import webhooks
from cvpipe.errors import AddressRefused, InvalidRequest, InvalidWebhook, OutsideUnavailable
from cvpipe.outside import Answer, Outside, Rules, Target
from cvpipe.webhooks import Outcome, backoff_seconds, deliver, new_secret, secret_bytes, sign, verify_webhook

# The example of the specification (secret, id, time and body) and the signature that it gives.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1_614_265_330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HERE = Outside(Rules(loopback=True))
HEADERS = {"webhook-id": MESSAGE_ID, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}


def test_the_known_example_has_the_known_signature() -> None:
    assert sign(SECRET, MESSAGE_ID, AT + 0.9, BODY) == HEADERS


def test_the_known_example_verifies() -> None:
    assert verify_webhook(BODY, HEADERS, SECRET, now=AT) == {"test": 2432232314}


@given(st.binary(min_size=24, max_size=64), st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
def test_the_reference_package_accepts_what_we_sign_and_we_accept_what_it_signs(
    key: bytes, data: dict[str, str]
) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    body = json.dumps(data)
    theirs = standardwebhooks.Webhook(secret)
    now = time.time()
    assert theirs.verify(body, sign(secret, "msg_1", now, body.encode())) == data
    signature = theirs.sign("msg_1", datetime.fromtimestamp(int(now), UTC), body)
    headers = {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(int(now)), "Webhook-Signature": signature}
    assert verify_webhook(body, headers, secret) == data


def test_a_plain_secret_is_its_own_key() -> None:
    secret = "a plain secret, not base64"
    theirs = standardwebhooks.Webhook(secret.encode())
    signature = theirs.sign("msg_1", datetime.fromtimestamp(AT, UTC), BODY.decode())
    assert sign(secret, "msg_1", AT, BODY)["webhook-signature"] == signature


def test_base64_without_its_padding_is_the_same_secret() -> None:
    assert secret_bytes("whsec_c2VjcmV0IQ") == secret_bytes("whsec_c2VjcmV0IQ==") == b"secret!"


def test_new_secrets_have_32_random_bytes() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(secret_bytes(first)) == 32


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "whsec_a", "whsec_ü"])
def test_a_secret_that_can_not_be_one_is_refused(secret: str) -> None:
    with pytest.raises(InvalidRequest, match="a webhook secret"):
        sign(secret, MESSAGE_ID, AT, BODY)


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\nwebhook-id: b", "ü"])
def test_a_message_id_that_would_blur_what_is_signed_is_refused(message_id: str) -> None:
    with pytest.raises(InvalidRequest, match="a message id is"):
        sign(SECRET, message_id, AT, BODY)


def _header(name: str, value: str | None) -> dict[str, str]:
    changed = {**HEADERS, name: value}
    return {key: held for key, held in changed.items() if held is not None}


@pytest.mark.parametrize(
    ("headers", "body", "secret", "words"),
    [
        pytest.param(HEADERS, BODY + b" ", SECRET, "no signature matches", id="altered body"),
        pytest.param(HEADERS, BODY, new_secret(), "no signature matches", id="another secret"),
        pytest.param(_header("webhook-id", "msg_2"), BODY, SECRET, "no signature matches", id="another id"),
        pytest.param(
            _header("webhook-timestamp", str(AT + 1)), BODY, SECRET, "no signature matches", id="another time"
        ),
        pytest.param(_header("webhook-signature", "v1," + "A" * 43 + "="), BODY, SECRET, "no signature", id="forged"),
        pytest.param(_header("webhook-signature", SIGNATURE[:-4]), BODY, SECRET, "no signature", id="cut short"),
        pytest.param(_header("webhook-signature", "v1a" + SIGNATURE[2:]), BODY, SECRET, "no signature", id="v1a"),
        pytest.param(_header("webhook-signature", "v1,ü v1 ,,"), BODY, SECRET, "no signature", id="garbage"),
        pytest.param(_header("webhook-id", None), BODY, SECRET, "header missing: webhook-id", id="no id"),
        pytest.param(_header("webhook-signature", ""), BODY, SECRET, "header missing: webhook-signature", id="empty"),
        pytest.param({}, BODY, SECRET, "missing: webhook-id, webhook-timestamp, webhook-signature", id="no headers"),
        pytest.param(_header("webhook-timestamp", "1.5e9"), BODY, SECRET, "wanted seconds since", id="no whole number"),
        pytest.param(_header("webhook-timestamp", "-5"), BODY, SECRET, "wanted seconds since", id="before the epoch"),
        pytest.param(_header("webhook-timestamp", "9" * 5000), BODY, SECRET, "wanted seconds since", id="huge"),
        pytest.param(_header("webhook-id", "a.b"), BODY, SECRET, "full stop", id="an id with a full stop"),
    ],
)
def test_what_does_not_verify_is_refused_with_its_reason(
    headers: dict[str, str], body: bytes, secret: str, words: str
) -> None:
    with pytest.raises(InvalidWebhook, match=words):
        verify_webhook(body, headers, secret, now=AT)


@pytest.mark.parametrize(
    ("now", "words"), [(AT + 301, "sent 301 s ago; more than 300 s is refused"), (AT - 301, "301 s in the future")]
)
def test_a_message_from_too_long_ago_or_ahead_is_refused(now: float, words: str) -> None:
    with pytest.raises(InvalidWebhook, match=words):
        verify_webhook(BODY, HEADERS, SECRET, now=now)


@pytest.mark.parametrize("now", [AT + 300, AT - 300])
def test_five_minutes_either_way_are_tolerated(now: float) -> None:
    assert verify_webhook(BODY, HEADERS, SECRET, now=now)


def test_the_tolerance_can_be_set() -> None:
    assert verify_webhook(BODY, HEADERS, SECRET, now=AT + 3600, tolerance_seconds=7200)
    with pytest.raises(InvalidWebhook, match="more than 10 s"):
        verify_webhook(BODY, HEADERS, SECRET, now=AT + 11, tolerance_seconds=10)


def test_the_clock_is_looked_at_where_no_time_is_given() -> None:
    assert verify_webhook(BODY, sign(SECRET, "msg_1", time.time(), BODY), SECRET)
    with pytest.raises(InvalidWebhook, match="ago"):
        verify_webhook(BODY, HEADERS, SECRET)


def test_one_right_signature_among_several_is_enough() -> None:
    old = sign(new_secret(), MESSAGE_ID, AT, BODY)["webhook-signature"]
    headers = _header("webhook-signature", f"v1a,abc= {old} v2,?? {SIGNATURE}")
    assert verify_webhook(BODY, headers, SECRET, now=AT)


def test_header_names_come_in_any_case_and_from_any_mapping() -> None:
    assert verify_webhook(BODY, {name.title(): value for name, value in HEADERS.items()}, SECRET, now=AT)
    assert verify_webhook(BODY, httpx.Headers(HEADERS), SECRET, now=AT)


@pytest.mark.parametrize(
    ("body", "words"), [(b"[1]", "a JSON list, not an object"), (b"\xff{", "the body is not JSON")]
)
def test_a_signed_body_that_is_no_message_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(InvalidWebhook, match=words):
        verify_webhook(body, sign(SECRET, MESSAGE_ID, AT, body), SECRET, now=AT)


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = webhooks.hmac.compare_digest
    monkeypatch.setattr(webhooks.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    verify_webhook(BODY, _header("webhook-signature", f"{SIGNATURE} {SIGNATURE}"), SECRET, now=AT)
    assert len(compared) == 2


# --- delivery


class Answering:
    """Stands for the way out: what it is asked for is answered by a function, or raised."""

    def __init__(self, answer: Callable[[bytes, Mapping[str, str]], Answer]) -> None:
        self._answer = answer

    def check(self, url: str) -> Target:
        return Target.parse(url)

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout_seconds: float,
        max_answer_bytes: int,
    ) -> Answer:
        assert (method, url, max_answer_bytes) == ("POST", "http://receiver.test/hook", 65536)
        return self._answer(body, headers)


def answered(status: int, reason: str, **headers: str) -> Answer:
    return Answer(status, reason, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def delivered_to(answer: Callable[[bytes, Mapping[str, str]], Answer], secret: str | list[str] = SECRET) -> Outcome:
    return deliver(Answering(answer), "http://receiver.test/hook", secret, "msg_1", BODY)


def test_a_delivery_carries_a_body_that_verifies() -> None:
    got: list[dict[str, Any]] = []

    def answer(body: bytes, headers: Mapping[str, str]) -> Answer:
        got.append(verify_webhook(body, headers, SECRET))
        assert headers["content-type"] == "application/json"
        assert headers["webhook-id"] == "msg_1"
        return answered(204, "No Content")

    assert delivered_to(answer) == Outcome(delivered=True, status=204)
    assert got == [{"test": 2432232314}]


def test_a_delivery_signed_with_two_secrets_verifies_with_either() -> None:
    old, new = new_secret(), new_secret()

    def answer(body: bytes, headers: Mapping[str, str]) -> Answer:
        for secret in (old, new):
            assert verify_webhook(body, headers, secret) == standardwebhooks.Webhook(secret).verify(body, dict(headers))
        with pytest.raises(InvalidWebhook):
            verify_webhook(body, headers, new_secret())
        return answered(204, "No Content")

    assert delivered_to(answer, [new, old]).delivered
    assert delivered_to(answer, f"{new} {old} {new}").delivered


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (answered(200, "OK"), Outcome(delivered=True, status=200)),
        (answered(299, ""), Outcome(delivered=True, status=299)),
        (answered(500, "Server Error"), Outcome(delivered=False, status=500, error="HTTP 500 Server Error")),
        (answered(404, "Not Found"), Outcome(delivered=False, status=404, error="HTTP 404 Not Found")),
        (answered(410, "Gone"), Outcome(delivered=False, status=410, error="HTTP 410 Gone", give_up=True)),
        (
            answered(429, "Slow", retry_after="7"),
            Outcome(delivered=False, status=429, error="HTTP 429 Slow", retry_after_seconds=7),
        ),
        (
            answered(503, "Later", retry_after="99999999999"),
            Outcome(delivered=False, status=503, error="HTTP 503 Later", retry_after_seconds=28800),
        ),
        (
            answered(503, "Later", retry_after="Fri, 31 Dec 1999 23:59:59 GMT"),
            Outcome(delivered=False, status=503, error="HTTP 503 Later"),
        ),
        (
            answered(503, "Later", retry_after="Fri, 31 Dec 1999 23:59:59 GMT", date="Fri, 31 Dec 1999 23:57:59 GMT"),
            Outcome(delivered=False, status=503, error="HTTP 503 Later", retry_after_seconds=120),
        ),
        (
            answered(302, "Found", location="http://169.254.169.254/"),
            Outcome(
                delivered=False,
                status=302,
                error="HTTP 302 Found: redirects are not followed, give the final address",
            ),
        ),
    ],
    ids=["200", "299", "500", "404", "410", "429", "503 for ever", "a date alone", "a date by a clock", "302"],
)
def test_what_the_receiver_answers_decides(answer: Answer, outcome: Outcome) -> None:
    assert delivered_to(lambda _body, _headers: answer) == outcome


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OutsideUnavailable("can't connect: refused"), "can't connect: refused"),
        (OutsideUnavailable("x" * 1000), "x" * 199 + "…"),
        (AddressRefused("receiver.test leads to a private address"), "receiver.test leads to a private address"),
    ],
    ids=["nobody there", "a long story", "an address inside"],
)
def test_where_there_is_no_answer_it_is_tried_again(error: Exception, text: str) -> None:
    def answer(body: bytes, headers: Mapping[str, str]) -> Answer:
        raise error

    assert delivered_to(answer) == Outcome(delivered=False, error=text)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://receiver.test/x", "only http and https, not ftp"),
        ("file:///etc/passwd", "only http and https, not file"),
        ("receiver.test/x", "wanted an address such as https://example.com/path"),
        ("http://[::1", "wanted a name, an IPv4 address or [an IPv6 address]"),
        ("http://169.254.169.254/", "169.254.169.254 is a link-local address, which is never called"),
    ],
)
def test_an_address_that_can_not_be_called_is_never_tried_again(url: str, text: str) -> None:
    outcome = deliver(HERE, url, SECRET, "msg_1", BODY)
    assert outcome.give_up
    assert outcome.error is not None
    assert text in outcome.error


def test_a_secret_that_can_not_sign_is_an_outcome_too() -> None:
    outcome = deliver(HERE, "http://receiver.test", "whsec_?", "msg_1", BODY)
    assert outcome == Outcome(
        delivered=False, error="a webhook secret is `whsec_` followed by base64; this one is not base64", give_up=True
    )


@contextmanager
def receiver(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A receiver on a real socket: `talk` has the connection, once the request is there."""
    failures: list[OSError] = []

    def serve() -> None:
        with listener:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the sender had enough before it came
            try:
                with connection:
                    connection.settimeout(60)
                    received = b""
                    while BODY not in received:
                        part = connection.recv(65536)
                        if not part:
                            return
                        received += part
                    talk(connection)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the sender had enough
            except OSError as error:
                failures.append(error)

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
    finally:
        with suppress(OSError):  # it is closed where a sender came
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(60)
    assert not thread.is_alive()
    assert failures == []


def drip(connection: socket.socket) -> None:
    for _ in range(300):
        connection.sendall(b"H")
        time.sleep(0.1)


def test_a_receiver_that_answers_byte_by_byte_holds_nobody_longer_than_the_timeout() -> None:
    with receiver(drip) as url:
        started = time.monotonic()
        outcome = deliver(HERE, url, SECRET, "msg_1", BODY, timeout_seconds=0.5)
        took = time.monotonic() - started
    assert outcome.delivered is False
    assert took < 15  # all of it would take 30


def test_a_receiver_that_never_answers_is_told_as_such() -> None:
    enough = threading.Event()
    with receiver(lambda _: enough.wait(60)) as url:
        outcome = deliver(HERE, url, SECRET, "msg_1", BODY, timeout_seconds=0.3)
        enough.set()
    assert outcome == Outcome(delivered=False, error="no answer within 0.3 s")


def test_a_name_that_takes_long_to_look_up_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    real, enough = socket.getaddrinfo, threading.Event()

    def slow(*args: Any, **kwargs: Any) -> Any:
        enough.wait(60)
        return real(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    started = time.monotonic()
    outcome = deliver(HERE, "http://localhost:9/hook", SECRET, "msg_1", BODY, timeout_seconds=0.2)
    assert time.monotonic() - started < 30
    enough.set()
    assert outcome == Outcome(delivered=False, error="no answer within 0.2 s")


def test_an_answer_without_end_is_read_no_further_than_its_bound() -> None:
    sent = 0

    def talk(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(2000):
            connection.sendall(b"x" * 65536)
            sent += 65536

    with receiver(talk) as url:
        started = time.monotonic()
        assert deliver(HERE, url, SECRET, "msg_1", BODY, timeout_seconds=60) == Outcome(delivered=True, status=200)
        assert time.monotonic() - started < 40
    assert sent < 100 * 2**20


def test_a_receiver_that_breaks_off_after_saying_yes_has_the_message() -> None:
    with receiver(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf")) as url:
        assert deliver(HERE, url, SECRET, "msg_1", BODY) == Outcome(delivered=True, status=200)


def test_a_receiver_that_hangs_up_without_an_answer_has_not() -> None:
    with receiver(lambda _: None) as url:
        outcome = deliver(HERE, url, SECRET, "msg_1", BODY)
    assert not outcome.delivered
    assert outcome.error is not None
    assert outcome.error.startswith("connection lost")


def test_nobody_listening_is_told_as_such() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # nobody else can listen there
        outcome = deliver(HERE, f"http://127.0.0.1:{silent.getsockname()[1]}", SECRET, "msg_1", BODY)
    assert outcome.error is not None
    assert outcome.error.startswith("can't connect")
    assert not outcome.give_up


# --- trying again


def test_the_waits_grow_from_seconds_to_hours_and_end_after_about_a_day() -> None:
    waits = [backoff_seconds(attempt) for attempt in range(1, webhooks.MAX_ATTEMPTS)]
    for wait, wanted in zip(waits, [5, 30, 120, 600, 1800, 7200, 18000, 28800, 28800], strict=True):
        assert 0.9 * wanted <= wait <= 1.1 * wanted
    assert 20 * 3600 < sum(waits) < 27 * 3600


def test_the_waits_differ_so_that_receivers_are_not_hit_at_once() -> None:
    assert len({backoff_seconds(3) for _ in range(20)}) > 10


def test_the_last_wait_repeats() -> None:
    assert 0.9 * 28800 <= backoff_seconds(1000) <= 1.1 * 28800


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="from 1, got 0"):
        backoff_seconds(0)

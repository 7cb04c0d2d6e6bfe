from __future__ import annotations

import hashlib
import inspect
import json
import os
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import cvpipe
from cvpipe.client.connection import httpx_options
from cvpipe.embeddings import Match, Place
from cvpipe.errors import ApiError, InvalidRequest, Unavailable
from cvpipe.events import Event, Moment
from cvpipe.job import JobState, TimeRange, WebhookTarget
from tests.client.conftest import Naps, OneClient
from tests.client.fake import BASE, JOB, Body, FakeService, make_job, problem

Handler = Callable[[httpx.Request], httpx.Response]
Connect = Callable[[Handler], OneClient]

VIDEO = "a" * 64


class Script:
    """Answers requests with the entries of a list, one each: a response, or an error to raise."""

    def __init__(self, *answers: httpx.Response | type[httpx.TransportError]) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, type):
            raise answer("told so", request=request)
        return answer


def ok(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


def posted(request: httpx.Request) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.content)
    return body


# --- retries


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_answer_that_asks_for_patience_is_tried_again(connect: Connect, status: int, naps: Naps) -> None:
    script = Script(problem(status, "store_unavailable"), ok(make_job()))
    assert connect(script).job(JOB).id == JOB
    assert len(script.asked) == 2
    assert 0.1 < sum(naps) < 0.3


def test_the_wait_that_the_service_asks_for_is_kept_within_reason(connect: Connect, naps: Naps) -> None:
    patient, absurd = problem(503, "unavailable"), problem(503, "unavailable")
    patient.headers["retry-after"] = "2"
    absurd.headers["retry-after"] = "86400"
    connect(Script(patient, absurd, ok(make_job()))).job(JOB)
    assert naps == [2, 10]


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 501])
def test_other_errors_are_not_tried_again(connect: Connect, status: int) -> None:
    script = Script(problem(status, "some-code"))
    with pytest.raises(ApiError):
        connect(script).job(JOB)
    assert len(script.asked) == 1


def test_a_service_that_stays_busy_is_told_with_its_own_problem(connect: Connect) -> None:
    with pytest.raises(ApiError, match="told: store_unavailable") as caught:
        connect(Script(*[problem(503, "store_unavailable") for _ in range(5)])).job(JOB)
    assert caught.value.retryable


def test_nothing_listening_is_told_within_seconds(connect: Connect, naps: Naps) -> None:
    script = Script(*[httpx.ConnectError] * 5)
    with pytest.raises(Unavailable, match=r"nothing answers at http://service.test .*`cvpipe up` starts one"):
        connect(script).job(JOB)
    assert 2 < sum(naps) < 4


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(httpx.ReadTimeout, "timed out waiting for an answer", id="no answer"),
        pytest.param(httpx.ConnectTimeout, "timed out connecting", id="no connection"),
        pytest.param(httpx.RemoteProtocolError, r"the connection broke \(told so\)", id="cut off"),
    ],
)
def test_what_the_network_does_is_unavailable_in_plain_words(
    connect: Connect, error: type[httpx.TransportError], words: str
) -> None:
    with pytest.raises(Unavailable, match=words):
        connect(Script(*[error] * 5)).job(JOB)


def test_a_submit_whose_answer_is_lost_is_sent_again_with_the_same_key(connect: Connect) -> None:
    script = Script(httpx.ReadError, problem(503, "unavailable"), ok(make_job("queued"), 202))
    assert connect(script).submit("people", video=VIDEO).state is JobState.queued
    keys = {request.headers["idempotency-key"] for request in script.asked}
    assert len(keys) == 1
    assert len(keys.pop()) >= 32


def test_two_submits_have_two_keys(connect: Connect) -> None:
    script = Script(ok(make_job(), 202), ok(make_job(), 202))
    client = connect(script)
    client.submit("people", video=VIDEO)
    client.submit("people", video=VIDEO)
    assert script.asked[0].headers["idempotency-key"] != script.asked[1].headers["idempotency-key"]


def test_a_delete_whose_answer_is_lost_is_done_though_the_job_is_then_not_found(connect: Connect) -> None:
    script = Script(httpx.ReadError, problem(404, "not_found"))
    assert connect(script).delete(JOB) is None
    assert [request.method for request in script.asked] == ["DELETE", "DELETE"]


def test_deleting_what_does_not_exist_is_an_error(connect: Connect) -> None:
    with pytest.raises(ApiError, match="told: not_found"):
        connect(Script(httpx.ConnectError, problem(404, "not_found"))).delete(JOB)


# --- answers


def test_a_problem_document_becomes_an_error_with_its_code_and_field(connect: Connect) -> None:
    answer = problem(422, "invalid_pipeline", detail="stages.0.fps: must be above 0", field="stages.0.fps")
    with pytest.raises(ApiError) as caught:
        connect(Script(answer)).submit("people", video=VIDEO)
    error = caught.value
    assert (error.code, error.status, error.field) == ("invalid_pipeline", 422, "stages.0.fps")
    assert str(error) == "stages.0.fps: must be above 0"
    assert not error.retryable


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(httpx.Response(200, html="<h1>It works!</h1>"), id="a page"),
        pytest.param(httpx.Response(200, json=["a", "list"]), id="no object"),
        pytest.param(httpx.Response(200, json={"id": 7}), id="no job"),
        pytest.param(httpx.Response(404, html="<h1>Not Found</h1>"), id="an error page"),
        pytest.param(httpx.Response(404, json="nothing"), id="an error in JSON that is no problem document"),
        pytest.param(httpx.Response(308, headers={"location": "https://elsewhere"}), id="a redirect"),
        pytest.param(
            httpx.Response(404, content=b"{", headers={"content-type": "application/json"}), id="an error cut off"
        ),
    ],
)
def test_an_answer_that_is_not_cvpipes_says_so_and_names_the_address(connect: Connect, answer: httpx.Response) -> None:
    with pytest.raises(
        ApiError, match=r"GET http://service.test/v1/jobs/job_1 answered .* a cvpipe service\?"
    ) as caught:
        connect(Script(httpx.Response(answer.status_code, headers=answer.headers, content=answer.content))).job(JOB)
    assert caught.value.code == "malformed-answer"
    assert caught.value.status == answer.status_code


@pytest.mark.parametrize(
    "page",
    [
        {"frames": [{"frame": 1}], "next": None, "complete": True},
        {"frames": "none", "next": None, "complete": True},
        {"frames": [], "next": None},
        {"frames": [], "next": 7, "complete": False},
    ],
    ids=["half a record", "no list", "no end", "a number for a cursor"],
)
def test_a_page_of_records_that_is_malformed_is_an_error_not_an_end(connect: Connect, page: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        connect(Script(ok(page))).frames(JOB)
    assert caught.value.code == "malformed-answer"


def test_what_a_newer_service_adds_to_a_job_is_passed_over(connect: Connect) -> None:
    assert connect(Script(ok(make_job(colour="blue")))).job(JOB).id == JOB


def test_a_broken_gzip_body_is_a_broken_connection(connect: Connect) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Body(iter([b"not gzip"])))

    with pytest.raises(Unavailable, match="the connection broke"):
        connect(handler).job(JOB)


# --- requests


def test_submit_sends_what_was_given_and_leaves_the_rest_to_the_service(connect: Connect) -> None:
    script = Script(*[ok(make_job(), 202)] * 2)
    client = connect(script)
    client.submit("people", path="/data/street.mp4")
    client.submit(
        {"name": "mine", "stages": [{"type": "edges"}]},
        video=VIDEO,
        range=(1.5, None),
        priority=9,
        labels={"camera": "3"},
        webhook="http://127.0.0.1:9000/hook",
        annotate=True,
        chunk_seconds=2,
        idempotency_key="mine",
    )
    assert posted(script.asked[0]) == {"path": "/data/street.mp4", "pipeline": "people"}
    assert posted(script.asked[1]) == {
        "video": VIDEO,
        "pipeline": {"name": "mine", "stages": [{"type": "edges"}]},
        "range": {"from": 1.5, "to": None},
        "priority": 9,
        "labels": {"camera": "3"},
        "webhook": {"url": "http://127.0.0.1:9000/hook"},
        "annotate": True,
        "chunk_seconds": 2,
    }
    assert script.asked[1].headers["idempotency-key"] == "mine"


def test_submit_takes_the_models_of_the_package_too(connect: Connect) -> None:
    script = Script(*[ok(make_job(), 202)] * 2)
    client = connect(script)
    video = cvpipe.Video(id=VIDEO, size=1, state="ready")
    hook = {"url": "https://example.com/hook", "secret": "whsec_c2VjcmV0c2VjcmV0"}
    client.submit("people", video=video, range=TimeRange(start=1, stop=2), webhook=WebhookTarget.model_validate(hook))
    client.submit("people", video=video, range=(1, 2), webhook=hook)
    wanted = {"video": VIDEO, "pipeline": "people", "range": {"from": 1, "to": 2}, "webhook": hook}
    assert [posted(request) for request in script.asked] == [wanted, wanted]


@pytest.mark.parametrize("name", ["mine.yaml", "mine.json"])
def test_a_pipeline_may_be_a_file_on_this_machine(connect: Connect, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(
        '{"name": "mine", "stages": [{"type": "edges"}]}'
        if name.endswith("json")
        else "name: mine\nstages:\n  - type: edges\n"
    )
    script = Script(ok(make_job(), 202))
    connect(script).submit(file, video=VIDEO)
    assert posted(script.asked[0])["pipeline"] == {"name": "mine", "stages": [{"type": "edges"}]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({}, r"give either `video` or `path`, or a job to begin with \(`from`\)", id="no video"),
        pytest.param({"video": VIDEO, "path": "/a.mp4"}, "give either `video` or `path`$", id="two videos"),
        pytest.param({"video": "street.mp4"}, "^video: ", id="a name for an id"),
        pytest.param({"video": VIDEO, "range": (2.0, 1.0)}, "^range: `to` must be greater", id="a range backwards"),
        pytest.param({"video": VIDEO, "priority": 10}, "^priority: ", id="priority above 9"),
        pytest.param({"video": VIDEO, "webhook": "ftp://a/b"}, "^webhook.url: ", id="no web address"),
    ],
)
def test_what_is_wrong_on_its_face_is_refused_without_a_request(
    connect: Connect, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        connect(Script()).submit("people", **arguments)


def test_a_pipeline_file_that_is_none_is_refused(connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("- a\n- list\n")
    with pytest.raises(InvalidRequest, match=r"^pipeline: .*mine.yaml: wanted a mapping with `name` and `stages`"):
        connect(Script()).submit(file, video=VIDEO)


def test_jobs_reads_page_after_page(connect: Connect) -> None:
    pages = [{"jobs": [make_job(id=f"job_{n}")], "next": None if n == 2 else f"5-job_{n}"} for n in range(3)]
    script = Script(*[ok(page) for page in pages])
    assert [job.id for job in connect(script).jobs(state="running", label="camera=3")] == ["job_0", "job_1", "job_2"]
    first, second, _ = script.asked
    assert dict(first.url.params) == {"state": "running", "label": "camera=3", "limit": "100"}
    assert second.url.params["cursor"] == "5-job_0"


def test_a_cursor_that_leads_to_itself_is_an_error_not_a_loop(connect: Connect) -> None:
    page = {"jobs": [make_job()], "next": "5-job_1"}
    with pytest.raises(ApiError, match="the cursor of the next page"):
        connect(Script(*[ok(page)] * 5)).jobs()


def test_cancel_posts_and_returns_the_job(connect: Connect) -> None:
    script = Script(ok(make_job("canceled")))
    assert connect(script).cancel(JOB).state is JobState.canceled
    assert (script.asked[0].method, script.asked[0].url.path) == ("POST", "/v1/jobs/job_1/cancel")


@pytest.mark.parametrize("noun", ["stages", "pipelines", "models"])
def test_what_exists_is_listed_as_the_service_tells_it(connect: Connect, noun: str) -> None:
    script = Script(ok({noun: [{"name": "a"}, {"name": "b"}]}))
    assert getattr(connect(script), noun)() == [{"name": "a"}, {"name": "b"}]
    assert script.asked[0].url.path == f"/v1/{noun}"


def test_an_id_can_not_lead_to_another_address(connect: Connect) -> None:
    script = Script(ok(make_job()))
    connect(script).job("../videos/x?y#z")
    assert script.asked[0].url.raw_path == b"/v1/jobs/..%2Fvideos%2Fx%3Fy%23z"


@pytest.mark.parametrize("url", ["http://lab.example", "https://lab.example", "https://127.0.0.1", "http://127.0.0.1"])
def test_certificates_are_checked_and_authorities_read_unless_there_is_no_tls(url: str) -> None:
    context = httpx.create_ssl_context(httpx_options(url, None, 5, None).get("verify", True))
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert (context.cert_store_stats()["x509_ca"] > 0) == (url != "http://127.0.0.1")


def test_a_path_in_the_base_url_is_kept_and_headers_are_sent() -> None:
    script = Script(ok(make_job()))
    transport = httpx.MockTransport(script)
    with cvpipe.Client("https://lab.example/cv/", headers={"authorization": "Bearer x"}, transport=transport) as client:
        client.job(JOB)
    request = script.asked[0]
    assert str(request.url) == "https://lab.example/cv/v1/jobs/job_1"
    assert request.headers["authorization"] == "Bearer x"
    assert request.headers["user-agent"] == f"cvpipe/{cvpipe.__version__}"


@pytest.mark.parametrize(
    ("given", "in_environment", "sent"),
    [
        ({}, None, None),
        ({}, "cvp_1", "Bearer cvp_1"),
        ({"api_key": "cvp_2\n"}, "cvp_1", "Bearer cvp_2"),
        ({"api_key": ""}, "cvp_1", None),
        ({"headers": {"Authorization": "Basic x"}}, "cvp_1", "Basic x"),
    ],
    ids=str,
)
def test_a_key_goes_with_every_request(
    given: dict[str, Any], in_environment: str | None, sent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CVPIPE_API_KEY", raising=False)
    if in_environment is not None:
        monkeypatch.setenv("CVPIPE_API_KEY", in_environment)
    script = Script(ok(make_job()))
    with cvpipe.Client("http://service.test", transport=httpx.MockTransport(script), **given) as client:
        client.job(JOB)
    assert script.asked[0].headers.get_list("authorization") == ([] if sent is None else [sent])


def test_a_key_that_no_header_can_hold_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidRequest, match="one word of printable ASCII") as raised:
        cvpipe.Client("http://service.test", api_key="cvp_sesäme")
    assert "ses" not in str(raised.value)


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (Script(httpx.Response(200, html="")), ApiError, "GET http://service.test/v1/jobs/x answered"),
        (Script(*[httpx.ConnectError] * 5), Unavailable, "nothing answers at http://service.test "),
    ],
    ids=["malformed", "away"],
)
@pytest.mark.usefixtures("naps")
def test_a_password_in_the_address_stays_out_of_messages(script: Script, error: type[Exception], words: str) -> None:
    transport = httpx.MockTransport(script)
    with (
        cvpipe.Client("http://ada:lovelace@service.test", transport=transport) as client,
        pytest.raises(error, match=words),
    ):
        client.job("x")
    assert script.asked[0].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost", "ftp://a", "http://", "http://a:b"])
@pytest.mark.parametrize("client", [cvpipe.Client, cvpipe.AsyncClient])
def test_an_address_that_is_none_is_refused_at_once(client: Callable[[str], object], url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^base_url: "):
        client(url)


# --- files


def test_upload_sends_the_file_and_tells_how_far_it_is(connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "street.mp4"
    file.write_bytes(os.urandom(600_000))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    got: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        got.append(request)
        return ok(
            {"id": hashlib.sha256(request.content).hexdigest(), "size": len(request.content), "state": "indexing"}, 201
        )

    steps: list[tuple[int, int]] = []
    video = connect(handler).upload(file, on_progress=lambda sent, total: steps.append((sent, total)))
    assert (video.id, video.size, video.state) == (digest, 600_000, "indexing")
    assert steps == [(262_144, 600_000), (524_288, 600_000), (600_000, 600_000)]
    assert got[0].method == "PUT"
    assert got[0].url.params["filename"] == "street.mp4"
    assert got[0].headers["content-length"] == "600000"
    assert "transfer-encoding" not in got[0].headers


def test_an_upload_that_breaks_is_sent_again_from_its_start(connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "street.mp4"
    file.write_bytes(b"x" * 300_000)
    tries = iter([httpx.WriteError, httpx.ReadTimeout])

    def handler(request: httpx.Request) -> httpx.Response:
        error = next(tries, None)
        if error is not None:
            raise error("told so", request=request)
        return ok({"id": hashlib.sha256(request.content).hexdigest(), "size": len(request.content), "state": "ready"})

    steps: list[int] = []
    assert connect(handler).upload(file, on_progress=lambda sent, _: steps.append(sent)).size == 300_000
    assert steps == [262_144, 300_000] * 3


def test_an_upload_that_arrived_otherwise_is_an_error(connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "street.mp4"
    file.write_bytes(b"x" * 10)
    with pytest.raises(Unavailable, match="received other bytes than were sent"):
        connect(Script(ok({"id": VIDEO, "size": 10, "state": "ready"}))).upload(file)


def test_a_refused_upload_is_told_with_the_services_problem(connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "street.mp4"
    file.write_bytes(b"x" * 10)
    with pytest.raises(ApiError, match="told: too_large"):
        connect(Script(problem(413, "too_large"))).upload(file)


def test_uploading_what_is_not_there_is_an_os_error(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect(Script()).upload(tmp_path / "nothing.mp4")


def test_a_file_that_shrinks_while_it_is_sent_is_refused(connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "street.mp4"
    file.write_bytes(b"x" * 600_000)

    def shrink(sent: int, _: int) -> None:
        with file.open("r+b") as writable:
            writable.truncate(sent)

    with pytest.raises(InvalidRequest, match="became shorter while it was sent"):
        connect(Script(ok({}))).upload(file, on_progress=shrink)


@pytest.mark.parametrize("name", [b"a\xffb.mp4", "späte Straße.mp4".encode(), b"x" * 250 + b".mp4", b"new\nline.mp4"])
def test_any_file_name_can_be_uploaded(connect: Connect, tmp_path: Path, name: bytes) -> None:
    file = tmp_path / os.fsdecode(name)
    file.write_bytes(b"")
    digest = hashlib.sha256(b"").hexdigest()
    script = Script(ok({"id": digest, "size": 0, "state": "ready"}))
    assert connect(script).upload(file).id == digest
    assert len(script.asked[0].url.params.get("filename", "")) <= 255


@pytest.mark.parametrize("to_folder", [True, False], ids=["to a folder", "to a path"])
def test_a_download_appears_when_it_is_whole(connect: Connect, tmp_path: Path, to_folder: bool) -> None:
    content = os.urandom(300_000)
    target = tmp_path / ("frames.ndjson" if to_folder else "mine.bin")
    seen: list[tuple[int, int, bool]] = []
    script = Script(httpx.Response(200, content=content))
    path = connect(script).download(
        JOB,
        "frames.ndjson",
        tmp_path if to_folder else target,
        on_progress=lambda got, size: seen.append((got, size, target.exists())),
    )
    assert path == target
    assert target.read_bytes() == content
    assert seen == [(262_144, 300_000, False), (300_000, 300_000, False)]
    assert script.asked[0].url.path == "/v1/jobs/job_1/exports/frames.ndjson"
    assert list(tmp_path.iterdir()) == [target]


def test_a_download_that_breaks_is_made_again_and_leaves_nothing_behind(connect: Connect, tmp_path: Path) -> None:
    def broken() -> httpx.Response:
        return httpx.Response(200, stream=Body(iter([b"half"]), httpx.ReadError("told so")))

    connect(Script(broken(), httpx.Response(200, content=b"whole"))).download(JOB, "a.txt", tmp_path)
    assert (tmp_path / "a.txt").read_bytes() == b"whole"
    with pytest.raises(Unavailable):
        connect(Script(*[broken() for _ in range(5)])).download(JOB, "b.txt", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_download_of_what_is_not_there_is_an_error_and_no_file(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="told: not_found"):
        connect(Script(problem(404, "not_found"))).download(JOB, "a.txt", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_from_the_service_can_not_leave_the_folder(connect: Connect, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    assert connect(Script(httpx.Response(200, content=b""))).download(JOB, "../evil", inside) == inside / "evil"


# --- the two clients


def test_the_two_clients_have_the_same_calls_and_arguments() -> None:
    def face(client: type) -> dict[str, list[tuple[str, Any, Any, Any]]]:
        return {
            name: [(p.name, p.kind, p.default, p.annotation) for p in inspect.signature(value).parameters.values()]
            for name, value in vars(client).items()
            if callable(getattr(client, name)) and not name.startswith("_") and name not in ("close", "aclose")
        }

    assert face(cvpipe.Client) == face(cvpipe.AsyncClient)
    assert {"upload", "submit", "wait", "frames", "verify_webhook"} < set(face(cvpipe.Client))


def test_a_blocking_client_serves_many_threads() -> None:
    transport = httpx.MockTransport(FakeService(total=300, pace=300))
    with cvpipe.Client(BASE, transport=transport) as client, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: len(list(client.frames(JOB))), range(16)))
    assert found == [300] * 16


# --- repair, pictures


def test_a_repair_whose_answer_was_lost_counts_as_begun(connect: Connect) -> None:
    script = Script(httpx.ReadError, problem(409, "conflict"), ok(make_job("queued")))
    assert connect(script).repair(JOB).state == JobState.queued
    assert [request.method for request in script.asked] == ["POST", "POST", "GET"]


@pytest.mark.parametrize("verb", ["pause", "resume", "retry"])
def test_a_job_is_told_to_wait_to_go_on_and_to_try_again(connect: Connect, verb: str) -> None:
    script = Script(ok(make_job("queued")))
    assert getattr(connect(script), verb)(JOB).state == JobState.queued
    assert [(request.method, request.url.path) for request in script.asked] == [("POST", f"/v1/jobs/{JOB}/{verb}")]


def test_a_job_that_cannot_be_repaired_is_told(connect: Connect) -> None:
    script = Script(problem(409, "conflict"))
    with pytest.raises(ApiError, match="told: conflict"):
        connect(script).repair(JOB)
    assert [(request.method, request.url.path) for request in script.asked] == [("POST", f"/v1/jobs/{JOB}/repair")]


def test_pictures_come_as_the_bytes_of_their_files(connect: Connect) -> None:
    script = Script(*[httpx.Response(200, content=b"a picture") for _ in range(3)])
    one = connect(script)
    assert one.frame_picture(VIDEO, 12, width=160, format="png") == b"a picture"
    assert one.thumbnail(VIDEO) == b"a picture"
    assert one.sheet(VIDEO, columns=2, rows=3) == b"a picture"
    assert [request.url.raw_path.decode() for request in script.asked] == [
        f"/v1/videos/{VIDEO}/frames/12.png?width=160",
        f"/v1/videos/{VIDEO}/thumbnail.jpg",
        f"/v1/videos/{VIDEO}/sheet.jpg?columns=2&rows=3",
    ]


def test_tracks_come_page_by_page_and_crops_as_the_bytes_of_their_files(connect: Connect) -> None:
    at = {"frame": 3, "time": 0.3}
    row = {"stage": "cars", "track": 7, "label": "car", "score": 0.5, "frames": 2, "first": at, "last": at,
           "values": {}, "crops": []}  # fmt: skip
    rows = [{**row, "track": number} for number in range(502)]
    script = Script(
        httpx.Response(200, json={"tracks": rows[:500], "next": "500", "complete": False}),
        httpx.Response(200, json={"tracks": rows[500:], "next": None, "complete": True}),
        httpx.Response(200, content=b"a picture"),
    )
    one = connect(script)
    assert [track.to_dict() for track in one.tracks("job_1")] == rows
    assert one.crop("job_1", "best-f000003-o0.jpg") == b"a picture"
    assert [request.url.raw_path.decode() for request in script.asked] == [
        "/v1/jobs/job_1/tracks?limit=500",
        "/v1/jobs/job_1/tracks?limit=500&cursor=500",
        "/v1/jobs/job_1/crops/best-f000003-o0.jpg",
    ]


def test_an_answer_without_tracks_is_none(connect: Connect) -> None:
    with pytest.raises(ApiError, match="but not with tracks"):
        list(connect(Script(httpx.Response(200, json={"tracks": [{"track": 7}], "next": None}))).tracks("job_1"))


def test_a_clip_that_is_not_made_yet_is_asked_for_again_and_saved_whole(connect: Connect, tmp_path: Path) -> None:
    script = Script(problem(503, "unavailable"), httpx.Response(200, content=b"a clip"))
    assert connect(script).clip(VIDEO, 1, 2, tmp_path / "c.mp4") == tmp_path / "c.mp4"
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("c.mp4", b"a clip")]
    assert dict(script.asked[0].url.params) == {"from": "1", "to": "2"}


def test_a_clip_that_cannot_be_made_leaves_no_file(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="told: media_unreadable"):
        connect(Script(problem(422, "media_unreadable"))).clip(VIDEO, 0, None, tmp_path / "c.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_search_gives_matches(connect: Connect) -> None:
    row = {"frame": 7, "object": 1, "time": 0.7, "stage": "embed", "score": 0.93, "label": "person",
           "box": [1, 2, 3, 4], "track": None}  # fmt: skip
    script = Script(httpx.Response(200, json={"matches": [row], "complete": True}))
    (match,) = connect(script).search("job_1", "120:0", top=3)
    assert match == Match(Place(7, 1), 0.7, "embed", 0.93, "person", (1, 2, 3, 4), None)
    assert script.asked[0].url.raw_path.decode() == "/v1/jobs/job_1/search?like=120%3A0&top=3"


def test_an_answer_without_matches_is_no_search(connect: Connect) -> None:
    with pytest.raises(ApiError, match="but not with matches"):
        connect(Script(httpx.Response(200, json={"matches": [{"frame": 7}]}))).search("job_1", "1")


def make_event(number: int) -> dict[str, Any]:
    moment = Moment(number, number / 10)
    return Event(
        "line_crossed", "gate", moment, moment, moment, ({"track": 3},), {"line": "a"}, number=number
    ).to_dict()


def test_events_come_page_by_page(connect: Connect) -> None:
    rows = [make_event(n) for n in range(1, 503)]
    script = Script(
        httpx.Response(200, json={"events": rows[:500], "next": "50000-500", "complete": False}),
        httpx.Response(200, json={"events": rows[500:], "next": "50200-502", "complete": False}),
    )
    found = connect(script).events(JOB, start=1.5, stop=60, kinds=["line_crossed", "zone_left"])
    assert [event.to_dict() for event in found] == rows
    asked = [request.url.params for request in script.asked]
    assert [params.get("cursor") for params in asked] == [None, "50000-500"]
    assert asked[0].get_list("kind") == ["line_crossed", "zone_left"]
    assert (asked[0]["from"], asked[0]["to"], asked[0]["limit"]) == ("1.5", "60", "500")


def test_an_answer_without_events_is_no_log(connect: Connect) -> None:
    with pytest.raises(ApiError, match="but not with events"):
        connect(Script(httpx.Response(200, json={"events": [{"kind": "x"}], "next": None}))).events(JOB)

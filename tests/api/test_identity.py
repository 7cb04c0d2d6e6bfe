"""Who may do what: every operation of the OpenAPI document, asked by everybody."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import cvpipe
from cvpipe import uploads
from cvpipe.api import create_app
from cvpipe.errors import ApiError, InvalidRequest
from cvpipe.keys import KeyRequest
from cvpipe.quotas import Quotas
from cvpipe.scopes import Scope
from cvpipe.settings import Settings
from cvpipe.store import Store
from cvpipe.tenants import id_of, owned
from tests.api import worker
from tests.api.conftest import Service
from tests.providers import AUDIENCE, Provider
from tests.servers import RedisServer
from tests.test_camera import pitch_camera

DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "openapi" / "cvpipe.v1.yaml").read_text(encoding="utf-8"))
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
GUARDED = [name for name, (_, _, operation) in OPERATIONS.items() if "security" in operation]
OPEN = {"getHealth", "getReadiness"}
ABOUT_ONE = ("{job_id}", "{video_id}", "{addition_id}", "{upload_id}")
MINE, THEIRS = "mine", "theirs"
WEBHOOK_SECRET = "b25seSB0aGlzIHRlc3Qga25vd3MgdGhpcyBvbmU="
CAMERA = pitch_camera(name=MINE)
CROP = "best-f000012-o0.jpg"
PROVIDER = Provider()


@pytest.fixture(scope="module")
def guarded(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "jwks.json").write_bytes(PROVIDER.jwks())
    service = Service(
        Settings(
            redis_url=redis_server.url, data_dir=folder, port=0, auth="keys", media_wait_seconds=0.05,
            max_upload_bytes=10_000, path_roots=f"{folder}/roots/{{tenant}}", oidc_issuer=PROVIDER.issuer,
            oidc_audience=AUDIENCE, oidc_jwks=folder / "jwks.json", oidc_tenant_claim="tenant",
        )
    )  # fmt: skip
    service.start()
    yield service
    service.stop()


@dataclass
class House:
    """A service with keys, and what one tenant has in it."""

    service: Service
    store: Store

    def key(self, *scopes: Scope, tenant: str = MINE, **more: Any) -> str:
        """A key that is good."""
        return self.store.make_key(KeyRequest(name="test", tenant=tenant, scopes=frozenset(scopes), **more))[1]

    def client(self, key: str | None) -> httpx.Client:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.service.url, headers=headers, timeout=60, trust_env=False, verify=False)

    def furnish(self, tenant: str = MINE) -> dict[str, str]:
        """A video, a job that has ended with an export, and an addition: by the names of path parameters."""
        with self.client(self.key(Scope.admin, tenant=tenant)) as api:
            video = api.put("/v1/videos", content=b"a video").json()["id"]
            webhook = {"url": "http://receiver.example/", "secret": f"whsec_{WEBHOOK_SECRET}"}
            request = {"video": video, "pipeline": worker.PIPELINE, "webhook": webhook}
            job = api.post("/v1/jobs", json=request).json()["id"]
            assert api.put(f"/v1/cameras/{MINE}", json=CAMERA).status_code in (200, 201)
            addition = api.post("/v1/models", content=b"no network", params={"name": "net"}).json()["id"]
        name = owned(tenant, job)
        held = worker.claim(self.store, f"ingest:{name}")
        self.store.plan(
            held, name, segments=[{"kind": "frames", "queue": "cpu", "stages": []}], chunks=[(0, 10, 0)],
            frames_total=10, video=owned(tenant, video), models={},
        )  # fmt: skip
        held = worker.claim(self.store, f"chunk:{name}:0:0")
        records = [worker.make_record(number) for number in range(10)]
        self.store.append(held, name, (0, 0), records, lease_seconds=30, counted=True)
        self.store.finish_chunk(held, name, 0, 0)
        export = self.service.settings.data_dir / "jobs" / tenant / job / "frames.ndjson"
        export.parent.mkdir(parents=True)
        export.write_bytes(b"{}\n")
        (export.parent / "crops").mkdir()
        (export.parent / "crops" / CROP).write_bytes(b"a picture")
        worker_end = worker.claim(self.store, f"finish:{name}")
        self.store.end_job(worker_end, name, worker.JobState.succeeded, error=None, exports=["frames.ndjson"])
        message = self.store.delivery_log(name).messages[0].id
        upload = uploads.create(self.service.settings.data_dir, tenant, length=9, filename=None, key=None)
        return {
            "upload_id": id_of(upload.name),
            "job_id": job,
            "video_id": video,
            "addition_id": addition,
            "message_id": message,
        }

    def ask(self, operation_id: str, key: str | None, have: dict[str, str]) -> httpx.Response:
        """Ask for an operation in a way that is right in everything but perhaps the key."""
        method, path, operation = OPERATIONS[operation_id]
        params: dict[str, Any] = {}
        headers = {"Tus-Resumable": "1.0.0"}
        known = {**have, "number": "0", "format": "jpg", "name": "frames.ndjson", "file": CROP, "ref": "drawn-street"}
        if "/cameras/" in path:
            known["ref"] = MINE
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", known[parameter["name"]])
            elif parameter.get("required") and parameter["in"] == "header":
                headers[parameter["name"]] = str(parameter["example"])
            elif parameter.get("required"):
                params[parameter["name"]] = parameter["example"]
        body: dict[str, Any] = {}
        if "requestBody" in operation:
            kinds = operation["requestBody"]["content"]
            if "application/json" in kinds:
                bodies = {
                    "submitJob": {"video": have["video_id"], "pipeline": worker.PIPELINE},
                    "createKey": {"name": "another"},
                    "addCamera": {**CAMERA, "name": "other"},
                    "putCamera": CAMERA,
                }
                body["json"] = bodies[operation_id]
            else:
                body["content"] = b"bytes"
                headers["content-type"] = next(iter(kinds))
        if operation_id == "addModel":
            params["name"] = "other"
        if operation_id == "searchJob":
            params["like"] = "0:0"
        with self.client(key) as api:
            return api.request(method.upper(), path, params=params, headers=headers, **body)


@pytest.fixture
def house(guarded: Service, redis_url: str) -> Iterator[House]:
    for left in ("jobs", "videos", "additions", "media"):
        shutil.rmtree(guarded.settings.data_dir / left, ignore_errors=True)
    store = Store.connect(redis_url)
    yield House(guarded, store)
    store.close()


def scope_of(operation_id: str) -> Scope:
    ((scope,),) = (security["key"] for security in OPERATIONS[operation_id][2]["security"])
    return Scope(scope)


def assert_refused(answer: httpx.Response, status: int, code: str, who: str = "") -> None:
    assert answer.status_code == status, who
    if answer.request.method != "HEAD":  # which has no body
        assert answer.json()["type"] == f"/problems/{code}", who


def have(house: House, operation_id: str) -> dict[str, str]:
    """What the operation is about."""
    key_id = house.key(Scope.read, tenant="someone").split("_")[1]
    return {**house.furnish(), "key_id": key_id}


def test_all_operations_but_probes_need_a_key() -> None:
    assert set(OPERATIONS) - set(GUARDED) == OPEN
    assert {OPERATIONS[name][1] for name in OPEN} == {"/healthz", "/readyz"}


@pytest.mark.parametrize("operation_id", GUARDED)
def test_nobody_gets_in_without_a_good_key_with_the_scope_and_the_tenant(operation_id: str, house: House) -> None:
    mine = have(house, operation_id)
    scope = scope_of(operation_id)
    revoked = house.key(Scope.admin)
    house.store.revoke_key(revoked.split("_")[1])
    right = house.key(scope)
    bad = {
        "no key": None,
        "no key at all": "secret",
        "an unknown key": f"cvp_{'0' * 12}_{'0' * 64}",
        "another secret": right[:-64] + "0" * 64,
        "revoked": revoked,
        "expired": house.key(Scope.admin, expires_in_seconds=0.001),
    }
    bad |= PROVIDER.bad(scope="cvpipe:admin")
    for who, key in bad.items():
        answer = house.ask(operation_id, key, mine)
        assert_refused(answer, 401, "unauthenticated", who)
        invalid = "" if key is None else ', error="invalid_token"'
        assert answer.headers["www-authenticate"] == f'Bearer realm="cvpipe"{invalid}', who

    others = set(Scope) - {scope, Scope.admin}
    for who in (house.key(*others), PROVIDER.token(scope=" ".join(f"cvpipe:{one}" for one in others))):
        answer = house.ask(operation_id, who, mine)
        assert_refused(answer, 403, "forbidden")
        assert answer.request.method == "HEAD" or f"`{scope}`" in answer.json()["detail"]

    path = OPERATIONS[operation_id][1]
    for who in (
        house.key(scope, tenant=THEIRS),
        house.key(Scope.admin, tenant=THEIRS),
        PROVIDER.token(scope="cvpipe:admin", tenant=THEIRS),
    ):
        answer = house.ask(operation_id, who, mine)
        is_about_one = any(one in path for one in ABOUT_ONE) or operation_id in (
            "submitJob",
            "getCamera",
            "removeCamera",
        )
        if is_about_one:
            assert_refused(answer, 404, "not_found")
        else:
            assert not any(mine[one] in answer.text for one in ("job_id", "addition_id"))

    answer = house.ask(operation_id, right, mine)
    assert answer.status_code not in (401, 403), answer.text
    assert answer.status_code != 404 or answer.json()["field"] == "like", answer.text  # the job has no embeddings
    assert answer.status_code < 500 or answer.status_code == 503, answer.text


def test_the_same_file_of_two_tenants_is_two_videos_and_neither_tells_of_the_other(house: House) -> None:
    with house.client(house.key(Scope.admin)) as mine, house.client(house.key(Scope.admin, tenant=THEIRS)) as theirs:
        first, again = mine.put("/v1/videos", content=b"the same"), mine.put("/v1/videos", content=b"the same")
        video = first.json()["id"]
        assert (first.status_code, again.status_code) == (201, 200)
        assert theirs.get(f"/v1/videos/{video}").status_code == 404
        assert theirs.get(f"/v1/videos/{video}/thumbnail.jpg").status_code == 404
        assert theirs.put("/v1/videos", content=b"the same").status_code == 201  # as new as it was for the first
    stored = sorted(path.relative_to(house.service.settings.data_dir / "videos") for path in files(house))
    assert stored == [Path(MINE) / video[:2] / video, Path(THEIRS) / video[:2] / video]


def files(house: House) -> list[Path]:
    return [path for path in (house.service.settings.data_dir / "videos").rglob("*") if path.is_file()]


def test_an_idempotency_key_is_its_tenants_own(house: House) -> None:
    made = []
    for tenant in (MINE, THEIRS):
        with house.client(house.key(Scope.admin, tenant=tenant)) as api:
            request = {"video": worker.upload(api)["id"], "pipeline": worker.PIPELINE, "labels": {"whose": tenant}}
            answer = api.post("/v1/jobs", json=request, headers={"Idempotency-Key": "k"})
            assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (202, None)
            made.append(answer.json()["id"])
            assert [job["id"] for job in api.get("/v1/jobs").json()["jobs"]] == made[-1:]
    assert made[0] != made[1]


def test_files_on_the_server_are_open_to_the_tenant_that_their_folder_is_for(house: House) -> None:
    root = house.service.settings.data_dir / "roots" / MINE
    root.mkdir(parents=True, exist_ok=True)
    (root / "a.mp4").write_bytes(b"a video")
    request = {"path": str(root / "a.mp4"), "pipeline": worker.PIPELINE}
    for tenant, status in ((MINE, 202), (THEIRS, 422)):
        with house.client(house.key(Scope.submit, tenant=tenant)) as api:
            assert api.post("/v1/jobs", json=request).status_code == status


def test_a_revoked_key_is_refused_within_a_second(house: House) -> None:
    key = house.key(Scope.read)
    with house.client(key) as api:
        assert api.get("/v1/jobs").status_code == 200
        house.store.revoke_key(key.split("_")[1])
        time.sleep(1.05)
        answer = api.get("/v1/jobs")
    assert (answer.status_code, answer.json()["detail"]) == (401, "the key was revoked; ask for another")


def test_keys_are_made_listed_and_revoked_over_the_api(house: House) -> None:
    with house.client(house.key(Scope.admin)) as api:
        answer = api.post("/v1/keys", json={"name": "camera", "tenant": "site-3", "scopes": ["read"]})
        made = answer.json()
        assert answer.status_code == 201
        assert (made["name"], made["tenant"], made["scopes"]) == ("camera", "site-3", ["read"])
        with house.client(made["key"]) as reader:
            assert reader.get("/v1/jobs").json() == {"jobs": [], "next": None}
        listed = api.get("/v1/keys")
        assert made["id"] in [key["id"] for key in listed.json()["keys"]]
        assert made["key"] not in listed.text
        assert made["key"][-64:] not in listed.text
        assert api.delete(f"/v1/keys/{made['id']}").json()["revoked_at"] == pytest.approx(time.time(), abs=60)
        assert api.delete("/v1/keys/ffffffffffff").status_code == 404


def test_both_clients_make_list_and_revoke_keys(house: House) -> None:
    url, admin = house.service.url, house.key(Scope.admin)
    quotas = Quotas(open_jobs=3)
    with cvpipe.Client(url, api_key=admin) as client:
        made = client.create_key("camera", tenant="site-3", scopes=["read"], quotas=quotas, expires_in_seconds=3600)
        assert (made.name, made.tenant, made.scopes, made.quotas) == ("camera", "site-3", [Scope.read], quotas)
        assert made.key not in repr(made)
        with cvpipe.Client(url, api_key=made.key) as reader:
            assert list(reader.jobs()) == []
            with pytest.raises(ApiError, match="needs a key with the scope `admin`"):
                reader.keys()
        listed = client.keys()
        assert made.id in [key.id for key in listed]
        assert client.revoke_key(made.key).revoked_at is not None
        with pytest.raises(ApiError) as caught:
            client.revoke_key("0" * 12)
        assert caught.value.code == "not_found"
        with pytest.raises(InvalidRequest, match="scopes"):
            client.create_key("camera", scopes=["king"])

    async def again() -> None:
        async with cvpipe.AsyncClient(url, api_key=admin) as client:
            made = await client.create_key("gateway")
            assert (made.tenant, set(made.scopes)) == ("default", {Scope.submit, Scope.read})
            assert (await client.revoke_key(made)).revoked_at is not None
            assert [key.id for key in await client.keys() if key.revoked_at is not None][-1] == made.id

    asyncio.run(again())


def test_who_works_is_told_only_to_those_who_may_know(house: House) -> None:
    for key, told, metrics in (
        (None, False, 401), ("nonsense", False, 401), (house.key(Scope.read), False, 403),
        (house.key(Scope.metrics), True, 200),
    ):  # fmt: skip
        with house.client(key) as api:
            health = api.get("/healthz")
            assert (health.status_code, health.json()["workers"] is not None) == (200, told)
            assert api.get("/metrics").status_code == metrics
            assert api.get("/readyz").status_code == api.get("/docs").status_code == 200


def test_a_key_that_does_not_fit_is_told_before_the_body_is_read(house: House) -> None:
    with house.client(None) as api:
        answer = api.put("/v1/videos", content=(b"x" for _ in range(3)))
        assert answer.status_code == 401
        assert api.post("/v1/jobs", content=b"{", headers={"content-type": "application/json"}).status_code == 401
    assert files(house) == []


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"host": "video.example.com"}, "is for another host"),
        ({"host": "169.254.169.254:80"}, "is for another host"),
        ({"x-forwarded-for": "203.0.113.9"}, "came through a proxy"),
        ({"forwarded": "for=203.0.113.9"}, "came through a proxy"),
        ({"origin": "https://evil.example.com"}, "came from a page of another site"),
        ({"origin": "null"}, "came from a page of another site"),
        ({"sec-fetch-site": "cross-site"}, "came from a page of another site"),
    ],
    ids=str,
)
def test_without_keys_nothing_is_done_for_others(headers: dict[str, str], why: str, api: httpx.Client) -> None:
    for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs/x/cancel"), ("GET", "/healthz"), ("GET", "/docs")):
        answer = api.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
        assert why in answer.json()["detail"]
        assert "CVPIPE_AUTH=keys" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_without_keys_this_machine_is_let_in_by_each_of_its_names(host: str, api: httpx.Client) -> None:
    answer = api.get("/v1/jobs", headers={"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"})
    assert answer.status_code == 200


def test_an_app_that_others_reach_is_not_made_without_keys(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="does not run without keys"):
        create_app(Settings(data_dir=tmp_path, host="0.0.0.0", auth="none"))

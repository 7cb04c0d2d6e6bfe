"""`cvpipe doctor` finds what is wrong and says what to do."""

from __future__ import annotations

from pathlib import Path

import pika
import pytest
import redis

from cvpipe.cli import doctor
from cvpipe.cli.doctor import Finding
from cvpipe.settings import Settings
from cvpipe.video.sandbox import MEASURES
from tests.cli.conftest import Cvpipe


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def test_a_healthy_machine_is_called_so(cvpipe: Cvpipe) -> None:
    done = cvpipe("doctor", "--json")
    assert (done.code, done.json["ok"]) == (0, True)
    assert [finding["check"] for finding in done.json["findings"]] == [
        "python", "packages", "onnxruntime", "device", *["decoders"] * len(MEASURES), "nvdec", "data dir", "models",
        "auth", "store", "broker",
    ]  # fmt: skip
    assert {finding["state"] for finding in done.json["findings"]} <= {"ok", "warning"}


def test_a_problem_makes_the_exit_code_1(cvpipe: Cvpipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (lambda _settings: Finding("x", "problem", "it is broken", "mend it"),))
    done = cvpipe("doctor")
    assert (done.code, done.out) == (1, f"problem  x            it is broken\n{'':<22}-> mend it\n")
    assert cvpipe("doctor", "--json").json["ok"] is False


def test_every_measure_of_protection_is_told_active_or_not(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvpipe.video.Decoders.protection", ("limits", "no-files"))
    found = doctor.look_at_all(doctor.check_decoders, settings)
    assert [finding.state for finding in found].count("ok") == 2
    assert len(found) == len(MEASURES)
    assert found[0].detail == "limits: memory, processor time, open files and processes of a decoder are bounded"
    (network,) = (finding for finding in found if "no-network" in finding.detail)
    assert network.state == "warning"
    assert network.detail.startswith("NOT active: no-network: ")
    assert "user namespaces" in str(network.fix)
    assert set(doctor.MISSING) == set(MEASURES)


def test_a_card_that_is_to_decode_and_is_not_there_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvpipe.video.hardware._CONTROL", tmp_path / "nvidiactl")
    found = {
        how: doctor.look(doctor.check_nvdec, Settings(data_dir=tmp_path, decode=how))
        for how in ("cpu", "auto", "nvdec")
    }
    assert {how: finding.state for how, finding in found.items()} == {"cpu": "ok", "auto": "ok", "nvdec": "problem"}
    assert found["cpu"].detail == "the CPU decodes (CVPIPE_DECODE=cpu); an NVIDIA card: none here"
    assert found["auto"].detail.startswith("the CPU decodes: there is no ")
    assert "NVIDIA_DRIVER_CAPABILITIES" in found["nvdec"].detail


def test_two_onnx_runtimes_are_a_problem(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda name: "1.31.0" if name.startswith("onnxruntime") else None)
    found = doctor.check_onnxruntime(settings)
    assert (found.state, found.detail) == (
        "problem",
        "onnxruntime 1.31.0 and onnxruntime-gpu 1.31.0 are both installed and overwrite each other",
    )
    assert "pip uninstall" in str(found.fix)


def test_cuda_that_was_asked_for_and_is_not_there_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvpipe.inference.devices._why_not", lambda _device: "there is no card in the slot")
    found = doctor.look(doctor.check_device, Settings(data_dir=tmp_path, device="cuda"))
    assert (found.check, found.state) == ("device", "problem")
    assert "there is no card in the slot" in found.detail


def test_missing_packages_are_a_warning_with_what_to_install(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvpipe.cli.extras.missing_modules", lambda extra: ["av", "cv2"] if extra == "worker" else [])
    found = doctor.check_packages(settings)
    assert (found.state, found.detail) == ("warning", "worker: missing av, cv2")
    assert "cvpipe[api,cpu]" in str(found.fix)
    assert doctor.check_device(settings).state == "warning"


def test_a_data_directory_that_is_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = doctor.look(doctor.check_data_dir, Settings(data_dir=tmp_path / "file"))
    assert found.state == "problem"
    assert "CVPIPE_DATA_DIR" in str(found.fix)


def test_a_full_disk_is_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_MIN_FREE_BYTES", 2**70)
    assert doctor.check_data_dir(settings).state == "warning"


@pytest.mark.parametrize(
    ("configuration", "state", "message"),
    [
        pytest.param({}, "ok", "answers", id="as it should be"),
        pytest.param({"maxmemory-policy": "allkeys-lru"}, "problem", "maxmemory-policy is allkeys-lru", id="evicts"),
        pytest.param({"appendonly": "no"}, "problem", "it has no append-only file", id="keeps nothing"),
        pytest.param({"appendfsync": "everysec"}, "warning", "appendfsync everysec", id="flushes once a second"),
    ],
)
def test_a_store_is_asked_how_it_keeps_things(
    configuration: dict[str, str], state: str, message: str, redis_url: str, tmp_path: Path
) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        before = {name: client.config_get(name)[name] for name in configuration}
        for name, value in configuration.items():
            client.config_set(name, value)
        try:
            found = doctor.check_store(Settings(data_dir=tmp_path, redis_url=redis_url))
        finally:
            for name, value in before.items():
                client.config_set(name, value)
    assert found.state == state
    assert message in found.detail


@pytest.mark.parametrize(
    ("check", "addresses"),
    [
        pytest.param(doctor.check_store, {"redis_url": "redis://:secret@127.0.0.1:1/0"}, id="store"),
        pytest.param(doctor.check_broker, {"broker_url": "amqp://me:secret@127.0.0.1:1/"}, id="broker"),
    ],
)
def test_what_does_not_answer_is_a_problem_and_no_password_is_shown(
    check: doctor.Check, addresses: dict[str, str], tmp_path: Path
) -> None:
    found = doctor.look(check, Settings(data_dir=tmp_path, **addresses))
    assert found.state == "problem"
    assert "127.0.0.1:1" in found.detail
    assert "secret" not in str(found)


def test_without_a_broker_the_store_rings(settings: Settings) -> None:
    assert doctor.check_broker(settings).state == "ok"


def test_fakeredis_as_the_only_store_is_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvpipe.embedded.stores._bundled_valkey", lambda: None)
    monkeypatch.setenv("PATH", "/nowhere")
    found = doctor.check_store(settings)
    assert (found.state, "forgets" in found.detail) == ("warning", True)


def test_a_service_that_may_not_run_without_keys_is_a_problem(tmp_path: Path) -> None:
    found = doctor.check_auth(Settings(data_dir=tmp_path, host="0.0.0.0", auth="none"))
    assert (found.state, found.fix) == ("problem", "set CVPIPE_AUTH=keys, or listen on 127.0.0.1")
    assert doctor.check_auth(Settings(data_dir=tmp_path)).detail == (
        "listening on 127.0.0.1: no keys, only this machine is let in"
    )
    assert doctor.check_auth(Settings(data_dir=tmp_path, host="0.0.0.0")).detail == (
        "listening on 0.0.0.0: requests need a key; no tokens are taken"
    )


def test_a_broker_is_asked_for_its_queues(rabbitmq_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, broker_url=rabbitmq_url)
    assert doctor.check_broker(settings).state == "ok"
    with_other_arguments(rabbitmq_url)
    found = doctor.check_broker(settings)
    assert (found.state, found.detail) == (
        "problem", "the queue cvpipe.v1.gpu was declared with other arguments",
    )  # fmt: skip
    assert "rabbitmqctl delete_queue cvpipe.v1.gpu" in str(found.fix)


def with_other_arguments(url: str) -> None:
    """Declare the queue `gpu` in another way."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_delete("cvpipe.v1.gpu")
    channel.queue_declare("cvpipe.v1.gpu", durable=True)
    connection.close()


def test_it_looks_as_up_with_the_same_options_would_start(
    cvpipe: Cvpipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (doctor.check_auth, doctor.check_data_dir))

    def details(*words: object) -> list[str]:
        return [finding["detail"] for finding in cvpipe("doctor", "--json", *words).json["findings"]]

    assert details()[0] == "listening on 127.0.0.1: no keys, only this machine is let in"
    assert details("--auth", "keys")[0] == "listening on 127.0.0.1: requests need a key; no tokens are taken"
    assert details("--host", "0.0.0.0")[0] == "listening on 0.0.0.0: requests need a key; no tokens are taken"
    assert details("--data-dir", tmp_path / "other")[1].startswith(f"{tmp_path / 'other'}, ")
    refused = cvpipe("doctor", "--host", "0.0.0.0", "--auth", "none")
    assert refused.code == 1
    assert refused.out.startswith("problem  auth")

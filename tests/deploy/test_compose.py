"""deploy/compose.yaml is valid, complete and closed to the outside. No Docker engine is needed to know that."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cvpipe.broker import DEFAULT_QUEUES, queue_name
from cvpipe.cli.app import command
from cvpipe.outside import Secrets
from cvpipe.settings import Settings

PROFILES = ("cpu", "gpu")
OURS = ("cvpipe-api", "cvpipe-worker")


@pytest.fixture(scope="module")
def compose(root: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((root / "deploy" / "compose.yaml").read_text()))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(compose["services"])


def ours(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services.items() if service["image"].startswith(OURS)}


def queues_of(service: dict[str, Any]) -> set[str]:
    words = service["command"]
    if "--queues" not in words:
        return set()
    names = words[words.index("--queues") + 1].split(",")
    return {name if name.startswith("cvpipe.") else queue_name(name) for name in names}


def test_it_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    text = (files("check_jsonschema.builtin_schemas") / "vendor" / "compose-spec.json").read_text()
    schema = json.loads(text)
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(compose)] == []


def test_the_schema_refuses_an_unknown_key(compose: dict[str, Any]) -> None:
    schema = json.loads((files("check_jsonschema.builtin_schemas") / "vendor" / "compose-spec.json").read_text())
    broken = compose | {"services": {"api": {"image": "x", "helthcheck": {}}}}
    with pytest.raises(jsonschema.ValidationError, match="helthcheck"):
        jsonschema.validate(broken, schema)


def test_every_service_is_watched_bounded_and_started_again(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}, name


def test_only_the_api_and_two_pages_listen_and_only_on_this_machine_unless_told(
    services: dict[str, dict[str, Any]],
) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {
        "api": ["${API_ADDRESS:-127.0.0.1:8000}:8000"],
        "rabbitmq": ["127.0.0.1:${RABBITMQ_PAGE_PORT:-15672}:15672"],
        "redisinsight": ["127.0.0.1:${REDISINSIGHT_PORT:-5540}:5540"],
    }


def test_what_opens_videos_reaches_only_the_store_and_the_broker(compose: dict[str, Any]) -> None:
    assert compose["networks"]["back"] == {"internal": True}
    workers = [name for name in compose["services"] if name.startswith("worker-")]
    assert len(workers) == 5
    assert all(compose["services"][name]["networks"] == ["back"] for name in workers)


def test_only_the_service_that_needs_a_gpu_gets_one(services: dict[str, dict[str, Any]]) -> None:
    with_gpu = {name for name, service in services.items() if service["deploy"]["resources"].get("reservations")}
    assert with_gpu == {"worker-gpu"}


def test_only_those_that_add_and_remove_models_may_write_to_their_folder(services: dict[str, dict[str, Any]]) -> None:
    folder = "${MODELS_DIR:-./models}:/models"
    assert all({folder, f"{folder}:ro"} & set(service["volumes"]) for service in ours(services).values())
    assert {name for name, service in ours(services).items() if folder in service["volumes"]} == {"api", "worker-media"}


def test_our_containers_have_no_rights_they_do_not_use(services: dict[str, dict[str, Any]]) -> None:
    for name, service in ours(services).items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_redis_syncs_each_write_and_evicts_nothing(services: dict[str, dict[str, Any]]) -> None:
    words = services["redis"]["command"][-1].split()
    options = dict(pairwise(words))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_serves_every_queue_once(services: dict[str, dict[str, Any]], profile: str) -> None:
    served: list[str] = []
    for service in services.values():
        if profile in service.get("profiles", [profile]) and "command" in service:
            served += queues_of(service)
    assert sorted(served) == sorted(map(queue_name, DEFAULT_QUEUES))


def test_commands_exist(services: dict[str, dict[str, Any]]) -> None:
    known = set(command().commands)
    for name, service in ours(services).items():
        if "entrypoint" not in service:
            assert service["command"][0] in known, name


def test_settings_exist(services: dict[str, dict[str, Any]]) -> None:
    fields = {f"CVPIPE_{name.upper()}" for name in Settings.model_fields}
    for name, service in ours(services).items():
        assert set(service["environment"]) <= fields, name


def test_what_operators_are_told_to_set_reaches_the_service_that_reads_it(services: dict[str, dict[str, Any]]) -> None:
    assert {"CVPIPE_MAX_UPLOAD_BYTES", "CVPIPE_MIN_FREE_BYTES"} <= set(services["api"]["environment"])
    sweeper = set(services["sweeper"]["environment"])
    assert {"CVPIPE_MAX_RUNNING_JOBS", "CVPIPE_KEEP_JOBS_SECONDS", "CVPIPE_MEDIA_MAX_BYTES"} <= sweeper


def test_only_who_asks_servers_outside_gets_their_secrets(
    root: Path, compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    with_secrets = {name: service["secrets"] for name, service in services.items() if "secrets" in service}
    assert with_secrets == {"caller": ["outside"]}
    assert services["caller"]["environment"]["CVPIPE_OUTSIDE_SECRETS"] == "/run/secrets/outside"
    others = [service for name, service in services.items() if name != "caller"]
    assert not any("CVPIPE_OUTSIDE_SECRETS" in service.get("environment", ()) for service in others)
    file = compose["secrets"]["outside"]["file"].removeprefix("${OUTSIDE_SECRETS_FILE:-").removesuffix("}")
    example = root / "deploy" / file
    Secrets.read(example)
    rows = [line.removeprefix("# ") for line in example.read_text().splitlines() if "{server:" in line]
    assert set(yaml.safe_load("\n".join(rows))) == {"models", "other"}


def test_images_are_built_from_files_that_exist(root: Path, services: dict[str, dict[str, Any]]) -> None:
    for service in ours(services).values():
        assert (root / "deploy" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_the_example_settings_name_what_is_read_and_nothing_else(root: Path) -> None:
    read = re.findall(r"(?<!\$)\$\{(\w+)(:-[^}]*|:\?[^}]*)\}", (root / "deploy" / "compose.yaml").read_text())
    lines = (root / "deploy" / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert {name for name, _ in read} == set(example)
    # What is required has no value to be forgotten there; what is not shows its default.
    expected = {name: "" if rest.startswith(":?") else rest.removeprefix(":-") for name, rest in read}
    assert example == expected

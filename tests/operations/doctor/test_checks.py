"""Each check of ``sentigraph doctor``: a planted fault is found, and a sound system passes."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from configs.load import load_config
from configs.schema.app import AppConfig
from configs.schema.dependencies import RedisConfig
from operations.clients.server import Server
from operations.doctor import check_machine as of_machine
from operations.doctor import check_servers as of_servers
from operations.doctor.findings import Finding
from operations.doctor.machine import Card, Machine, Ports, cards_of, pins
from operations.doctor.manifests import check_environments
from operations.errors import ServerAway, ServerRefused

ROOT = Path(__file__).parents[3]

GIB = 1 << 30
SOUND = Machine(
    cores=4,
    cards=(Card("H200", 140 * GIB, 130 * GIB),),
    open_files=65_536,
    python="3.11.7",
    packages={"ray": "2.60.0", "numpy": "2.3.1+local"},
    pinned={"ray": "2.60.0", "numpy": "2.3.1", "absent": "1"},
    free_bytes={"/data": 50 * GIB},
)
OPEN = {"required": False}
PORTS = {"HTTP": 8000, "gRPC": 9000, "MLflow": 5000, "dashboard": 8265, "metrics": 8080}


def config(**args: object) -> AppConfig:
    return load_config({name.replace("__", "."): value for name, value in args.items()}, environ={})


def model(**size: float) -> AppConfig:
    provider = {"provider": "cuda"} if size.get("num_gpus") else {}
    threads = {"intra_op_threads": int(size.pop("threads", 0))}
    return config(model=provider | threads, replicas={"model": size})


def redis(version: str, maxmemory: int, policy: str) -> Finding:
    return of_servers.judge_redis(
        {"redis_version": version, "maxmemory": maxmemory, "maxmemory_policy": policy}
    )


def server(error: Exception | None = None, **dependencies: str | None) -> Server:
    """A client whose server reports these errors of its dependencies."""

    class Fake(Server):
        def __init__(self) -> None:
            self.url = "http://s"

        def ask(self, method: str, path: str, body: object = None) -> object:
            if error is not None:
                raise error
            found = dependencies.items()
            states = [{"component_name": n, "details": {"error": e}} for n, e in found]
            return {"dependencies": states}

    return Fake()


def worst(findings: Iterable[Finding]) -> Finding:
    found = list(findings)
    assert found, "nothing was said"
    for finding in found:
        assert (finding.level == "OK") == (not finding.advice), "a fault without advice"
    return max(found, key=lambda finding: ("OK", "WARN", "FAIL").index(finding.level))


def stream(**size: int) -> AppConfig:
    return config(stream={"enabled": True}, replicas={"stream": size})


TOPICS = {
    name: 4
    for name in (
        AppConfig().stream.requests_topic,
        AppConfig().stream.responses_topic,
        AppConfig().stream.dlq_topic,
    )
}
WORKER = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}

# What → (findings, level, a part of what is said).
PLANTED = {
    "more threads than cores": (
        lambda: of_machine.check_cores(model(num_replicas=2, threads=3), SOUND),
        "WARN",
        "2 model replicas with 3 threads on 4 cores",
    ),
    "far more threads than cores": (
        lambda: of_machine.check_cores(model(num_replicas=4, threads=8), SOUND),
        "FAIL",
        "on 4 cores",
    ),
    "more CPUs reserved than there are": (
        lambda: of_machine.check_cores(model(num_replicas=2, num_cpus=8, threads=1), SOUND),
        "WARN",
        "this machine offers 4",
    ),
    "replicas without room on the cards": (
        lambda: of_machine.check_gpus(model(num_replicas=5, num_gpus=0.25), SOUND, 0),
        "FAIL",
        "room for 4",
    ),
    "whole cards that are not there": (
        lambda: of_machine.check_gpus(model(num_replicas=2, num_gpus=1), SOUND, 0),
        "FAIL",
        "room for 1",
    ),
    "fraction smaller than the engine": (
        lambda: of_machine.check_gpus(
            model(num_replicas=1, num_gpus=0.25),
            replace(SOUND, cards=(Card("T4", 15 * GIB, 15 * GIB),)),
            2 * GIB,
        ),
        "FAIL",
        "one engine takes about 6.5",
    ),
    "card that is full": (
        lambda: of_machine.check_gpus(
            model(num_replicas=1, num_gpus=1),
            replace(SOUND, cards=(Card("T4", 15 * GIB, GIB),)),
            2 * GIB,
        ),
        "WARN",
        "1.0 GiB are free",
    ),
    "nothing tells of GPUs": (
        lambda: of_machine.check_gpus(
            model(num_replicas=1, num_gpus=1), replace(SOUND, cards=None), 0
        ),
        "WARN",
        "nothing here lists",
    ),
    "two on one port": (
        lambda: of_machine.check_ports(Ports({**PORTS, "gRPC": 8000}, frozenset(), ours=False)),
        "FAIL",
        "HTTP and gRPC both want 8000",
    ),
    "port of another program": (
        lambda: of_machine.check_ports(Ports(PORTS, frozenset({5000}), ours=False)),
        "FAIL",
        "5000 (MLflow) is taken",
    ),
    "little space": (
        lambda: of_machine.check_space(replace(SOUND, free_bytes={"/data": GIB})),
        "WARN",
        "/data: 1.0 GiB",
    ),
    "no space": (
        lambda: of_machine.check_space(replace(SOUND, free_bytes={"/data": 1 << 20})),
        "FAIL",
        "/data: 0.0 GiB",
    ),
    "few open files": (
        lambda: of_machine.check_open_files(replace(SOUND, open_files=1_024)),
        "FAIL",
        "1024 open files",
    ),
    "not many open files": (
        lambda: of_machine.check_open_files(replace(SOUND, open_files=4_096)),
        "WARN",
        "4096",
    ),
    "old Python": (
        lambda: of_machine.check_versions(replace(SOUND, python="3.10.2")),
        "FAIL",
        "3.10.2",
    ),
    "another Ray": (
        lambda: of_machine.check_versions(replace(SOUND, packages={"ray": "2.59.0"})),
        "FAIL",
        "ray is 2.59.0, pinned 2.60.0",
    ),
    "another package": (
        lambda: of_machine.check_versions(replace(SOUND, packages={"numpy": "2.0.0"})),
        "WARN",
        "numpy is 2.0.0, pinned 2.3.1",
    ),
    "nothing to compare with": (
        lambda: of_machine.check_versions(replace(SOUND, pinned={}, packages={})),
        "WARN",
        "no constraints.txt",
    ),
    "Redis away": (
        lambda: of_servers.check_redis(RedisConfig(host="127.0.0.1", port=9)),
        "FAIL",
        "ConnectionError at 127.0.0.1:9",
    ),
    "Redis of long ago": (
        lambda: [redis("5.0.14", 1_000_000, "allkeys-lru")],
        "FAIL",
        "5.0.14",
    ),
    "Redis without a bound": (
        lambda: [redis("7.0.15", 0, "noeviction")],
        "WARN",
        "maxmemory 0",
    ),
    "Redis that cannot forget": (
        lambda: [redis("7.0.15", 1_000_000, "noeviction")],
        "FAIL",
        "noeviction",
    ),
    "Kafka away": (
        lambda: of_servers.check_kafka(
            config(stream={"enabled": True, "bootstrap_servers": ["127.0.0.1:9"]})
        ),
        "FAIL",
        "ConnectionError at 127.0.0.1:9",
    ),
    "topics missing": (
        lambda: of_servers.judge_kafka(stream(), {}),
        "FAIL",
        AppConfig().stream.requests_topic,
    ),
    "fewer partitions than replicas": (
        lambda: of_servers.judge_kafka(stream(num_replicas=1, max_replicas=8), TOPICS),
        "WARN",
        "4 partitions for 8 stream replicas",
    ),
    "MLflow away": (
        lambda: of_servers.check_mlflow("http://me:secret@127.0.0.1:9"),
        "FAIL",
        "no answer at http://127.0.0.1:9",
    ),
    "MLflow's folder is a file": (
        lambda: of_servers.check_mlflow(f"sqlite:///{__file__}/mlflow.db"),
        "FAIL",
        "is no folder",
    ),
    "MLflow of another release": (
        lambda: [of_servers.judge_mlflow("2.22.0", "3.17.2")],
        "WARN",
        "2.22.0",
    ),
    "Vault away": (lambda: [of_servers.judge_vault(config(), "sealed")], "WARN", "stand in"),
    "Vault away in production": (
        lambda: [of_servers.judge_vault(config(profile="production", access=OPEN), "sealed")],
        "FAIL",
        "nothing starts",
    ),
    "bundle changed": (
        lambda: [of_servers.check_bundle(str(ROOT / "models"))[0]],
        "FAIL",
        "bundle.json",
    ),
    "clock a little off": (lambda: [of_servers.judge_clock(-9.0, "MLflow")], "WARN", "9 s behind"),
    "clock off": (lambda: [of_servers.judge_clock(300.0, "MLflow")], "FAIL", "300 s ahead of"),
    "no clock to compare": (
        lambda: of_servers.check_clock("http://127.0.0.1:9", "MLflow"),
        "WARN",
        "no server",
    ),
    "server degraded": (
        lambda: of_servers.check_running(server(cache="degraded: away"))[0],
        "WARN",
        "cache: degraded",
    ),
    "server refuses": (
        lambda: of_servers.check_running(server(ServerRefused("answered 500", 500)))[0],
        "WARN",
        "answered 500",
    ),
    "unequal pods": (
        lambda: check_environments({"head": WORKER, "gpu": {**WORKER, "RAY_X": "2"}}),
        "FAIL",
        "RAY_X is unset in head and 2 in gpu",
    ),
    "half of the pair": (
        lambda: check_environments({"head": {"RAY_SERVE_ENABLE_HA_PROXY": "1"}}),
        "FAIL",
        "are not both 1",
    ),
    "manifests of something else": (lambda: check_environments({}), "WARN", "no Ray pod"),
}
WELL = {
    "cores": lambda: of_machine.check_cores(model(num_replicas=4, num_cpus=0.5), SOUND),
    "no GPU wanted": lambda: of_machine.check_gpus(config(), replace(SOUND, cards=None), 0),
    "GPU": lambda: of_machine.check_gpus(model(num_replicas=4, num_gpus=0.25), SOUND, GIB),
    "ports": lambda: of_machine.check_ports(Ports(PORTS, frozenset(), ours=False)),
    "ports of the server": lambda: of_machine.check_ports(
        Ports(PORTS, frozenset({8000, 9000}), ours=True)
    ),
    "space": lambda: of_machine.check_space(SOUND),
    "open files": lambda: of_machine.check_open_files(SOUND),
    "versions": lambda: of_machine.check_versions(SOUND),
    # A new environment of Python 3.11 has it, and serving installs no other.
    "what a new environment brings": lambda: of_machine.check_versions(
        replace(
            SOUND,
            packages={"ray": "2.60.0", "setuptools": "65.5.0"},
            pinned={"ray": "2.60.0", "setuptools": "84.2.1"},
        )
    ),
    "Redis": lambda: [redis("7.0.15", 1_000_000, "allkeys-lru")],
    "Kafka": lambda: of_servers.judge_kafka(stream(), TOPICS),
    "MLflow": lambda: [of_servers.judge_mlflow("3.17.1", "3.17.2")],
    "database": lambda: of_servers.check_mlflow("sqlite:////tmp/mlflow.db"),
    "bundle": lambda: [of_servers.check_bundle(str(ROOT / "models" / "sentiment"))[0]],
    "clock": lambda: [of_servers.judge_clock(1.4, "MLflow")],
    "server": lambda: of_servers.check_running(server(model=None))[0],
    "no server": lambda: of_servers.check_running(server(ServerAway("away")))[0],
    "pods": lambda: check_environments({"head": WORKER, "gpu": WORKER}),
}


@pytest.mark.parametrize("what", sorted(PLANTED))
def test_a_planted_fault_is_found_with_advice(what: str) -> None:
    check, level, said = PLANTED[what]
    found = worst(check())
    assert (found.level, said in found.said) == (level, True), found


@pytest.mark.parametrize("what", sorted(WELL))
def test_what_is_sound_passes(what: str) -> None:
    assert worst(WELL[what]()).level == "OK"


def test_secrets_that_can_be_read_are_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_servers.VaultSecrets, "read", lambda *_: {})
    assert worst(of_servers.check_vault(config())).level == "OK"


def test_cards_are_read_from_nvidia_smi() -> None:
    listing = "NVIDIA H200, 143771, 143000\nNVIDIA A10, 24000, 12\n"
    assert [(card.name, card.free_bytes >> 20) for card in cards_of(listing)] == [
        ("NVIDIA H200", 143_000),
        ("NVIDIA A10", 12),
    ]


def test_pins_are_read_with_extras_and_normalised_names() -> None:
    text = "ray[serve]==2.60.0  # core\n# a comment\nPyYAML==6.0.3 ; python_version>'3'\nx>=1\n"
    assert pins(text) == {"ray": "2.60.0", "pyyaml": "6.0.3"}

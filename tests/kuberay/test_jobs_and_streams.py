"""Where batch jobs are kept, and what streams and jobs reach: mistakes are caught or refused."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml
from manifests import Document, merged, render, values_of
from operator_rules import groups, ray_service, secret_files, serve_config, variables
from rules import all_problems

from configs.load import load_config
from configs.schema.api_keys import new_key, write_keys

pytestmark = pytest.mark.slow

Change = Callable[[list[Document]], object]


@pytest.fixture(scope="module")
def volume() -> list[Document]:
    """Jobs on a volume."""
    return render(values_of("development"))


@pytest.fixture(scope="module")
def database() -> list[Document]:
    """Streams, jobs in PostgreSQL, webhooks."""
    return render(values_of("production-streams"))


def policy(documents: list[Document], name: str) -> Document:
    return next(
        document
        for document in documents
        if document["kind"] == "NetworkPolicy" and document["metadata"]["name"].endswith(name)
    )


def closed(port: int, name: str = "-serving", way: str = "egress") -> Change:
    """A policy that forgets a port to or from outside of the release."""

    def apply(documents: list[Document]) -> None:
        for rule in policy(documents, name)["spec"][way]:
            peers = rule["to" if way == "egress" else "from"]
            if not any("podSelector" in peer for peer in peers):
                rule["ports"] = [item for item in rule["ports"] if item["port"] != port]

    return apply


def serve(change: Callable[[Document], object]) -> Change:
    def apply(documents: list[Document]) -> None:
        config = serve_config(documents)
        change(config["applications"][0])
        ray_service(documents)["spec"]["serveConfigV2"] = yaml.safe_dump(config)

    return apply


def jobs_pod(documents: list[Document]) -> Document:
    found: Document = groups(documents)["jobs"]["template"]["spec"]
    return found


def without(variable: str, group: str) -> Change:
    def apply(documents: list[Document]) -> None:
        for volume in groups(documents)[group]["template"]["spec"]["volumes"]:
            if volume["name"] == "secrets":
                items = volume["secret"]["items"]
                volume["secret"]["items"] = [item for item in items if item["path"] != variable]

    return apply


ON_A_VOLUME: dict[str, tuple[Change, str]] = {
    "file on the pod's own disk": (
        serve(lambda a: a["args"]["jobs"].update(database="sqlite:////app/.sentigraph/jobs.db")),
        "lost with its pod",
    ),
    "default place": (serve(lambda a: a["args"]["jobs"].pop("database")), "lost with its pod"),
    "volume that is not persistent": (
        lambda d: [
            volume.pop("persistentVolumeClaim")
            for volume in jobs_pod(d)["volumes"]
            if volume["name"] == "jobs"
        ],
        "lost with its pod",
    ),
    "two pods": (lambda d: groups(d)["jobs"].update(maxReplicas=2), "more than one pod"),
    "claim of another name": (
        lambda d: [
            volume["persistentVolumeClaim"].update(claimName="jobs")
            for volume in jobs_pod(d)["volumes"]
            if volume["name"] == "jobs"
        ],
        "is not in the chart",
    ),
    "second cluster": (
        lambda d: ray_service(d)["spec"]["upgradeStrategy"].update(type="NewCluster"),
        "wait for the jobs' volume",
    ),
    "replica anywhere": (serve(lambda a: a.pop("deployments")), "not bound to the pod"),
    "pod without the resource": (
        lambda d: groups(d)["jobs"]["rayStartParams"].pop("resources"),
        "not bound to the pod",
    ),
    "gRPC closed to clients": (closed(9000, "-ray", "ingress"), "gRPC clients"),
}
IN_A_DATABASE: dict[str, tuple[Change, str]] = {
    "way to Kafka closed": (closed(9094), "the way to Kafka"),
    "way to receivers closed": (closed(443), "receivers of webhooks"),
    "way to the database closed": (closed(5432), "jobs' database is closed"),
    "address missing in a group": (without("MLOPS_JOBS__DATABASE", "gpu"), "not in every pod"),
    "policy of other pods": (
        lambda d: policy(d, "-serving")["spec"]["podSelector"]["matchLabels"].update(
            {"sentigraph/serves": "false"}
        ),
        "the way to Kafka",
    ),
}


@pytest.mark.parametrize("what", sorted(ON_A_VOLUME))
def test_a_mistake_with_the_volume_is_found(what: str, volume: list[Document]) -> None:
    _found(volume, *ON_A_VOLUME[what])


@pytest.mark.parametrize("what", sorted(IN_A_DATABASE))
def test_a_mistake_with_what_is_outside_is_found(what: str, database: list[Document]) -> None:
    _found(database, *IN_A_DATABASE[what])


def test_secrets_are_named_and_never_written(database: list[Document]) -> None:
    for group in groups(database).values():
        files = secret_files(group)
        for name in ("MLOPS_JOBS__DATABASE", "MLOPS_STREAM__PASSWORD"):
            assert files[name][0] == "sentigraph-secrets"
        assert not files.keys() & variables(group).keys()
    external = next(d for d in database if d["kind"] == "ExternalSecret")
    assert {item["secretKey"] for item in external["spec"]["data"]} == {
        "redis-password",
        "api-keys",
        "mlflow-backend-uri",
        "kafka-password",
        "jobs-database",
        "jobs-webhook-secret",
    }


def test_secrets_are_read_as_kubernetes_mounts_them(
    database: list[Document], tmp_path: Path
) -> None:
    """A file is a link into a folder that is exchanged as a whole."""
    texts = {
        "MLOPS_ACCESS__API_KEYS": write_keys([new_key("shop", ["predict"])[1]]),
        "MLOPS_JOBS__DATABASE": "postgresql://jobs:of-jobs@db:5432/jobs",
    }
    (tmp_path / "..v1").mkdir()
    (tmp_path / "..data").symlink_to("..v1")
    names = secret_files(groups(database)["gpu"])
    for name in names:
        (tmp_path / "..v1" / name).write_text(texts.get(name, "s3cret"))
        (tmp_path / name).symlink_to(f"..data/{name}")
    args = serve_config(database)["applications"][0]["args"]
    config = load_config(args, environ={"SENTIGRAPH_SECRETS_DIR": str(tmp_path)}, home=tmp_path)
    assert texts.keys() <= names.keys()
    assert config.jobs.database.get_secret_value() == texts["MLOPS_JOBS__DATABASE"]
    assert config.stream.password.get_secret_value() == "s3cret"
    assert config.redis.password.get_secret_value() == "s3cret"


# What → (environment, values over its own, what Helm says).
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "volume beside upgrades": (
        "development",
        {"upgrade": {"type": "NewCluster"}},
        "second cluster would wait",
    ),
    "a public profile without keys": (
        "development",
        {"serve": {"application": {"args": {"profile": "staging"}}}},
        "access.required, which profiles staging and production set, and no key",
    ),
    "address in the Serve config": (
        "development",
        {"serve": {"application": {"args": {"jobs": {"database": "postgresql://u:p@h/d"}}}}},
        "secrets.settings",
    ),
    "group of the same name": (
        "development",
        {"workers": {"jobs": values_of("development")["workers"]["cpu"] | {"gpus": 0}}},
        "workers",
    ),
    "no way to the cache": (
        "staging",
        {"networkPolicy": {"reaches": {"redis": None}}},
        "reaches.redis is needed",
    ),
    "no way to Kafka": (
        "production-streams",
        {"networkPolicy": {"reaches": {"kafka": None}}},
        "reaches.kafka is needed",
    ),
    "no way to receivers": (
        "production-streams",
        {"networkPolicy": {"reaches": {"webhooks": None}}},
        "reaches.webhooks is needed",
    ),
    "no way to the database": (
        "production-streams",
        {"networkPolicy": {"reaches": {"jobsDatabase": None}}},
        "reaches.jobsDatabase is needed",
    ),
    "everybody": (
        "production-streams",
        {"networkPolicy": {"reaches": {"kafka": {"cidrs": ["0.0.0.0/0"]}}}},
        "kafka",
    ),
    "nobody, which means everybody": (
        "production-streams",
        {"networkPolicy": {"reaches": {"kafka": {"cidrs": []}}}},
        "kafka",
    ),
    "a value instead of a key": (
        "production-streams",
        {"secrets": {"settings": {"MLOPS_STREAM__PASSWORD": "Pa55 word"}}},
        "MLOPS_STREAM__PASSWORD",
    ),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_values_that_lose_or_block_are_refused(what: str) -> None:
    environment, change, said = REFUSED[what]
    with pytest.raises((helm.HelmValuesError, helm.HelmRenderError), match=said):
        render(merged(values_of(environment), change))


def _found(documents: list[Document], plant: Change, said: str) -> None:
    changed = deepcopy(documents)
    plant(changed)
    assert changed != documents, "nothing was planted"
    problems = all_problems(changed)
    assert any(said in problem for problem in problems), problems

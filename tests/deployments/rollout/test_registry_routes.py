"""The registry over HTTP, from the ingress's half of the relay to real MLflow on a sqlite file."""

import asyncio
import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from registry_api import META, MODELS, Api, bundle_zip, promote, ready, upload, version, zipped

from configs.schema.app import AppConfig
from deployments.rollout.change_feed import ChangeFeed
from registry.errors import LedgerDamaged
from registry.lifecycle.alias_watcher import AliasAssignment
from registry.model_registry import ModelRegistry

pytestmark = pytest.mark.slow


def test_a_model_is_made_listed_changed_and_deleted(api: Api, model: str) -> None:
    assert api("POST", "", json={"name": model}).status_code == 409
    assert api("POST", "/", json={"name": model}).status_code == 409
    assert model in {found["name"] for found in api("GET", "/", params={"limit": 1_000}).json()}
    assert api("POST", "", json={"name": "  "}).status_code == 422
    assert api("POST", "", json={"name": "x" * 300}).status_code == 422
    assert api("POST", "", json={"name": "live"}).status_code == 422
    shown = api("GET", f"/{model}").json()
    assert (shown["id"], shown["description"], shown["versions"]) == (
        model,
        "Tells moods apart.",
        [],
    )
    changed = api("PATCH", f"/{model}", json={"name": f"{model}-b", "description": "new"})
    assert (changed.json()["name"], changed.json()["description"]) == (f"{model}-b", "new")
    assert api("GET", f"/{model}").status_code == 404
    assert api("POST", "", json={"name": model}).status_code == 409  # The audit knows it.
    assert api("DELETE", f"/{model}-b").status_code == 204
    assert api("DELETE", f"/{model}-b").status_code == 404
    actions = [e["action"] for e in api("GET", f"/{model}-b/audit").json()["entries"]]
    assert actions == ["delete_model", "rename_model"]


def test_versions_have_labels_numbers_and_a_latest(api: Api, model: str) -> None:
    assert api("GET", f"/{model}/versions/latest").json() is None
    first = version(api, model, " 1.0.0 ")
    assert (first["version"], first["number"], first["status"]) == ("1.0.0", 1, "draft")
    assert first["artifact_path"] is None
    again = {"version": "1.0.0", "metadata": META}
    assert api("POST", f"/{model}/versions", json=again).status_code == 409
    assert version(api, model, "2")["number"] == 2
    wrong = api("POST", f"/{model}/versions", json={"version": "7", "metadata": META})
    assert wrong.status_code == 422
    assert "this would be number 3" in wrong.json()["error_message"]
    for body in (
        {"version": "x", "metadata": {**META, "author": " "}},
        {"version": "x", "metadata": META, "status": "production"},
        {"version": "x", "metadata": META, "artifact_path": "/etc/passwd"},
        {"version": "../x", "metadata": META},
    ):
        assert api("POST", f"/{model}/versions", json=body).status_code == 422
    assert [v["version"] for v in api("GET", f"/{model}/versions").json()] == ["2", "1.0.0"]
    assert api("GET", f"/{model}/versions/latest").json()["version"] == "2"
    assert api("GET", f"/{model}/versions/1").json()["version"] == "1.0.0"
    assert api("GET", f"/{model}/versions/9").status_code == 404

    body = {"metadata": {"author": "bo", "tags": [" a ", "", "a"], "hyperparameters": {"lr": 0.1}}}
    changed = api("PATCH", f"/{model}/versions/1.0.0/metadata", json=body).json()["metadata"]
    assert (changed["author"], changed["tags"], changed["framework"]) == ("bo", ["a"], "")
    assert changed["hyperparameters"] == {"lr": 0.1}
    assert api("DELETE", f"/{model}/versions/2").status_code == 204
    assert api("GET", f"/{model}/versions/2").status_code == 404


def test_models_are_found_by_text_and_by_tags_together(api: Api, model: str) -> None:
    version(api, model, tags=["nlp", model])

    def names(**query: Any) -> list[str]:
        return [m["name"] for m in api("GET", "", params=query).json()]

    assert names(search=model.upper()) == [model]
    assert names(tags=f"{model},nothing") == [model]
    assert names(tags=f"{model},nothing", tags_mode="all") == []
    assert names(tags=f"{model},nlp", tags_mode="all") == [model]
    assert names(search="no such text", tags=model) == []
    assert names(search="%") == []
    answer = api("GET", "", params={"limit": 1})
    assert int(answer.headers["X-Total-Count"]) > len(answer.json()) == 1
    assert api("GET", "", params={"limit": 0}).status_code == 422


def test_a_full_store_takes_no_upload(
    api: Api, model: str, config: AppConfig, registry: ModelRegistry, tmp_path: Path
) -> None:
    limits = config.registry.model_copy(update={"max_stored_bytes": 2_000_000})
    full = Api(config.model_copy(update={"registry": limits}), registry, ChangeFeed())
    version(api, model)
    content = bundle_zip(tmp_path, bytes(range(256)) * 8_000)
    refused = upload(full, model, content)
    assert (refused.status_code, refused.json()["error_code"]) == (429, "E8007")
    assert "of the 2000000 bytes" in refused.json()["error_message"]
    # Nothing of it was recorded: once there is room, the same is taken.
    assert upload(api, model, content).status_code == 200


def test_a_bundle_goes_up_and_comes_down_unchanged(api: Api, model: str, tmp_path: Path) -> None:
    made = version(api, model)
    content = bundle_zip(tmp_path, bytes(range(256)) * 8_000)
    stored = upload(api, model, content)
    assert stored.status_code == 200, stored.text
    assert stored.json()["uploaded_at"] > made["created_at"]
    path = stored.json()["artifact_path"].removeprefix(MODELS)
    assert upload(api, model, content).status_code == 409

    whole = api("GET", path)
    with zipfile.ZipFile(io.BytesIO(whole.content)) as pack:
        assert pack.read("model.onnx") == bytes(range(256)) * 8_000
    etag = whole.headers["etag"]
    assert api("GET", path).headers["etag"] == etag
    assert api("GET", path, headers={"If-None-Match": etag}).status_code == 304
    part = api("GET", path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    one = api("GET", f"{path}/tokenizer.json")
    assert (one.status_code, one.content) == (200, b"{}")
    for bad in ("../../mlflow.db", "%2e%2e/%2e%2e/mlflow.db", "/etc/passwd", "nothing.json"):
        assert api("GET", f"{path}/{bad}").status_code == 404
    assert api("DELETE", path).status_code == 204
    assert api("DELETE", path).status_code == 404
    assert api("GET", path).status_code == 404
    assert upload(api, model, content).status_code == 200
    promote(api, model, "1.0.0", "staging")
    assert api("DELETE", path).status_code == 409


ONNX = b"\x08\x08" + b"\x3a\x04\x0a\x02ab"
FILES = {
    "onnx": ONNX,
    "safetensors": (2).to_bytes(8, "little") + b"{}",
    "h5": b"\x89HDF\r\n\x1a\n" + b"rest",
    "pb": b"\x0a\x03abc" + b"\x18\x01",
}


@pytest.mark.parametrize("kind", FILES)
def test_single_files_are_kept_as_they_are(api: Api, model: str, kind: str) -> None:
    version(api, model)
    assert upload(api, model, FILES[kind], kind).status_code == 200
    assert api("GET", f"/{model}/versions/1/artifact").content == FILES[kind]
    assert api("GET", f"/{model}/versions/1").json()["artifact_format"] == kind


@pytest.mark.parametrize("kind", ["pickle", "joblib", "pt"])
def test_pickles_are_refused_with_the_reason_and_the_alternative(
    api: Api, model: str, kind: str
) -> None:
    version(api, model)
    refused = upload(api, model, b"\x80\x04K\x01.", kind)
    assert refused.status_code == 415
    assert "runs code" in refused.json()["error_message"]
    assert "ONNX" in refused.json()["error_message"]


def outside(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if "artifacts" not in p.parts and p.is_file()}


with tempfile.TemporaryDirectory() as _folder:
    _GOOD = bundle_zip(Path(_folder))

HOSTILE = {
    "a path above": zipped({"../evil.json": b"{}"}),
    "an absolute path": zipped({"/tmp/evil.json": b"{}"}),
    "a backslash path": zipped({"..\\evil.json": b"{}"}),
    "a script": zipped({"model.onnx": b"", "run.py": b"import os"}),
    "a pickle inside": zipped({"model.onnx": b"", "weights.pkl": b"\x80\x04."}),
    "too many files": zipped({f"{i}.json": b"{}" for i in range(65)}),
    "no manifest": zipped({"model.onnx": b"x"}),
    "a manifest naming a path above": zipped(
        {"bundle.json": b'{"format": 1, "files": {"../evil.json": {}}}'}
    ),
    "files that are not the listed ones": zipped(
        {
            **{
                n: zipfile.ZipFile(io.BytesIO(_GOOD)).read(n)
                for n in ("bundle.json", "tokenizer.json")
            },
            "model.onnx": b"other weights",
        }
    ),
    "no zip": b"not a zip at all",
    "half a zip": zipped({"model.onnx": b"x" * 1000})[:500],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused_and_nothing_is_written_outside(
    api: Api, model: str, tmp_path: Path, case: str, config: AppConfig
) -> None:
    version(api, model)
    around = Path(config.registry.bundle_cache_dir).parent
    before = outside(around) - {around / "mlflow.db-wal", around / "mlflow.db-shm"}
    refused = upload(api, model, HOSTILE[case])
    assert refused.status_code == 422, refused.text
    assert "/tmp" not in refused.json()["error_message"].replace("/tmp/evil.json", "")
    assert outside(around) - {around / "mlflow.db-wal", around / "mlflow.db-shm"} == before
    assert not Path("/tmp/evil.json").exists()
    assert api("GET", f"/{model}/versions/1").json()["digest"] is None


def test_a_link_in_an_archive_is_refused(api: Api, model: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as pack:
        entry = zipfile.ZipInfo("model.onnx")
        entry.external_attr = 0o120777 << 16
        pack.writestr(entry, "/etc/passwd")
    version(api, model)
    refused = upload(api, model, out.getvalue())
    assert (refused.status_code, "is a link" in refused.text) == (422, True)


def test_bombs_and_oversize_are_413(api: Api, model: str) -> None:
    version(api, model)
    bomb = zipped({"model.onnx": b"\0" * 10_000_000}, compress=True)
    assert len(bomb) < 20_000
    assert upload(api, model, bomb).status_code == 413
    liar = bomb.replace((10_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    assert upload(api, model, liar).status_code in (413, 422)
    assert upload(api, model, b"\x89HDF\r\n\x1a\n" + b"x" * 3_000_000, "h5").status_code == 413
    assert upload(api, model, b"x" * 4_000_000, "h5").status_code == 413


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("content", [b"\x80\x04K\x01.", b"", b"MZ\x90\0 an exe", b"PK\x03\x04"])
def test_content_that_is_not_of_the_format_is_refused(
    api: Api, model: str, kind: str, content: bytes
) -> None:
    version(api, model)
    assert upload(api, model, content, kind).status_code in (415, 422)


def test_promotion_obeys_the_lifecycle_on_every_route(api: Api, model: str, tmp_path: Path) -> None:
    version(api, model)
    early = promote(api, model, "1.0.0", "staging")
    assert (early.status_code, "no stored files" in early.text) == (409, True)
    upload(api, model, bundle_zip(tmp_path, b"one"))
    skipped = api("PATCH", f"/{model}/versions/1.0.0/status", json={"status": "production"})
    assert skipped.status_code == 409
    assert "it can go to staging, archived" in skipped.json()["error_message"]
    promote(api, model, "1.0.0", "staging")
    etag = api("GET", f"/{model}").headers["etag"]
    assert promote(api, model, "1.0.0", "production", headers={"If-Match": etag}).is_success
    ready(api, model, "2.0.0", tmp_path, b"two")
    stale = promote(api, model, "2.0.0", "production", headers={"If-Match": etag})
    assert stale.status_code == 412
    status = api("PATCH", f"/{model}/versions/2.0.0/status", json={"status": "production"}).json()
    assert (status["status"], status["aliases"]) == ("production", ["champion"])
    assert api("GET", f"/{model}/versions/1.0.0").json()["status"] == "archived"
    assert api("DELETE", f"/{model}").status_code == 409
    assert api("DELETE", f"/{model}/versions/2.0.0").status_code == 409

    back = api("POST", f"/{model}/rollback", json={"reason": "errors"})
    assert (back.status_code, back.json()["version"]) == (200, 1)
    entries = api("GET", f"/{model}/audit", params={"action": "promote", "actor": "ana"}).json()
    assert [(e["version"], e["actor"]) for e in entries["entries"]] == [(2, "ana"), (1, "ana")]
    assert entries["verified"]
    moment = entries["entries"][1]["at"]
    then = api("GET", f"/{model}/audit/champion", params={"at": moment}).json()
    assert (then["version"], then["actor"]) == (1, "ana")
    assert api("GET", f"/{model}/audit/champion").json()["version"] == 1
    for number in ("0", "-1.19e-07", "1763895600"):
        path = f"/{model}/audit/champion"
        assert api("GET", path, params={"at": number}).status_code == 422


def test_slots_gates_and_approval(api: Api, model: str, tmp_path: Path) -> None:
    ready(api, model, "1.0.0", tmp_path, b"one")
    slot = {"version": "1.0.0", "weight": 0.1}
    put = api("PUT", f"/{model}/slots/challenger", json=slot)
    assert put.status_code == 200
    # The server follows another model, so nothing waits for it.
    assert put.json()["pending"] is None
    assert api("PUT", f"/{model}/slots/champion", json=slot).status_code == 422
    assert api("PUT", f"/{model}/slots/shadow", json={**slot, "weight": 2}).status_code == 422
    slots = api("GET", f"/{model}/slots").json()
    assert (slots["challenger"]["version"], slots["challenger_weight"]) == ("1.0.0", 0.1)
    assert api("DELETE", f"/{model}/slots/challenger").status_code == 200

    rules = [{"metric": "accuracy", "threshold": 0.8, "dataset": "gold"}]
    policy = {"policy": {"rules": rules, "approvals": 1}}
    assert api("PATCH", f"/{model}", json=policy).status_code == 200
    gate = api("GET", f"/{model}/versions/1/gate").json()
    assert not gate["passed"]
    refused = promote(api, model, "1.0.0", "production")
    assert (refused.status_code, "has no accuracy on gold" in refused.text) == (409, True)
    figures = {
        "evaluation_name": "e",
        "dataset_name": "gold",
        "dataset_digest": "d" * 64,
        "metrics": {"accuracy": 0.9},
    }
    assert api("POST", f"/{model}/versions/1/evaluations", json=figures).status_code == 201
    assert promote(api, model, "1.0.0", "production").status_code == 403
    approval = {"approve": True, "reason": "looked"}
    agreed = api("POST", f"/{model}/versions/1/approval", json=approval, headers={"X-Actor": "bo"})
    assert agreed.status_code == 200
    assert promote(api, model, "1.0.0", "production").status_code == 200


def test_figures_are_recorded_compared_and_drawn(api: Api, model: str, tmp_path: Path) -> None:
    for label, accuracy, latency in (("1.0.0", 0.8, 30), ("1.1.0", 0.9, 50), ("1.2.0", None, None)):
        ready(api, model, label, tmp_path, label.encode())
        if accuracy is not None:
            body = {
                "evaluation_name": "nightly",
                "dataset_name": "gold",
                "dataset_digest": "d" * 64,
                "metrics": {"accuracy": accuracy, "latency_ms": latency},
                "metadata": {"seed": 1},
            }
            assert api("POST", f"/{model}/versions/{label}/evaluations", json=body).is_success
    bad = b'{"evaluation_name": "e", "dataset_name": "d", "metrics": {"accuracy": NaN}}'
    assert api("POST", f"/{model}/versions/1/evaluations", content=bad).status_code == 422

    listed = api("GET", f"/{model}/versions/1.1.0/evaluations").json()
    assert [(e["evaluation_name"], e["metrics"]["accuracy"], e["metadata"]) for e in listed] == [
        ("nightly", 0.9, {"seed": 1})
    ]
    shown = api("GET", f"/{model}/versions/1.1.0").json()["evaluations"]
    assert [e["id"] for e in shown] == [listed[0]["id"]]

    ranked = api("GET", f"/{model}/compare/accuracy").json()["versions"]
    assert [v["version"] for v in ranked] == ["1.1.0", "1.0.0", "1.2.0"]
    lower = api("GET", f"/{model}/compare/latency_ms", params={"direction": "lower"}).json()
    assert [v["metric_value"] for v in lower["versions"]] == [30, 50, None]

    compared = api("GET", f"/{model}/compare", params={"a": "1.0.0", "b": "1.1.0"}).json()
    accuracy = next(m for m in compared["metrics"] if m["metric"] == "accuracy")
    assert accuracy["difference"] == pytest.approx(0.1)
    assert compared["labels"]["same"]
    assert {f["name"]: f["same"] for f in compared["files"]} == {
        "model.onnx": False,
        "tokenizer.json": True,
    }

    trend = api("GET", f"/{model}/metrics/trend", params={"metric": "accuracy"}).json()
    assert [(p["number"], p["value"]) for p in trend["points"]] == [(1, 0.8), (2, 0.9)]
    png = api("GET", f"/{model}/metrics/trend.png", params={"metric": "accuracy"})
    assert (png.headers["content-type"], png.content[:4]) == ("image/png", b"\x89PNG")
    assert api("GET", f"/{model}/metrics/trend.png", params={"metric": "none"}).status_code == 404

    # Declared by the author: counts where nobody has measured, and for no gate.
    version(api, model, "1.3.0", performance_metrics={"accuracy": 0.85, "recall": 0.7})
    declared = api("GET", f"/{model}/compare/accuracy").json()["versions"]
    assert [(v["version"], v["metric_value"]) for v in declared] == [
        *(("1.1.0", 0.9), ("1.3.0", 0.85), ("1.0.0", 0.8)),
        ("1.2.0", None),
    ]
    assert api("DELETE", f"/{model}/versions/1.3.0").status_code == 204
    data = api("GET", f"/{model}/metrics/visualization").json()["metrics_data"]
    assert (data["total_versions"], data["total_evaluations"]) == (3, 2)
    assert data["available_metrics"] == ["accuracy", "latency_ms"]

    def found(**query: Any) -> list[str]:
        answer = api("GET", "/search", params={"text": model, **query})
        assert answer.status_code == 200, answer.text
        return [item["version"] for item in answer.json()["items"]]

    assert found(metric="accuracy>=0.85") == ["1.1.0"]
    assert found(metric=["accuracy>=0.5", "latency_ms<40"]) == ["1.0.0"]
    assert found(sort="-metric:accuracy") == ["1.1.0", "1.0.0", "1.2.0"]
    assert found(stage="draft") == []
    assert found(author="ana", framework="onnx", tags="prod,nlp", tags_mode="all") == [
        "1.0.0",
        "1.1.0",
        "1.2.0",
    ]
    first = api("GET", "/search", params={"text": model, "limit": 2, "sort": "-version"}).json()
    cursor = {"text": model, "limit": 2, "sort": "-version", "cursor": first["next_cursor"]}
    second = api("GET", "/search", params=cursor).json()
    assert [i["number"] for i in first["items"] + second["items"]] == [3, 2, 1]
    assert (first["total"], second["next_cursor"]) == (3, None)
    for wrong in ({"metric": "accuracy=1"}, {"sort": "size"}, {"cursor": "AAAA"}):
        assert api("GET", "/search", params=wrong).status_code == 422


def test_whoever_watches_hears_of_a_change_at_once(api: Api, news: ChangeFeed) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        first = (await client.get(f"{MODELS}/watch", params={"timeout_s": 0})).json()
        quiet = (
            await client.get(
                f"{MODELS}/watch", params={"since": first["revision"], "timeout_s": 0.1}
            )
        ).json()
        assert quiet == first
        waiting = asyncio.create_task(
            client.get(f"{MODELS}/watch", params={"since": first["revision"], "timeout_s": 30})
        )
        await asyncio.sleep(0.2)
        await news.publish({"m": {"champion": AliasAssignment(2, "ab", 1.0)}})
        told = (await asyncio.wait_for(waiting, 5)).json()
        assert told["models"]["m"]["champion"]["version"] == 2
        assert told["revision"] != first["revision"]

    api.run(body)


def test_errors_have_the_one_body(api: Api) -> None:
    missing = api("GET", "/nothing-like-it", headers={"X-Correlation-ID": "abc"})
    assert missing.status_code == 404
    assert missing.json()["correlation_id"] == "abc"
    assert "sqlite" not in missing.text
    assert api("POST", "", content=b"{").status_code == 422
    wrong = api("PUT", "")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
    # DELETE is of `{model_id}`, and no model can have that name.
    wrong = api("OPTIONS", "/search")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
    latin = {"Content-Type": "application/json"}
    garbled = api("POST", "", content=b'{"name": "caf\xe9"}', headers=latin)
    assert (garbled.status_code, garbled.json()["error_code"]) == (400, "E1001")


def test_what_is_served_waits_for_the_rollout(
    api: Api, registry: ModelRegistry, model: str, tmp_path: Path
) -> None:
    for label in ("1.0.0", "1.1.0"):
        ready(api, model, label, tmp_path, label.encode())
    config = AppConfig.model_validate({"model": {"name": model}})
    served = Api(config, registry, ChangeFeed())
    first = promote(served, model, "1.0.0", "production").json()
    assert (first["status"], first["pending"]) == ("production", None)
    slot = {"version": "1.1.0", "weight": 0.1}
    canary = served("PUT", f"/{model}/slots/challenger", json=slot).json()
    assert "before it is challenger; one that fails there" in canary["pending"]
    second = promote(served, model, "1.1.0", "production").json()
    assert "loads version 2 and probes it beside the champion" in second["pending"]
    back = served("POST", f"/{model}/rollback", json={"reason": "slow"}).json()
    assert "loads version 1" in back["pending"]
    assert api("DELETE", f"/{model}/slots/shadow").json()["pending"] is None


def test_a_release_over_http(api: Api, model: str, tmp_path: Path) -> None:
    for label in ("1.0.0", "1.1.0"):
        ready(api, model, label, tmp_path, label.encode())
    assert promote(api, model, "1.0.0", "production").status_code == 200
    assert api("GET", f"/{model}/release").status_code == 404
    policy = {"release": {"canary_weights": [0.25]}}
    assert api("PATCH", f"/{model}", json={"policy": policy}).status_code == 200
    path = f"/{model}/versions/1.1.0/release"
    assert api("POST", path, json={"weight": 1}).status_code == 422
    started = api("POST", path, json={"reason": "better"})
    assert (started.status_code, started.json()["action"]) == (202, "release_start")
    assert "pending: a server of this model probes version 2" in started.json()["pending"]
    second = api("POST", path, json={})
    assert second.status_code == 409
    assert "abort that first" in second.json()["error_message"]
    status = api("GET", f"/{model}/release").json()
    assert (status["version"], status["champion"], status["actor"]) == (2, 1, "ana")
    assert (status["steps"], status["slot"], status["weight"]) == ([1.0, 0.25], "shadow", 1.0)
    assert (status["verdict"], status["held"]) == ("wait", None)
    assert [test["name"] for test in status["tests"]][-1] == "accuracy"
    assert api("POST", f"/{model}/release/hold", json={"reason": ""}).status_code == 422
    assert api("POST", f"/{model}/release/hold", json={"reason": "lunch"}).status_code == 200
    assert api("GET", f"/{model}/release").json()["held"] == "lunch"
    assert api("POST", f"/{model}/release/resume", json={}).status_code == 200
    assert api("POST", f"/{model}/release/abort", json={"reason": "enough"}).status_code == 200
    assert api("POST", f"/{model}/release/abort", json={"reason": "enough"}).status_code == 409
    assert api("GET", f"/{model}/versions/1.1.0").json()["rolled_back"] is None


def test_monitoring_shows_models_every_version_and_the_one_in_production(
    api: Api, model: str, tmp_path: Path
) -> None:
    def get(path: str, **query: Any) -> httpx.Response:
        address = f"/api/v1/monitoring/models{path}"
        answer: httpx.Response = api.run(lambda client: client.get(address, params=query))
        return answer

    for label in ("1.0.0", "1.1.0"):
        ready(api, model, label, tmp_path, label.encode())
    missing = get(f"/{model}/production")
    assert (missing.status_code, missing.json()["error_code"]) == (404, "E8007")
    assert promote(api, model, "1.0.0", "production").status_code == 200
    found = get("", filter_string=model[:6].upper(), max_results=100).json()
    assert found["count"] >= 1
    (mine,) = [each for each in found["models"] if each["name"] == model]
    assert mine["latest_versions"] == [
        {"version": 2, "stage": "staging"},
        {"version": 1, "stage": "production"},
    ]
    serving = get(f"/{model}/production").json()
    assert (serving["version"], serving["stage"], len(serving["source"])) == (1, "production", 64)
    versions = get(f"/{model}/versions").json()
    assert (versions["count"], len(versions["versions"])) == (2, 2)
    assert [each["version"] for each in versions["production_versions"]] == [1]
    assert get("/none/versions").status_code == 404
    assert get("", max_results=101).status_code == 422


def test_a_moment_is_written_out(api: Api, model: str) -> None:
    for moment, status in (("2026-11-23T10:00:00Z", 200), ("0.5", 422), ("-1", 422)):
        assert api("GET", f"/{model}/audit", params={"until": moment}).status_code == status


def test_a_damaged_ledger_is_called_that_and_read_again_once_it_is_back(
    api: Api, registry: ModelRegistry, model: str
) -> None:
    ledger, client = registry.store.ledger, registry.store.mlflow.client()
    run_id = ledger._run(model, 0, make=False)
    client.delete_run(run_id)
    with pytest.raises(LedgerDamaged, match=f"mlflow runs restore --run-id {run_id}"):
        registry.store.ledger.events(model)
    refused = api("GET", f"/{model}/audit")
    assert refused.status_code == 503
    assert "ledger of this model is damaged" in refused.json()["error_message"]
    client.restore_run(run_id)
    assert api("GET", f"/{model}/audit").status_code == 200

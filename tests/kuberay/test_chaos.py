"""Chaos on a cluster: valid files that find our pods; the suite's order, verdict and abort."""

import gzip
import http.server
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.system import chaos_cluster
from tests.system.chaos_cluster import FOLDER, Timing, files, main, out_of_hand, read
from tests.system.chaos_load import Sent

ALL = sorted(FOLDER.rglob("*.yaml"))
QUICK = Timing(steady_s=0.3, before_s=0.2, after_s=0.6)


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def schema(document: dict[str, Any]) -> dict[str, Any]:
    file = Path(__file__).parent / "schemas" / f"{document['kind']}-v1alpha1.json.gz"
    found: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    return found


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_the_schema_accepts_it(path: Path) -> None:
    document = load(path)
    jsonschema.Draft7Validator(schema(document)).validate(document)
    group = "litmuschaos.io" if path.parent.name == "litmus" else "chaos-mesh.org"
    assert document["apiVersion"] == f"{group}/v1alpha1"
    assert document["metadata"]["name"].endswith(path.stem) or path.stem == "schedule"


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_misspelt_key_is_refused(path: Path) -> None:
    document = load(path)
    spec = document["spec"]
    if "experiments" in spec:
        # Litmus leaves the rest open.
        spec = spec["experiments"][0]["spec"]["probe"][0]["runProperties"]
    spec["durations"] = "60s"
    with pytest.raises(jsonschema.ValidationError, match="durations"):
        jsonschema.Draft7Validator(schema(document)).validate(document)


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_it_ends_by_itself_and_says_what_clients_may_see(path: Path) -> None:
    fault = read(path, "elsewhere")
    kill = fault.content["spec"].get("action") == "pod-kill"
    assert (fault.duration_s == 0) == kill
    assert fault.duration_s <= 60
    assert 0 <= fault.failed_ratio <= 0.5
    assert fault.content["metadata"]["namespace"] == "elsewhere"
    assert fault.content["spec"]["selector"]["namespaces"] == ["elsewhere"]


def selectors(node: object) -> Iterator[dict[str, str]]:
    if isinstance(node, dict):
        if "labelSelectors" in node:
            yield node["labelSelectors"]
        if "applabel" in node:
            name, _, value = node["applabel"].partition("=")
            yield {name: value}
        for value in node.values():
            yield from selectors(value)
    elif isinstance(node, list):
        for value in node:
            yield from selectors(value)


def test_every_selector_finds_pods_of_the_chart() -> None:
    pytest.importorskip("helm_python", reason="pip install .[cluster]")
    from manifests import render, values_of  # noqa: PLC0415

    labels: list[dict[str, str]] = []

    def collect(node: object) -> None:
        if isinstance(node, dict):
            if "containers" in node.get("spec", {}) and "labels" in node.get("metadata", {}):
                labels.append(node["metadata"]["labels"])
            for value in node.values():
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(render(values_of("staging")))
    for path in ALL:
        for wanted in selectors(load(path)):
            assert any(wanted.items() <= found.items() for found in labels), (path.stem, wanted)


def test_the_abort_rule() -> None:
    def sent(done_s: float, outcome: str) -> Sent:
        return Sent("text", done_s - 0.1, done_s, outcome, {})

    good = [sent(i / 10, "200") for i in range(100)]
    bad = [sent(10 + i / 10, "503") for i in range(60)]
    assert not out_of_hand(good, 10)
    assert not out_of_hand(good + bad[:40], 14)
    assert out_of_hand(good + bad, 16)
    assert not out_of_hand(bad[:10], 16)  # too few to tell


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that notes its calls, and what it was given."""
    calls = tmp_path / "calls"
    script = tmp_path / "kubectl"
    script.write_text(
        f'#!/bin/sh\necho "$*" >> {calls}\n[ "$3" = apply ] && cat >> {calls}\nexit 0\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return calls


@pytest.fixture
def server(cluster: Path) -> Iterator[tuple[str, list[bool]]]:
    """Answers predictions; while the fault is applied, as the switch says."""
    fails_under_fault = [False]

    class Predicts(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            calls = cluster.read_text() if cluster.exists() else ""
            applied = "apply" in calls and "delete" not in calls
            self.send_response(503 if applied and fails_under_fault[0] else 200)
            self.end_headers()
            self.wfile.write(b'{"scores": {}}')

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Predicts) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", fails_under_fault
        running.shutdown()


def suite(url: str, *options: str) -> int:
    return main(["--url", url, "--namespace", "trial", "--rate", "60", *options], QUICK)


def test_a_fault_is_applied_under_load_and_deleted(cluster, server, tmp_path) -> None:
    out = tmp_path / "out.json"
    assert suite(server[0], "--only", "mlflow-kill", "--out", str(out)) == 0
    applied, given, deleted = cluster.read_text().partition("{")[0], cluster.read_text(), "delete"
    assert applied == "--namespace trial apply -f -\n"
    assert '"namespaces": ["trial"]' in given
    assert f"{deleted} podchaos sentigraph-mlflow-kill --ignore-not-found" in given
    [row] = json.loads(out.read_text())
    assert (row["failed"], row["broken"]) == (0, [])
    assert row["requests"] > 10


def test_a_broken_limit_fails_the_run(cluster, server) -> None:
    server[1][0] = True
    assert suite(server[0], "--only", "mlflow-kill") == 1


def test_a_run_out_of_hand_is_ended_early(cluster, server, monkeypatch) -> None:
    server[1][0] = True
    monkeypatch.setattr(chaos_cluster, "_ABORT_LEAST", 5)
    monkeypatch.setattr(chaos_cluster, "_ABORT_S", 0.5)
    fault = read(FOLDER / "pod-failure.yaml", "trial")
    fault = type(fault)(fault.name, fault.content, 6.0, 0.0, 2_000, 2)
    row = chaos_cluster.run(
        fault,
        chaos_cluster.Kubectl("trial"),
        lambda: chaos_cluster.OpenLoad(server[0], ("text",), 60, 0),
        QUICK,
    )
    assert row["broken"][0].startswith("aborted")
    # Deleted before its end: requests due after that are answered.
    assert row["recovered_s"] < 6


def test_production_and_an_unsteady_server_are_left_alone(cluster, server) -> None:
    assert main(["--url", server[0], "--namespace", "sentigraph-production"], QUICK) == 2
    gone = "http://127.0.0.1:9"
    assert suite(gone, "--only", "pod-kill") == 1
    assert not cluster.exists()

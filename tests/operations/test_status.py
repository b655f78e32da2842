"""``sentigraph status``: what counts as unhealthy, what a person sees, and what cannot be asked."""

import argparse
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

import pytest

from cli.__main__ import main
from operations.clients.ray_dashboard import RayDashboard
from operations.clients.ray_details import (
    Deployment,
    Node,
    Replica,
    RunningApplication,
    deployment_of,
    fates_of,
)
from operations.clients.server import Server
from operations.status.collector import Json, StatusCollector, work_of
from operations.status.log_lines import distinct, mishaps_of
from operations.status.metrics_page import MetricsPage, read_page, samples_of
from operations.status.screen import lines, problems

NOW_S = 2_000_000_000.0
DIGEST = "ab" * 32


def replica(name: str, state: str = "RUNNING") -> Replica:
    return Replica(name, state, "10.0.0.1", "n1", 17, NOW_S - 3_600, f"/serve/{name}.log")


def deployment(
    name: str, *replicas: Replica, wanted: int = 1, status: str = "HEALTHY"
) -> Deployment:
    return Deployment(name, status, "ValueError: no", wanted, replicas, 0)


def application(status: str, *deployments: Deployment) -> Json:
    return asdict(RunningApplication("sentigraph", status, "", deployments))


INGRESS = deployment("Ingress", replica("i1"), replica("i2"), wanted=2)
WELL: Json = {
    "url": "http://server",
    "at": "2026-11-23T12:00:00+00:00",
    "ready": True,
    "ours": False,
    "dependencies": {"model": "ok", "registry": "ok", "cache": "ok"},
    "application": application("RUNNING", INGRESS),
    "nodes": [asdict(Node("n1", "10.0.0.1", "vm", True, 2, 0.5, 0.25, 8080))],
    "versions": {
        "name": "sentiment",
        "live": {"champion": 3, "challenger": 4, "shadow": 0},
        "weights": {"challenger": 0.05, "shadow": 0.0},
        "digest": DIGEST,
        "engine": "onnx int8",
        "source": "registry",
        "by_ingress": {"i1": 3, "i2": 3},
        "aliases": {"champion": 3, "challenger": 4},
    },
    "change": {
        "under_way": True,
        "what": "step 2 of 5, challenger 0.05",
        "version": 4,
        "why": "too few texts",
        "at": "2026-11-23T11:59:50+00:00",
        "actor": "ana",
    },
    "work": {
        "replicas": 2,
        "answered": {"2xx": 90, "5xx": 1},
        "lookups": 80,
        "l1_hits": 20,
        "l2_hits": 4,
        "cache_bytes": 1_000_000,
        "queued_texts": 7,
        "active_requests": 2,
        "predicted_wait_s": 0.012,
        "dropped": {"expired": 3},
        "breakers": [],
    },
    "streams": {
        "connected": True,
        "replicas": 1,
        "lag": 12,
        "in_flight": 5,
        "per_s": 80.5,
        "dead_letters": 2,
    },
    "jobs": {"jobs": 2, "texts": 300},
    "mishaps": [],
    "notes": [],
}


def changed(section: str, **values: object) -> Json:
    return {**WELL, section: {**WELL[section], **values}}


def test_a_sound_system_has_no_problem() -> None:
    assert problems(WELL) == []


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({**WELL, "ready": False}, "no text can be classified"),
        (changed("dependencies", cache="degraded: away"), "cache: degraded: away"),
        (
            {**WELL, "application": application("DEPLOY_FAILED")},
            "application sentigraph is DEPLOY_FAILED",
        ),
        (
            {
                **WELL,
                "application": asdict(
                    RunningApplication(
                        "sentigraph", "DEPLOY_FAILED", "Traceback:\nValueError: no such key\n", ()
                    )
                ),
            },
            "application sentigraph is DEPLOY_FAILED: ValueError: no such key",
        ),
        (
            changed("dependencies", model="degraded: Model replica m1 has not answered for 7 s"),
            "model: degraded: Model replica m1 has not answered for 7 s",
        ),
        (
            {
                **WELL,
                "application": application(
                    "RUNNING", deployment("Model", replica("m", "STARTING"))
                ),
            },
            "Model has 0 of 1 replicas",
        ),
        (
            {
                **WELL,
                "application": application(
                    "RUNNING", deployment("Model", replica("m"), status="UNHEALTHY")
                ),
            },
            "Model is UNHEALTHY: ValueError: no",
        ),
        (
            changed("versions", by_ingress={"i1": 3, "i2": 2}),
            "i2 serves version 2, and the registry's champion is 3",
        ),
        (
            changed("versions", by_ingress={"i1": 3, "i2": 2}, aliases=None),
            "different versions: [2, 3]",
        ),
        (changed("streams", connected=False), "Kafka does not answer"),
        (
            changed("change", what="held in step 2", why="by ana"),
            "the release of version 4 is held: by ana",
        ),
        (changed("work", breakers=["kafka"]), "kafka is left alone"),
    ],
)
def test_what_is_wrong_is_said_first(seen: Json, said: str) -> None:
    assert any(said in problem for problem in problems(seen)), problems(seen)
    screen = list(lines(seen, NOW_S))
    assert "NOT HEALTHY" in screen[0]
    assert said in "\n".join(screen[1:3])


def test_the_screen_tells_everything() -> None:
    screen = "\n".join(lines(WELL, NOW_S))
    for said in (
        "sentigraph at http://server: healthy",
        "2/2",
        "i1 on 10.0.0.1 pid 17, 60 min",
        "vm (10.0.0.1) head: 2 cores, load 0.5, memory 25%",
        "champion 3, challenger 4 (5%)",
        "champion of each ingress: i1 3, i2 3",
        "the registry says: champion 3, challenger 4",
        "release under way step 2 of 5, challenger 0.05 of version 4 by ana",
        "90 2xx, 1 5xx; 2 under way (2 ingresses",
        "25.0% of 80 texts in memory, 5.0% in level two",
        "7 texts wait, predicted wait 12 ms; dropped: 3 expired",
        "12 messages behind, 5 in flight",
        "2 jobs with 300 texts",
        "model ok, registry ok, cache ok",
        "last errors   none",
    ):
        assert said in screen, said


def test_series_of_dead_replicas_are_left_out() -> None:
    page = "\n".join(
        [
            "# TYPE ray_sentiment_queued_texts gauge",
            'ray_sentiment_queued_texts{replica="i1",deployment="Ingress"} 3.0',
            'ray_sentiment_queued_texts{replica="dead",deployment="Ingress"} 90.0',
            'ray_sentiment_cache_lookups_total{replica="i1",level="l1",result="hit"} 5.0',
            "ray_serve_num_replicas 7.0",
        ]
    )
    figures = MetricsPage.of_pages([page], frozenset({"i1"}))
    assert figures.total("sentiment_queued_texts") == 3
    assert figures.by("result", "sentiment_cache_lookups_total", level="l1") == {"hit": 5}
    assert figures.largest("sentiment_predicted_wait_seconds") is None
    assert {sample.name for sample in samples_of(page)} == {
        "sentiment_queued_texts",
        "sentiment_cache_lookups_total",
    }


def test_the_work_of_no_series_has_what_the_screen_shows() -> None:
    assert work_of(MetricsPage([]), 1).keys() == WELL["work"].keys()


def test_errors_are_read_from_a_json_log() -> None:
    log = "\n".join(
        [
            "Traceback (most recent call last):",
            json.dumps({"levelname": "INFO", "message": "fine", "timestamp_ns": 10**18}),
            json.dumps(
                {
                    "levelname": "WARNING",
                    "message": "Failed to get queue length from Replica(id='m1') within 0.1s.",
                    "timestamp_ns": 10**18,
                }
            ),
            json.dumps({"levelname": "ERROR", "message": "it\nbroke", "timestamp_ns": 10**18}),
            "[1, 2]",
        ]
    )
    [mishap] = mishaps_of(log, INGRESS, "i1")
    assert mishap == {
        "at": "2001-09-09T01:46:40+00:00",
        "deployment": "Ingress",
        "replica": "i1",
        "level": "ERROR",
        "message": "it broke",
    }


@contextmanager
def answering(
    answers: dict[str, tuple[int, object]], asked: list[str] | None = None
) -> Iterator[str]:
    asked = [] if asked is None else asked

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path if self.path in answers else self.path.partition("?")[0]
            asked.append(path)
            status, body = answers.get(path, (404, {}))
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


LIVE = {
    "champion": {
        "name": "sentiment",
        "version": 3,
        "digest": DIGEST,
        "backend": "onnx",
        "precision": "int8",
        "source": "registry",
    },
    "challenger": None,
    "challenger_weight": 0.0,
    "shadow": None,
    "shadow_weight": 0.0,
}
HEALTHY = {
    "status": "healthy",
    "dependencies": [{"component_name": "model", "details": {"status": "healthy", "error": None}}],
}


def test_a_node_gives_its_page_or_none() -> None:
    with answering({"/metrics": (200, "ray_sentiment_queued_texts 4.0\n")}) as url:
        host, _, port = url.removeprefix("http://").rpartition(":")
        page = read_page(host, int(port))
    assert page is not None
    assert MetricsPage(samples_of(page)).total("sentiment_queued_texts") == 4
    with answering({}) as url:
        assert read_page(host, int(url.rpartition(":")[2])) is None
    assert read_page(host, 9) is None


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    dead = "http://127.0.0.1:9"
    assert main(["status", "--url", dead, "--dashboard-url", dead]) == 1
    out = capsys.readouterr().out
    assert "NOT HEALTHY" in out
    assert f"no sentigraph server answers at {dead}" in out
    assert f"no Ray dashboard answers at {dead}" in out


def test_one_ingress_is_enough_and_what_is_missing_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers: dict[str, tuple[int, object]] = {
        "/api/v1/health/details": (200, HEALTHY),
        "/api/v1/models/live": (200, LIVE),
        "/api/v1/models/sentiment": (401, {}),
        "/api/v1/metrics": (200, "sentiment_queued_texts 4.0\n"),
    }
    with answering(answers) as url:
        assert main(["status", "--url", url, "--dashboard-url", "", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is True
    assert found["work"]["queued_texts"] == 4
    assert found["versions"]["live"]["champion"] == 3
    assert found["versions"]["aliases"] is None
    assert found["application"] is None
    assert any("/api/v1/models/sentiment needs a key" in note for note in found["notes"])
    assert any("one ingress" in note for note in found["notes"])


def test_a_served_version_beside_the_registry_is_unhealthy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers: dict[str, tuple[int, object]] = {
        "/api/v1/health/details": (200, HEALTHY),
        "/api/v1/models/live": (200, LIVE),
        "/api/v1/models/sentiment": (200, {"aliases": {"champion": 4}}),
    }
    with answering(answers) as url:
        assert main(["status", "--url", url, "--dashboard-url", ""]) == 1
    assert "serves version 3, and the registry's champion is 4" in capsys.readouterr().out


def test_a_key_is_sent_and_a_missing_file_is_said(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["status", "--url", "http://127.0.0.1:9", "--key-file", f"{tmp_path}/none"]
    assert main(arguments) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_redeploy_under_way_is_no_problem_and_is_called_so() -> None:
    coming = replace(
        deployment("Model", replica("m1"), replica("m2", "STARTING"), wanted=2), replaced=1
    )
    seen = {**WELL, "application": application("DEPLOYING", INGRESS, coming)}
    assert problems(seen) == []
    assert next(lines(seen, NOW_S)) == "sentigraph at http://server: healthy, updating"
    none = deployment("Model", replica("m2", "STARTING"), wanted=1)
    assert problems({**WELL, "application": application("DEPLOYING", none)}) == [
        "Model has 0 of 1 replicas"
    ]
    assert problems({**seen, "ready": False}) == [
        "no text can be classified now",
        "Model has 1 of 2 replicas",
    ]


def test_replaced_replicas_are_told_apart_from_dead_ones() -> None:
    log = (
        "INFO Stopping 1 replicas of Deployment(name='Model') with outdated versions.\n"
        "WARNING Actor for Replica(id='crash1', deployment='Model', app='a') crashed, marking it "
        "unhealthy immediately.\n"
    )
    gone = [{"replica_id": "old1"}, {"replica_id": "old2"}, {"replica_id": "crash1"}]
    answers = {
        "/api/serve/applications/": json.dumps(
            {
                "controller_info": {"node_id": "n", "log_file_path": "/serve/controller.log"},
                "applications": {
                    "sentigraph": {
                        "status": "RUNNING",
                        "deployments": {"Model": {"replicas": [], "recent_dead_replicas": gone}},
                    }
                },
            }
        ),
        "/api/v0/logs/file": log,
    }
    with answering({path: (200, body) for path, body in answers.items()}) as url:
        found = RayDashboard(url, "").application("sentigraph")
    assert found is not None
    (model,) = found.deployments
    assert (model.died, model.replaced) == (1, 2)
    screen = "\n".join(lines({**WELL, "application": asdict(found)}, NOW_S))
    assert "1 died, 2 replaced" in screen


def test_fewer_wanted_replicas_are_scaled_down_and_not_replaced() -> None:
    log = (
        "INFO Removing 2 replicas from Deployment(name='Model', app='a').\n"
        "INFO Stopping Replica(id='old1', deployment='Cache', app='a') (currently RUNNING).\n"
        "INFO Stopping Replica(id='few1', deployment='Model', app='a') (currently RUNNING).\n"
        "INFO Stopping Replica(id='few2', deployment='Model', app='a') (currently RUNNING).\n"
        "INFO Stopping Replica(id='old2', deployment='Model', app='a') (currently RUNNING).\n"
        "WARNING Actor for Replica(id='few2', deployment='Model', app='a') crashed.\n"
    )
    fates = fates_of(log)
    gone = [{"replica_id": name} for name in ("few1", "few2", "old2")]
    found = deployment_of("Model", {"replicas": [], "recent_dead_replicas": gone}, fates)
    assert (found.died, found.replaced, found.scaled_down) == (1, 1, 1)
    seen = {**WELL, "application": application("RUNNING", found)}
    assert "1 died, 1 replaced, 1 scaled down" in "\n".join(lines(seen, NOW_S))


def test_a_killed_replica_is_named_before_ray_serve_finds_it() -> None:
    def described(*states: str) -> Json:
        replicas = [
            {"replica_id": f"m{n}", "state": state, "actor_id": f"a{n}", "pid": 40 + n}
            for n, state in enumerate(states)
        ]
        model = {"replicas": replicas, "status": "HEALTHY", "target_num_replicas": 2}
        return {"applications": {"a": {"status": "RUNNING", "deployments": {"Model": model}}}}

    alive = {"data": {"result": {"result": [{"actor_id": "a0"}, {"actor_id": "other"}]}}}
    with answering(
        {
            "/api/serve/applications/": (200, described("RUNNING", "RUNNING")),
            "/api/v0/actors": (200, alive),
        }
    ) as url:
        found = RayDashboard(url, "").present("a")
    assert found is not None
    (model,) = found.deployments
    assert [replica.state for replica in model.replicas] == ["RUNNING", "DEAD"]
    seen = {**WELL, "application": asdict(found)}
    assert problems(seen) == [
        "Model has 1 of 2 replicas",
        "Model replica m1 is dead: its process 41 has ended, and Ray Serve starts another",
    ]
    assert "NOT HEALTHY" in next(lines(seen, NOW_S))
    # One that Ray Serve ends on purpose is stopping before its process is gone.
    with answering(
        {
            "/api/serve/applications/": (200, described("RUNNING", "STOPPING")),
            "/api/v0/actors": (200, alive),
        }
    ) as url:
        found = RayDashboard(url, "").present("a")
    assert found is not None
    assert [replica.state for replica in found.deployments[0].replicas] == ["RUNNING", "STOPPING"]


def test_an_own_mlflow_that_is_gone_is_said() -> None:
    answers: dict[str, tuple[int, object]] = {
        "/api/v1/health/details": (200, HEALTHY),
        "/api/v1/models/live": (200, LIVE),
        "/health": (200, "OK"),
    }
    with answering(answers) as url:
        server = Server(argparse.Namespace(url=url, key_file=None), 10)
        for address, said in ((url, None), ("http://127.0.0.1:9", "degraded: MLflow at")):
            collector = StatusCollector(server, None, "a", mlflow=lambda: address)  # noqa: B023
            seen = collector.collect()
            found = seen["dependencies"].get("mlflow")
            assert (found is None) == (said is None)
            assert said is None or found.startswith(said)
            assert ("mlflow: degraded" in "".join(problems(seen))) == (said is not None)


def test_the_same_error_is_shown_once_with_its_number() -> None:
    def mishap(at: str, message: str) -> Json:
        return {
            **{"at": at, "deployment": "Ingress", "replica": "i1"},
            **{"level": "WARNING", "message": message},
        }

    found = distinct([mishap(f"2026-01-01T00:00:0{at}", f"took {at} s") for at in range(5)])
    assert [(one["message"], one["times"]) for one in found] == [("took 4 s", 5)]
    found += distinct([mishap("2026-01-01T00:00:09", "other")])
    screen = "\n".join(lines({**WELL, "mishaps": found}, NOW_S))
    assert "took 4 s (5 times)" in screen
    assert "other (" not in screen


def test_a_graph_that_comes_up_is_starting_and_no_alarm(capsys: pytest.CaptureFixture[str]) -> None:
    model = deployment("Model", replica("m1", "STARTING"))
    coming = {
        **WELL,
        "ready": False,
        "dependencies": {"model": "the model stage does not answer"},
        "application": application("DEPLOYING", INGRESS, model),
    }
    assert problems(coming) == []
    assert next(lines(coming, NOW_S)) == "sentigraph at http://server: starting"
    for broken in (
        application("DEPLOYING", INGRESS, replace(model, died=1)),
        application("DEPLOYING", INGRESS, replace(model, status="DEPLOY_FAILED")),
        application("DEPLOYING", INGRESS, replace(model, replaced=1)),
        application("RUNNING", INGRESS, model),
    ):
        assert "no text can be classified now" in problems({**coming, "application": broken})

    nothing = {**coming, "application": None, "dependencies": {}}
    assert problems(nothing) == ["no text can be classified now"]
    assert problems({**nothing, "ours": True}) == []

    described = {"replicas": [{"state": "STARTING"}], "status": "UPDATING"}
    running = {"status": "DEPLOYING", "deployments": {"Model": described}}
    answers: dict[str, tuple[int, object]] = {
        "/api/serve/applications/": (200, {"applications": {"sentigraph": running}}),
        "/nodes": (200, {"data": {"summary": []}}),
    }
    with answering(answers) as url:
        assert main(["status", "--url", url, "--dashboard-url", url, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["healthy"], found["state"], found["problems"]) == (False, "starting", [])


def test_more_replicas_that_come_because_of_load_are_no_alarm() -> None:
    more = deployment("Model", replica("m1"), wanted=2, status="UPSCALING")
    assert problems({**WELL, "application": application("RUNNING", INGRESS, more)}) == []


def test_series_that_are_older_than_a_promotion_are_no_alarm() -> None:
    moved = {**WELL["change"], "under_way": False, "what": "promote"}
    late = {**changed("versions", by_ingress={"i1": 3, "i2": 2}), "change": moved}
    assert problems(late) == []
    assert problems({**late, "at": "2026-11-23T12:01:00+00:00"}) == [
        "i2 serves version 2, and the registry's champion is 3"
    ]


def test_what_became_of_the_last_release_is_shown() -> None:
    def entry(seq: int, action: str, **after: object) -> Json:
        at = f"2026-01-01T00:00:0{seq}+00:00"
        about = {"version": 3, "actor": "ana", "reason": f"why {seq}"}
        return {"action": action, "at": at, "after": after, **about}

    begun = entry(1, "release_start", release={"version": 4})
    over = entry(2, "release_rollback", release=None)
    later = entry(3, "set_slot", release=None)
    answers: dict[str, tuple[int, object]] = {
        "/api/v1/health/details": (200, HEALTHY),
        "/api/v1/models/live": (200, LIVE),
    }
    audit = "/api/v1/models/sentiment/audit"
    for entries, shown in (
        ([later, over, begun], "last release: release_rollback of version 4, 2026-01-01T00:00:02"),
        ([over, begun], ""),
        ([later], ""),
    ):
        with answering(answers | {audit: (200, {"entries": entries})}) as url:
            server = Server(argparse.Namespace(url=url, key_file=None), 10)
            seen = StatusCollector(server, None, "a").collect()
        screen = "\n".join(lines(seen, NOW_S))
        assert ("last release: " in screen) == bool(shown)
        assert shown in screen
        assert f"no release; last {entries[0]['action']}" in screen


def test_a_look_asks_for_nothing_that_is_off() -> None:
    """Its 404 and 503 would be errors in the figures that it shows."""
    ingress = {"replicas": [], "target_num_replicas": 0}
    running = {"status": "RUNNING", "deployments": {"Ingress": ingress}}
    entry = {
        "action": "promote",
        "version": 3,
        "reason": "",
        "at": "2026-01-01T00:00:00+00:00",
        "actor": "ana",
    }
    answers: dict[str, tuple[int, object]] = {
        "/api/serve/applications/": (200, {"applications": {"sentigraph": running}}),
        "/nodes": (200, {"data": {"summary": []}}),
        "/api/v1/health/details": (200, HEALTHY),
        "/api/v1/models/live": (200, LIVE),
        "/api/v1/models/sentiment": (200, {"aliases": {"champion": 3}}),
        "/api/v1/models/sentiment/audit": (
            200,
            {"entries": [{**entry, "after": {"release": None, "aliases": {}}}]},
        ),
        "/api/v1/metrics": (200, ""),
    }
    asked: list[str] = []
    with answering(answers, asked) as url:
        assert main(["status", "--url", url, "--dashboard-url", url, "--json"]) == 0
    assert set(asked) <= answers.keys()

"""The handler in AWS Lambda's own runtime client, which talks to a stub of the Runtime API."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.lambda_runtime import (
    RuntimeApi,
    balancer_event,
    runtime_api,
    url_event,
)

ROOT = Path(__file__).parents[2]
PREDICT = "/api/v1/predict"
TEXT = json.dumps({"text": "What a wonderful day"})


def start(api: RuntimeApi, **environ: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "awslambdaric", "serverless.aws_lambda.handler"],
        cwd=ROOT,
        env={**os.environ, "AWS_LAMBDA_RUNTIME_API": api.address, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def function() -> Iterator[RuntimeApi]:
    with runtime_api() as api:
        process = start(api)
        yield api
        process.kill()
        process.wait()


def test_a_function_url_answers(function: RuntimeApi) -> None:
    kind, answer = function.call(url_event(PREDICT, TEXT))
    assert (kind, answer["statusCode"]) == ("response", 200)
    body = json.loads(answer["body"])
    assert body["label"] == "POSITIVE"
    assert set(body["scores"]) == {"NEGATIVE", "POSITIVE"}
    assert "server-timing" in answer["headers"]


def test_a_load_balancer_gets_the_same(function: RuntimeApi) -> None:
    _, first = function.call(url_event(PREDICT, TEXT))
    _, second = function.call(balancer_event(PREDICT, TEXT))
    assert second["statusCode"] == 200
    assert json.loads(second["body"])["scores"] == json.loads(first["body"])["scores"]


def test_errors_are_answers_and_not_failures_of_the_function(function: RuntimeApi) -> None:
    kind, answer = function.call(url_event(PREDICT, json.dumps({"text": " "})))
    assert (kind, answer["statusCode"]) == ("response", 422)
    assert json.loads(answer["body"])["error_code"] == "E1003"
    kind, answer = function.call(url_event("/api/v1/models", None, "GET"))
    assert (kind, answer["statusCode"]) == ("response", 501)
    late = url_event(PREDICT, json.dumps({"text": "new " * 200}), **{"x-deadline-ms": "1"})
    kind, answer = function.call(late)
    assert (kind, answer["statusCode"]) == ("response", 504)


def test_a_model_that_cannot_be_opened_is_an_init_error(tmp_path: Path) -> None:
    with runtime_api() as api:
        process = start(api, MLOPS_REGISTRY__BUNDLED_MODEL_DIR=str(tmp_path))
        assert process.wait(60) != 0
        assert [error["errorType"] for error in api.init_errors] == ["InvalidBundle"]

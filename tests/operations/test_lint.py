"""`sentigraph lint` finds what Ray Serve would drop without a word."""

import argparse
import json
from pathlib import Path

import pytest

from configs.yaml_lint import Problem
from operations.lint import add_arguments, lint, main

# Ray 2.60 declares its own models in a way that pydantic deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")

ROOT = Path(__file__).parents[2]
GOOD = """\
proxy_location: EveryNode
http_options: {port: 8000}
applications:
  - name: sentigraph
    import_path: deployments.app:build
    args:
      limits:
        max_text_chars: 100
    runtime_env:
      env_vars: {RAY_SERVE_ENABLE_HA_PROXY: "1", RAY_SERVE_THROUGHPUT_OPTIMIZED: "1"}
    deployments:
      - name: Model
        num_replicas: 2
        max_ongoing_requests: 5
        ray_actor_options: {num_gpus: 1}
      - name: Tokenizer
        autoscaling_config: {target_ongoing_requests: 3, min_replicas: 1, max_replicas: 2}
    route_prefix: /
"""


def found(text: str) -> list[Problem]:
    return lint(text, Path("/nowhere"))


def test_tls_that_would_be_dropped_is_refused() -> None:
    problems = found(GOOD.replace("{port: 8000}", "{port: 8000, ssl_certfile: /tls.pem}"))
    (ours,) = [problem for problem in problems if "gateway" in problem.message]
    assert (ours.line, ours.path) == (2, "http_options.ssl_certfile")


@pytest.mark.parametrize(
    "name", ["add_servicer", "no.such.module.add", "configs.sources.paths.missing"]
)
def test_a_grpc_function_that_cannot_be_imported_is_refused(name: str) -> None:
    options = "grpc_options:\n  grpc_servicer_functions:\n    - {}\napplications:"
    (problem,) = found(GOOD.replace("applications:", options.format(name)))
    assert (problem.line, problem.path) == (5, "grpc_options.grpc_servicer_functions[0]")
    right = options.format("deployments.oip.grpc_messages.add_servicer")
    assert found(GOOD.replace("applications:", right)) == []


def test_a_grpc_function_that_has_moved_is_refused_with_its_new_place() -> None:
    options = (
        "grpc_options: {grpc_servicer_functions: [deployments.grpc_messages.add_servicer]}\n"
        "applications:"
    )
    (problem,) = found(GOOD.replace("applications:", options))
    assert problem.message == (
        "deployments.grpc_messages.add_servicer is now deployments.oip.grpc_messages.add_servicer"
    )


@pytest.mark.parametrize(
    "path", ["deployments.app:bild", "deployments.ap:build", "deployments.nowhere_at_all:x"]
)
def test_an_import_path_of_nothing_is_refused(path: str) -> None:
    (problem,) = found(GOOD.replace("deployments.app:build", path))
    assert (problem.line, problem.path) == (5, "applications[0].import_path")
    assert ("did you mean deployments.app:build" in problem.message) != path.endswith(":x")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (("name: Tokenizer", "name: Tokeniser"), "did you mean Tokenizer"),
        (("name: Tokenizer", "name: Stream"), "it has Cache, Ingress, Model"),
    ],
)
def test_an_override_of_no_deployment_is_refused(change: tuple[str, str], hint: str) -> None:
    (problem,) = found(GOOD.replace(*change))
    assert problem.path == "applications[0].deployments[1].name"
    assert hint in problem.message


def test_a_setting_that_is_there_twice_is_refused_at_any_depth() -> None:
    twice = "max_text_chars: 100\n        max_text_chars: 200"
    (problem,) = found(GOOD.replace("max_text_chars: 100", twice))
    assert (problem.line, problem.path) == (9, "applications[0].args.limits.max_text_chars")


def test_a_secret_in_the_file_is_refused_and_not_repeated() -> None:
    secret = "limits:\n        max_text_chars: 100\n      redis: {password: s3cret-word}"
    (problem,) = found(GOOD.replace("limits:\n        max_text_chars: 100", secret))
    assert problem.path == "applications[0].args.redis.password"
    assert "MLOPS_REDIS__PASSWORD" in problem.message
    assert "s3cret" not in problem.message


def test_the_jobs_database_may_stand_in_the_file_as_a_file_only() -> None:
    def with_database(uri: str) -> str:
        limits = "limits:\n        max_text_chars: 100"
        return GOOD.replace(limits, f"{limits}\n      jobs: {{database: '{uri}'}}")

    assert found(with_database("sqlite:////app/jobs/jobs.db")) == []
    (problem,) = found(with_database("postgresql://jobs:s3cret@db/jobs"))
    assert "MLOPS_JOBS__DATABASE" in problem.message
    assert "s3cret" not in problem.message


def run(path: Path, *flags: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return main(parser.parse_args([str(path), *flags]))


def test_a_good_file_has_no_problems() -> None:
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("right", "wrong", "hint"),
    [
        ("num_replicas", "num_replica", "did you mean num_replicas?"),
        ("max_ongoing_requests", "max_concurrent_queries", "it is now max_ongoing_requests"),
        ("route_prefix", "rout_prefix", "did you mean route_prefix?"),
        ("num_gpus", "num_gpu", "did you mean num_gpus?"),
        (
            "target_ongoing_requests",
            "target_num_ongoing_requests_per_replica",
            "it is now target_ongoing_requests",
        ),
        ("http_options", "http_option", "did you mean http_options?"),
        ("proxy_location", "proxi_location", "did you mean proxy_location?"),
        ("env_vars", "env_var", "did you mean env_vars?"),
    ],
)
def test_a_misspelt_key_is_found_where_it_stands(right: str, wrong: str, hint: str) -> None:
    text = GOOD.replace(right, wrong)
    (problem,) = found(text)
    assert text.splitlines()[problem.line - 1].find(wrong) >= 0
    assert problem.path.endswith(wrong)
    assert problem.message.endswith(hint)


@pytest.mark.parametrize(
    ("right", "wrong", "path", "message"),
    [
        ("port: 8000", "port: eighty", "http_options.port", "valid integer"),
        ("num_replicas: 2", "num_replicas: -1", "deployments[0].num_replicas", "greater than 0"),
        ("min_replicas: 1", "min_replicas: 9", "autoscaling_config", "max_replicas (2) must"),
        ("max_text_chars", "max_text_char", "args", "did you mean limits.max_text_chars?"),
        ("max_text_chars: 100", "max_text_chars: 0", "args", "from 1 to 1000000"),
        ('PROXY: "1"', 'PROXY: "0"', "env_vars", "OPTIMIZED=1 without RAY_SERVE_ENABLE_HA"),
        (', RAY_SERVE_THROUGHPUT_OPTIMIZED: "1"', "", "env_vars", "set both or neither"),
        (
            "        num_replicas: 2",
            "        name: Again\n        num_replicas: 2",
            "name",
            "twice",
        ),
    ],
)
def test_a_wrong_value_is_found(right: str, wrong: str, path: str, message: str) -> None:
    assert right in GOOD
    problems = found(GOOD.replace(right, wrong))
    assert any(
        problem.path.endswith(path) and message in problem.message for problem in problems
    ), problems


def test_an_argument_is_reported_on_its_line() -> None:
    (problem,) = found(GOOD.replace("max_text_chars: 100", "max_text_chars: 0"))
    assert problem.line == 8


def test_arguments_of_other_applications_are_their_own_business() -> None:
    text = GOOD.replace("deployments.app:build", "elsewhere:app").replace("limits", "anything")
    assert found(text) == []


def test_everything_is_listed_at_once_in_the_files_order() -> None:
    text = GOOD.replace("num_replicas", "num_replica").replace("num_gpus", "num_gpu")
    text = text.replace("max_text_chars", "max_text_char").replace("port", "prot")
    problems = found(text)
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)
    assert len(problems) == 5  # "import_path" holds "port" too, and Ray misses that key


@pytest.mark.parametrize("text", ["", "- a", "a: [1", "applications: {"])
def test_what_is_no_mapping_is_one_problem(text: str) -> None:
    (problem,) = found(text)
    assert problem.path == "document"


def test_exit_status_and_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert run(path) == 0
    path.write_text(GOOD.replace("num_gpus", "num_gpu"), encoding="utf-8")
    capsys.readouterr()
    assert run(path) == 1
    assert capsys.readouterr().out.startswith(f"{path}:15: applications[0].deployments[0]")
    assert run(path, "--json") == 1
    assert json.loads(capsys.readouterr().out)[0]["line"] == 15
    assert run(tmp_path / "missing.yaml") == 2
    assert "missing.yaml" in capsys.readouterr().err


def test_the_repositorys_own_file_is_clean() -> None:
    assert lint((ROOT / "serve_config.yaml").read_text(encoding="utf-8"), ROOT) == []


def test_keys_that_a_public_profile_gets_from_elsewhere_are_not_missed_here() -> None:
    public = GOOD.replace("args:", "args:\n      profile: production")
    assert found(public) == []
    [problem] = found(public.replace("      limits:", "      access: {burst_s: 0}\n      limits:"))
    assert "access.burst_s" in problem.message

"""Precedence of the places that settings come from, and what is refused."""

import itertools
import logging
from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.load import PROFILES, find_home, load_config
from configs.schema.app import AppConfig
from configs.sources.vault import secret_names

# The profiles staging and production start with a way in alone.
KEY = {"MLOPS_API_KEY": "an-Api-key-1"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def refused(overrides: dict[str, object] | None = None, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides, environ=environ, home=Path("/nowhere"))
    return caught.value.problems


def test_without_anything_the_schema_defaults_hold(home: Path) -> None:
    assert load_config(environ={}, home=home).limits == AppConfig().limits


def test_a_setting_does_not_disturb_its_neighbours_defaults(home: Path) -> None:
    model = load_config({"replicas": {"model": {"num_cpus": 3}}}, environ={}, home=home)
    assert model.replicas.model == AppConfig().replicas.model.model_copy(update={"num_cpus": 3.0})


# Each place, lowest first, gives production's `cache.ttl_s` (7200) another value.
PLACES = ("default", "profile", "args", "dotenv", "files", "environ")


@pytest.mark.parametrize(("low", "high"), list(itertools.combinations(PLACES, 2)))
def test_the_higher_of_two_places_wins(home: Path, low: str, high: str) -> None:
    used = {low, high}
    args: dict[str, object] = {"profile": "production"} if "profile" in used else {}
    if "args" in used:
        args["cache"] = {"ttl_s": 20}
    if "dotenv" in used:
        (home / ".env").write_text("MLOPS_CACHE__TTL_S=30\n", encoding="utf-8")
    if "files" in used:
        (home / "MLOPS_CACHE__TTL_S").write_text("35\n", encoding="utf-8")
    environ = KEY | {"SENTIGRAPH_SECRETS_DIR": str(home)}
    environ |= {"MLOPS_CACHE__TTL_S": "40"} if "environ" in used else {}
    expected = {"profile": 7_200, "args": 20, "dotenv": 30, "files": 35, "environ": 40}
    assert load_config(args, environ=environ, home=home).cache.ttl_s == expected[high]


def test_a_folder_of_secrets_that_cannot_be_read_is_refused(home: Path) -> None:
    [said] = refused(SENTIGRAPH_SECRETS_DIR="/nowhere/secrets")
    assert "SENTIGRAPH_SECRETS_DIR=/nowhere/secrets cannot be read" in said


@pytest.mark.parametrize("profile", ["local", "development", "staging", "production"])
def test_every_profile_boots(home: Path, profile: str) -> None:
    config = load_config(environ={**KEY, "MLOPS_PROFILE": profile}, home=home)
    assert config.profile == profile


@pytest.mark.parametrize("profile", ["staging", "production"])
def test_a_public_profile_starts_with_a_way_in_or_says_so(home: Path, profile: str) -> None:
    [said] = refused({"profile": profile})
    assert "there is no way in: set access.api_keys" in said
    assert f"access.required is set in profile {profile}" in said
    assert load_config({"profile": profile}, environ=KEY, home=home).access.required
    token = {"jwks": "keys.json", "issuer": "https://id", "audience": "us"}
    assert load_config({"profile": profile, "access": {"jwt": token}}, environ={}, home=home)
    # By one's own word it is open, for a gateway in front that asks for keys.
    opened = {"profile": profile, "access": {"required": False}}
    assert not load_config(opened, environ={}, home=home).access.required


def test_there_is_a_file_for_each_profile_and_no_other() -> None:
    assert {path.stem for path in PROFILES.glob("*.yaml")} == {
        "local",
        "development",
        "staging",
        "production",
    }


@pytest.mark.parametrize(
    ("environ", "args", "profile"),
    [
        ({"PROFILE": "dev"}, None, "development"),
        ({"MLOPS_ENVIRONMENT": "Prod"}, None, "production"),
        ({"PROFILE": "prod", "MLOPS_PROFILE": "production"}, None, "production"),
        ({}, {"profile": "prod"}, "production"),
        ({"PROFILE": "staging"}, {"profile": "production"}, "staging"),
        ({"PROFILE": ""}, {"profile": "staging"}, "staging"),
    ],
)
def test_profile_is_chosen_by_the_highest_place_and_by_alias(
    home: Path, environ: dict[str, str], args: dict[str, object] | None, profile: str
) -> None:
    config = load_config(args, environ=KEY | environ, home=home)
    assert config.profile == profile
    assert (config.server.log_level == "WARNING") is (profile == "production")


def test_dotenv_of_the_home_chooses_the_profile_and_leaves_the_process_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTSIDE", "leaked")
    monkeypatch.delenv("MLOPS_APP_NAME", raising=False)
    (home / ".env").write_text("PROFILE=prod\nexport MLOPS_APP_NAME='${OUTSIDE}'\n")
    config = load_config(environ=KEY, home=home)
    assert (config.profile, config.server.app_name) == ("production", "${OUTSIDE}")


def test_the_process_environment_is_read_by_default(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIGRAPH_HOME", str(home))
    monkeypatch.setenv("MLOPS_APP_NAME", "reviews")
    assert load_config().server.app_name == "reviews"


def test_all_problems_are_listed_at_once() -> None:
    problems = refused(
        {"limits": {"max_text_char": 5}, "cache": 3, "model": {"alias": None}},
        MLOPS_LOG_LEVL="INFO",
        MLOPS_MAX_TEXT_LENGTH="0",
        PROFILE="prd",
    )
    assert problems == (
        "limits.max_text_char in args is not a setting; did you mean limits.max_text_chars?",
        "cache=3 in args must be a section of settings",
        "MLOPS_LOG_LEVL is not a setting; did you mean MLOPS_LOG_LEVEL?",
        "PROFILE=prd must be one of local, development, staging, production",
        "MLOPS_MAX_TEXT_LENGTH=0 must be a whole number from 1 to 1000000",
        "model.alias=None in args must be 1 to 255 letters, digits, `_`, `.` or `-`",
    )


def test_an_empty_section_changes_nothing(home: Path) -> None:
    assert load_config({"limits": None}, environ={}, home=home).limits == AppConfig().limits


def test_a_contradiction_names_who_set_it() -> None:
    (problem,) = refused({"limits": {"max_deadline_ms": 5}}, MLOPS_APP_NAME="reviews")
    assert problem.startswith("limits.default_deadline_ms=10000 is above limits.max_deadline_ms=5")
    assert problem.endswith("(limits.max_deadline_ms is set in args)")


def test_a_longer_timeout_lifts_the_longest_deadline_unless_that_is_named_too(home: Path) -> None:
    environ = {"MLOPS_MAX_REQUEST_TIMEOUT": "120"}
    limits = load_config(environ=environ, home=home).limits
    assert (limits.default_deadline_ms, limits.max_deadline_ms) == (120_000, 120_000)
    environ = {"MLOPS_MAX_REQUEST_TIMEOUT": "2.5"}
    limits = load_config(environ=environ, home=home).limits
    assert (limits.default_deadline_ms, limits.max_deadline_ms) == (2_500, 60_000)
    problems = refused(MLOPS_MAX_REQUEST_TIMEOUT="120", MLOPS_LIMITS__MAX_DEADLINE_MS="7")
    assert "limits.max_deadline_ms is set by MLOPS_LIMITS__MAX_DEADLINE_MS" in problems[0]


def test_names_without_effect_give_one_warning(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"MLOPS_HOST": "0.0.0.0", "MLOPS_DATA_LAKE_BUCKET": "s3cret"}
    with caplog.at_level(logging.WARNING):
        load_config(environ=environ, home=home)
    (record,) = caplog.records
    assert all(name in record.getMessage() for name in environ)
    assert "s3cret" not in record.getMessage()


def test_passwords_do_not_appear_in_a_refusal() -> None:
    uri = "postgresql://mlflow:x@s3cret@db/mlflow"
    (problem,) = refused(MLOPS_MLFLOW_TRACKING_URI=uri, MLOPS_MLFLOW_REGISTRY_URI=uri + "2")
    assert "s3cret" not in problem
    assert "postgresql://mlflow:***@db/mlflow2" in problem


def test_the_jobs_database_may_hold_a_password_and_is_never_shown() -> None:
    uri = "postgresql://jobs:hunter2@db/jobs"
    config = load_config(environ={"MLOPS_JOBS__DATABASE": uri})
    assert config.jobs.database.get_secret_value() == uri
    assert "hunter2" not in f"{config!r} {config} {config.model_dump_json()}"
    (problem,) = refused(MLOPS_JOBS__DATABASE="mysql://jobs:hunter2@db/jobs")
    assert "hunter2" not in problem
    assert "must be a sqlite or postgresql URI" in problem
    assert "jobs.database" in secret_names()


def test_a_home_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SENTIGRAPH_HOME"):
        find_home({"SENTIGRAPH_HOME": str(tmp_path / "missing")})
    assert find_home({"SENTIGRAPH_HOME": str(tmp_path)}) == tmp_path
    assert (find_home({}) / "configs").is_dir()

"""Every environment name changes the setting that it claims to."""

from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.load import load_config
from configs.schema.app import AppConfig
from configs.schema.fields import Setting, settings
from configs.sources.environment_names import VARIABLES, Variable
from configs.sources.unsupported_names import ABSENT, Absent

HOME = Path("/nowhere")


def value_of(config: AppConfig, name: str) -> object:
    found: object = config
    for part in name.split("."):
        found = getattr(found, part)
    return found


def load(**environ: str) -> AppConfig:
    return load_config(environ=environ, home=HOME)


def refused(**environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**environ)
    return caught.value.message


# A vault that is not there: outside of production the other sources stand in.
VAULT = {"MLOPS_VAULT__ADDRESS": "http://127.0.0.1:1", "MLOPS_VAULT__TOKEN": "s.abc"}
JWT = {"MLOPS_ACCESS__JWT__ISSUER": "https://id", "MLOPS_ACCESS__JWT__AUDIENCE": "api"}
# What a setting needs beside it.
ALSO = {
    "MLOPS_VAULT_ENABLED": VAULT,
    "MLOPS_VAULT__ENABLED": VAULT,
    "MLOPS_VAULT__REDIS_ROLE": {"MLOPS_VAULT__ENABLED": "true", **VAULT},
    "MLOPS_ACCESS__REQUIRED": {"MLOPS_ACCESS__API_KEY": "an-Api-key-1"},
    "MLOPS_ACCESS__API_KEY": {"MLOPS_ACCESS__REQUIRED": "true"},
    "MLOPS_ACCESS__API_KEYS": {"MLOPS_ACCESS__REQUIRED": "true"},
    "MLOPS_JOBS__WEBHOOK__HOSTS": {"MLOPS_JOBS__WEBHOOK__SECRET": "a-secret-of-the-tests"},
    "MLOPS_ACCESS__JWT__JWKS": {"MLOPS_ACCESS__REQUIRED": "true", **JWT},
}


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_each_name_of_the_specification_changes_its_settings(variable: Variable) -> None:
    also = ALSO.get(variable.name, {})
    before, after = load(), load(**also, **{variable.name: variable.example})
    for name in variable.fields:
        assert value_of(after, name) != value_of(before, name), name


# Where the value that another_value would find contradicts another setting's default.
CHOSEN = {
    "limits.max_queued_texts": "4096",
    "replicas.cache.num_replicas": "0",
    "replicas.registry.num_replicas": "0",
    "replicas.jobs.num_replicas": "0",
    "replicas.insight.num_replicas": "0",
    "jobs.database": "postgresql://jobs@db/jobs",
    "drift.database": "postgresql://insight@db/insight",
    "jobs.webhook.hosts": "hooks.example",
    "registry.tracking_uri": "http://mlflow:5000",
    "server.cors_origins": "https://shop.example",
    "access.public": "metrics",
    "model.allowed_names": "sentiment",
    "access.trusted_proxies": "10.0.0.0/8",
    "access.api_key": "an-Api-key-1",
    "access.api_keys": f'[{{"id": "shop", "sha256": "{"ab" * 32}"}}]',
    "vault.address": "http://vault:8200",
    "stream.bootstrap_servers": "kafka-0:9092",
    "tracing.endpoint": "https://collector:4317",
}


def another_value(setting: Setting) -> str:
    if setting.name in CHOSEN:
        return CHOSEN[setting.name]
    default = setting.default
    if isinstance(default, bool):
        return "no" if default else "yes"
    if isinstance(default, int):
        return str(default // 2 or default + 1)
    if isinstance(default, float):
        return str(default / 2 or 1.0)
    if setting.limits.startswith("one of "):
        choices = setting.limits.removeprefix("one of ").split(", ")
        return next(choice for choice in choices if choice != default).upper()
    return "/elsewhere" if "/" in str(default) else "other"


@pytest.mark.parametrize("setting", settings(AppConfig).values(), ids=lambda item: item.variable)
def test_each_systematic_name_changes_its_setting(setting: Setting) -> None:
    also = {} if "num_replicas" in setting.name else {"MLOPS_REPLICAS__MODEL__NUM_REPLICAS": "2"}
    also = {**also, **ALSO.get(setting.variable, {})}
    before, after = load(), load(**also, **{setting.variable: another_value(setting)})
    assert value_of(after, setting.name) != value_of(before, setting.name)


def test_switches_leave_the_setting_alone_in_their_neutral_position() -> None:
    neutral = {
        "MLOPS_DEBUG": "false",
        "MLOPS_WARMUP_ENABLED": "true",
        "MLOPS_PREDICTION_CACHE_ENABLED": "true",
    }
    assert load(**neutral) == load()


def test_a_name_is_claimed_once() -> None:
    names = [variable.name for variable in VARIABLES]
    names += [name for group in ABSENT for name in group.all_names]
    assert len(names) == len(set(names))


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    assert refused(MLOPS_LIMITS__MAX_TEXT_CHAR="5") == (
        "MLOPS_LIMITS__MAX_TEXT_CHAR is not a setting; did you mean MLOPS_LIMITS__MAX_TEXT_CHARS?"
    )
    assert refused(mlops_log_level="INFO").endswith("did you mean MLOPS_LOG_LEVEL?")
    assert refused(MLOPS_ZZZZZZZZZZ="1") == "MLOPS_ZZZZZZZZZZ is not a setting"


def test_foreign_names_and_empty_values_are_left_alone() -> None:
    assert load(PATH="/bin", HOME="/root", MLOPS_MAX_TEXT_LENGTH="", MLOPS_NOPE=" ") == load()


def test_kubernetes_service_links_are_no_settings() -> None:
    links = {
        "MLOPS_UI_SERVICE_HOST": "10.0.0.1",
        "MLOPS_UI_SERVICE_PORT": "80",
        "MLOPS_UI_SERVICE_PORT_HTTP": "80",
        "MLOPS_UI_PORT": "tcp://10.0.0.1:80",
        "MLOPS_UI_PORT_80_TCP": "tcp://10.0.0.1:80",
        "MLOPS_UI_PORT_80_TCP_ADDR": "10.0.0.1",
        "MLOPS_PORT": "tcp://10.0.0.1:80",
    }
    assert load(**links) == load()


def test_two_names_of_one_setting_must_agree() -> None:
    assert load(MLOPS_WORKERS="3", MLOPS_SERVER_WORKERS=" 3").replicas.ingress.num_replicas == 3
    assert refused(MLOPS_WORKERS="3", MLOPS_SERVER_WORKERS="4") == (
        "MLOPS_SERVER_WORKERS=4 and MLOPS_WORKERS=3 "
        "set replicas.ingress.num_replicas to different values"
    )
    message = refused(MLOPS_DEBUG="true", MLOPS_SERVER__LOG_LEVEL="info")
    assert "MLOPS_DEBUG=true (server.log_level=DEBUG)" in message
    assert "MLOPS_SERVER__LOG_LEVEL=info" in message


def test_a_hugging_face_name_is_refused_with_what_to_do() -> None:
    message = refused(MLOPS_MODEL_NAME="cardiffnlp/twitter-roberta-base-sentiment")
    assert message.startswith("MLOPS_MODEL_NAME=cardiffnlp/twitter-roberta-base-sentiment is a")
    assert "under a name such as 'twitter-roberta-base-sentiment'" in message


@pytest.mark.parametrize("value", ["maybe", "2"])
def test_a_switch_is_true_or_false(value: str) -> None:
    assert refused(MLOPS_WARMUP_ENABLED=value) == (
        f"MLOPS_WARMUP_ENABLED={value} must be true or false"
    )


@pytest.mark.parametrize(
    ("group", "name"),
    [
        (group, name)
        for group in ABSENT
        for name in group.names
        if group.is_switch(name) and name not in group.always_on
    ],
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_a_switch_of_an_absent_subsystem_is_refused(group: Absent, name: str) -> None:
    message = refused(**{name: "true"})
    assert message.startswith(f"{name}=true asks for what this release does not have")
    assert group.subsystem in message
    assert load(**{name: "false"}) == load()


def test_a_switch_of_what_is_always_there_may_be_true() -> None:
    assert load(MLOPS_MLFLOW_ENABLED="true", MLOPS_ENABLE_METRICS="1") == load()


def test_an_api_key_makes_one_necessary_and_is_never_shown() -> None:
    config = load(MLOPS_API_KEY="s3cret-enough")
    assert config.access.required
    assert "s3cret" not in repr(config) + str(config.model_dump())
    for message in (
        refused(MLOPS_API_KEY="s3cret"),
        refused(MLOPS_API_KEY="s3cret-enough", MLOPS_ACCESS__API_KEY="an0ther-s3cret"),
        refused(MLOPS_API_KEY="s3cret-enough", MLOPS_ACCESS__REQUIRED="false"),
        refused(MLOPS_ACCESS__API_KEYS='[{"id": "s3cret"}]'),
    ):
        assert "s3cret" not in message
        assert "access." in message


def test_every_absent_name_is_known() -> None:
    for group in ABSENT:
        for name in group.all_names:
            value = "false" if group.is_switch(name) else "1"
            assert load(**{name: value}) == load()

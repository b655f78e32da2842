"""The one reader: profile, arguments, ``.env`` file and environment → ``AppConfig``.

Precedence, lowest first: schema defaults, profile, the ``args:`` of serve_config.yaml,
``.env`` in the home folder, files of ``SENTIGRAPH_SECRETS_DIR``, environment, Vault (secrets
only). Called once for each process that builds the graph or runs a pipeline; the result travels
to the replicas. The only module that reads ``os.environ``.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import yaml
from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError

from configs.errors import ConfigError, SecretsError
from configs.messages import Given, did_you_mean, sentences, shown
from configs.schema.app import AppConfig, Profile
from configs.schema.fields import sections, settings
from configs.sources.environment import Layer, read_variables
from configs.sources.environment_names import profile_name
from configs.sources.front_key import front_key
from configs.sources.paths import absolute_paths
from configs.sources.secret_files import read_secret_files
from configs.sources.shipped_files import checkout

HOME_VARIABLE = "SENTIGRAPH_HOME"
DOTENV = ".env"
PROFILES = Path(__file__).parent / "profiles"

_IN_DOTENV = f" in {DOTENV}"

_log = logging.getLogger(__name__)


def load_config(
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> AppConfig:
    """Builds the configuration, or refuses with everything that is wrong in it.

    Args:
        overrides: Nested settings, as under ``args:`` in serve_config.yaml.
        environ: Environment to read; None reads the process's.
        home: Folder that relative paths start from and that holds ``.env``; None takes
            ``SENTIGRAPH_HOME``, else the checkout, else (for a wheel) the current folder.

    Returns:
        A configuration whose paths are absolute, so it means the same in every process of
        the node.

    Raises:
        ConfigError: A setting is unknown, out of range, contradicts another, or asks for
            what this release does not have.
    """
    environ = os.environ if environ is None else environ
    home = find_home(environ) if home is None else home.resolve()
    environment = read_variables({**read_secret_files(environ), **environ}, AppConfig)
    dotenv = read_variables(_dotenv(home / DOTENV), AppConfig, place=_IN_DOTENV)
    args = read_mapping(overrides or {}, "args")
    chosen = _choose_profile([environment, dotenv, args])
    layers = [_profile_layer(str(chosen.value)), args, dotenv, environment]

    given = _merge(layers)
    given["profile"] = chosen
    config = _validate(given, [problem for layer in layers for problem in layer.problems])
    if config.vault.enabled:
        config = _validate({**given, **_from_vault(config)}, [])
    if without_effect := dotenv.without_effect + environment.without_effect:
        _log.warning("settings that have no effect in this release: %s", ", ".join(without_effect))
    return absolute_paths(config, home)


def in_dotenv(problem: str) -> bool:
    """Whether a line of a ``ConfigError`` blames a value of ``.env``."""
    return _IN_DOTENV in problem


def find_home(environ: Mapping[str, str] | None = None) -> Path:
    """The folder that relative paths start from, absolute.

    Raises:
        ConfigError: ``SENTIGRAPH_HOME`` names no folder.
    """
    environ = os.environ if environ is None else environ
    named = environ.get(HOME_VARIABLE, "").strip()
    home = Path(named).resolve() if named else checkout() or Path.cwd()
    if not home.is_dir():
        raise ConfigError(f"{HOME_VARIABLE}={shown(named)} is not a folder")
    return home


def own_front_key() -> str:
    """See ``front_key``; of this process."""
    return front_key(os.environ)


def read_mapping(values: Mapping[str, object], place: str) -> Layer:
    """Nested sections, as YAML gives them, → settings. An empty section changes nothing."""
    layer = Layer()
    _flatten(values, "", place, layer)
    return layer


def _flatten(values: Mapping[str, object], prefix: str, place: str, layer: Layer) -> None:
    known, nested = settings(AppConfig), sections(AppConfig)
    for key, value in values.items():
        name = f"{prefix}{key}"
        if name in known:
            shown_value = SecretStr(str(value)) if known[name].secret else value
            layer.given[name] = Given(name, shown_value, name, f" in {place}", shown_value)
        elif name not in nested:
            hint = did_you_mean(name, [*known, *nested])
            layer.problems.append(f"{name} in {place} is not a setting{hint}")
        elif isinstance(value, Mapping):
            _flatten(value, f"{name}.", place, layer)
        elif value is not None:
            layer.problems.append(f"{name}={shown(value)} in {place} must be a section of settings")


def _choose_profile(layers: Iterable[Layer]) -> Given:
    for layer in layers:
        if (found := layer.given.get("profile")) is not None:
            return replace(found, value=profile_name(str(found.value)))
    return Given("profile", "local", "profile", "", "local")


def _profile_layer(name: str) -> Layer:
    if name not in get_args(Profile):
        return Layer()  # the schema refuses the name
    values = yaml.safe_load((PROFILES / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    return read_mapping(values, f"profile {name}")


def _dotenv(path: Path) -> Mapping[str, str | None]:
    # No interpolation: it would read the process's environment behind our back.
    return dotenv_values(path, interpolate=False) if path.is_file() else {}


def _merge(layers: Iterable[Layer]) -> dict[str, Given]:
    known = settings(AppConfig)
    merged = {
        name: Given(name, item.default, name, "", item.default) for name, item in known.items()
    }
    for layer in layers:
        merged.update(layer.given)
        for lift in layer.lifts:
            if lift.field not in layer.given and _below(merged[lift.field], lift):
                merged[lift.field] = lift
    return merged


def _from_vault(config: AppConfig) -> dict[str, Given]:
    """The secrets that Vault has.

    Raises:
        ConfigError: It does not answer, in profile ``production``.
    """
    # hvac takes 0.2 s to import, and most processes that read settings have no Vault.
    from configs.sources.vault import VaultSecrets, secret_names  # noqa: PLC0415

    try:
        found = VaultSecrets(config.vault).read(secret_names())
    except SecretsError as error:
        if config.profile == "production":
            raise ConfigError(f"vault.enabled=True and no secrets: {error}") from error
        _log.warning("secrets of lower sources stand in for Vault's: %s", error)
        return {}
    place = f" in Vault at {config.vault.secrets_path}"
    return {
        name: Given(name, SecretStr(value), name, place, SecretStr(value))
        for name, value in found.items()
    }


def _below(current: Given, lift: Given) -> bool:
    coerce = settings(AppConfig)[lift.field].coerce
    have, want = coerce(current.value), coerce(lift.value)
    return isinstance(have, int) and isinstance(want, int) and have < want


def _validate(given: Mapping[str, Given], problems: list[str]) -> AppConfig:
    nested: dict[str, object] = {}
    for name, entry in given.items():
        *parents, leaf = name.split(".")
        section = nested
        for parent in parents:
            child = section.setdefault(parent, {})
            assert isinstance(child, dict)  # a section is never also a leaf
            section = child
        section[leaf] = entry.value
    try:
        config = AppConfig.model_validate(nested)
    except ValidationError as error:
        problems = [*problems, *sentences(error, settings(AppConfig), given)]
    if problems:
        raise ConfigError("\n".join(problems))
    return config

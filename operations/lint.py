"""``sentigraph lint``: a Serve config file, checked strictly before it is deployed.

Ray Serve accepts keys that it does not know and ignores them, so ``num_replica: 8`` deploys
one replica without a word. This verb refuses such a file, and one whose ``args:`` the
configuration would refuse. Everything wrong is listed at once.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import yaml

from configs.errors import ConfigError
from configs.load import DOTENV, in_dotenv, load_config
from configs.messages import did_you_mean
from configs.schema.app import AppConfig
from configs.schema.conflicts import NO_WAY_IN
from configs.schema.fields import settings
from configs.sources.shipped_files import shipped_file
from configs.yaml_lint import Problem, check_keys, check_repeats, check_values, line_of, plain

BUILDER = "deployments.app:build"
# On together or not at all: either alone serves slower than neither.
PAIR = ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED")
# What Ray Serve called its options in earlier versions.
RENAMED = {
    "max_concurrent_queries": "max_ongoing_requests",
    "target_num_ongoing_requests_per_replica": "target_ongoing_requests",
}
# Where gRPC functions of earlier releases are now.
MOVED = {
    "deployments.grpc_messages.add_servicer": "deployments.oip.grpc_messages.add_servicer",
}
_RUNTIME_ENV = "runtime_env"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    own = Path("serve_config.yaml")
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=own if own.is_file() else shipped_file("serve_config.yaml"),
        help="Serve config file (default: of this folder, else the one that came with sentigraph)",
    )
    parser.add_argument("--json", action="store_true", help="print the problems as JSON")


def main(args: argparse.Namespace) -> int:
    """Prints the problems; returns 0 without any, 1 with some, 2 if there is no such file."""
    path: Path = args.file
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"{path} cannot be read: {error}", file=sys.stderr)
        return 2
    problems = lint(text, path.resolve().parent)
    if args.json:
        print(json.dumps([asdict(problem) for problem in problems], indent=2))
    else:
        for problem in problems:
            print(described(problem, path))
        if not problems:
            print(f"{path}: no problems")
    return 1 if problems else 0


def described(problem: Problem, file: Path) -> str:
    """The problem after the file that it is in: ``file``, or the ``.env`` of its folder."""
    if problem.path == DOTENV:
        return f"{file.parent / DOTENV}: {problem.message}"
    return f"{file}:{problem.line}: {problem.path} {problem.message}"


def lint(text: str, home: Path) -> list[Problem]:
    """Everything that is wrong with a Serve config, in the file's order.

    Args:
        text: The file's content.
        home: Folder of the file; its ``.env`` counts, the process's environment does not.
    """
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 - takes seconds

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            return [Problem(1, "document", "must be a mapping with `applications:`")]
        document = plain(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        return [Problem(mark.line + 1 if mark else 1, "document", f"is not YAML: {reason}")]
    found = [
        *check_repeats(node),
        *check_keys(node, ServeDeploySchema, RENAMED),
        *check_values(node, ServeDeploySchema),
        *_check_tls(node, document),
        *_check_servicers(node, document),
        *_check_arguments(node, document, home),
        *_check_runtime_envs(node, document, ""),
    ]
    return sorted(set(found))


def _check_tls(node: yaml.Node, document: Mapping[str, object]) -> Iterator[Problem]:
    options = document.get("http_options")
    for name in options if isinstance(options, dict) else ():
        if str(name).startswith("ssl_"):
            path = f"http_options.{name}"
            message = "is dropped by Ray Serve in HAProxy mode; TLS ends at the gateway in front"
            yield Problem(line_of(node, path), path, message)


def _check_servicers(node: yaml.Node, document: Mapping[str, object]) -> Iterator[Problem]:
    options = document.get("grpc_options")
    names = options.get("grpc_servicer_functions") if isinstance(options, dict) else None
    for position, name in enumerate(names if isinstance(names, list) else []):
        module, _, function = str(name).replace(":", ".").rpartition(".")
        try:
            found = callable(getattr(importlib.import_module(module), function, None))
        except (ImportError, ValueError):
            found = False
        if not found:
            path = f"grpc_options.grpc_servicer_functions[{position}]"
            message = f"names no function that can be imported here: {name}"
            if new := MOVED.get(f"{module}.{function}"):
                message = f"{name} is now {new}"
            yield Problem(line_of(node, path), path, message)


def _check_arguments(
    node: yaml.Node, document: Mapping[str, object], home: Path
) -> Iterator[Problem]:
    applications = document.get("applications")
    for position, application in enumerate(applications if isinstance(applications, list) else []):
        if not isinstance(application, dict):
            continue
        path = f"applications[{position}]"
        if application.get("import_path") != BUILDER:
            yield from _check_import_path(node, application.get("import_path"), path)
            continue
        args = application.get("args") or {}
        if not isinstance(args, dict):
            continue  # Ray's own schema refuses it
        for secret in settings(AppConfig).values():
            if secret.secret and _holds_secret(args, secret.name):
                here = f"{path}.args.{secret.name}"
                message = (
                    "is a secret, and the Ray dashboard shows this file: set "
                    f"{secret.variable} instead, or keep it in Vault"
                )
                yield Problem(line_of(node, here), here, message)
        try:
            config = _configured(args, home)
        except ConfigError as error:
            yield from (_refused(node, sentence, f"{path}.args") for sentence in error.problems)
        else:
            yield from _check_overrides(node, application, config, path)


def _refused(node: yaml.Node, sentence: str, path: str) -> Problem:
    if in_dotenv(sentence):
        return Problem(1, DOTENV, sentence)
    setting = sentence.partition("=")[0].partition(" ")[0].rstrip(":")
    return Problem(line_of(node, f"{path}.{setting}"), path, f"is refused: {sentence}")


def _configured(args: Mapping[str, object], home: Path) -> AppConfig:
    """The arguments' configuration; keys are secrets, which come from elsewhere.

    Raises:
        ConfigError: Anything else is wrong.
    """
    try:
        return load_config(args, environ={}, home=home)
    except ConfigError as error:
        others = [said for said in error.problems if not said.startswith(NO_WAY_IN)]
        if others:
            raise ConfigError("\n".join(others)) from None
        return load_config(args, environ={"MLOPS_ACCESS__API_KEY": "stand-in-1"}, home=home)


def _check_import_path(node: yaml.Node, given: object, path: str) -> Iterator[Problem]:
    """An import path that is meant to be ours and names nothing; others are not judged."""
    hint = did_you_mean(str(given), [BUILDER])
    if not hint and not str(given).startswith("deployments."):
        return
    module, _, name = str(given).replace(":", ".").rpartition(".")
    try:
        found = hasattr(importlib.import_module(module), name)
    except (ImportError, ValueError):
        found = False
    if not found:
        here = f"{path}.import_path"
        yield Problem(line_of(node, here), here, f"names nothing that can be imported here{hint}")


def _check_overrides(
    node: yaml.Node, application: Mapping[str, object], config: AppConfig, path: str
) -> Iterator[Problem]:
    """Overrides of deployments that the graph does not have with these settings."""
    from deployments.app import deployment_names  # noqa: PLC0415 - takes seconds

    names = deployment_names(config)
    overrides = application.get("deployments")
    for position, override in enumerate(overrides if isinstance(overrides, list) else []):
        name = override.get("name") if isinstance(override, dict) else None
        if isinstance(name, str) and name not in names:
            here = f"{path}.deployments[{position}].name"
            message = f"{name} is no deployment of this graph{did_you_mean(name, names)}"
            yield Problem(
                line_of(node, here), here, f"{message}; it has {', '.join(sorted(names))}"
            )


def _holds_secret(args: Mapping[str, object], name: str) -> bool:
    value: object = args
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    # The address of a file holds none.
    return not str(value).startswith("sqlite")


def _check_runtime_envs(node: yaml.Node, value: object, path: str) -> Iterator[Problem]:
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _check_runtime_envs(node, item, f"{path}[{position}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            here = f"{path}.{key}" if path else str(key)
            if key == _RUNTIME_ENV and isinstance(item, dict):
                yield from _check_runtime_env(node, item, here)
            elif key not in ("args", "user_config"):
                yield from _check_runtime_envs(node, item, here)


def _check_runtime_env(node: yaml.Node, env: Mapping[str, object], path: str) -> Iterator[Problem]:
    from ray.runtime_env import RuntimeEnv  # noqa: PLC0415 - takes seconds

    known = [name for name in RuntimeEnv.known_fields if not name.startswith("_")]
    for name in env:
        if name not in known:
            here = f"{path}.{name}"
            hint = did_you_mean(str(name), known)
            yield Problem(line_of(node, here), here, f"is not a setting of a runtime_env{hint}")
    variables = env.get("env_vars")
    if isinstance(variables, dict):
        on = [name for name in PAIR if str(variables.get(name, "0")) == "1"]
        if len(on) == 1:
            off = PAIR[1 - PAIR.index(on[0])]
            here = f"{path}.env_vars"
            message = f"sets {on[0]}=1 without {off}=1; set both or neither"
            yield Problem(line_of(node, f"{here}.{on[0]}"), here, message)

"""``sentigraph doctor``: what is wrong with configuration, machine and servers, and what to do.

Reads the same configuration as ``sentigraph serve`` would here, asks the servers that it names, and
needs no running sentigraph; where one answers, it is asked too. Exit status 1 when something will
not work.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from cli.connections import add_server_arguments, open_server, runs_here, state_folder
from configs.errors import ConfigError
from configs.load import DOTENV, find_home, in_dotenv, load_config
from configs.schema.app import AppConfig
from configs.sources.shipped_files import shipped_file
from operations.doctor import check_machine, check_servers
from operations.doctor.findings import Finding, fail, ok
from operations.doctor.machine import engine_providers, these_ports, this_machine
from operations.doctor.manifests import check_environments, environments, serve_configs
from operations.doctor.production import check_manifests, check_production
from operations.errors import OperationError
from operations.lint import BUILDER, described, lint
from operations.local_stack.serve_config import state_environment
from registry.backend.sqlite_setup import sqlite_file

_TIMEOUT_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph doctor`."""
    add_server_arguments(parser)
    parser.add_argument(
        "--config",
        type=Path,
        default=shipped_file("serve_config.yaml"),
        help="another serve_config.yaml",
    )
    parser.add_argument(
        "--mlflow-port", type=int, help="of the MLflow UI (a running serve's, else 5000)"
    )
    parser.add_argument(
        "--dashboard-port", type=int, help="of Ray's (a running serve's, else 8265)"
    )
    parser.add_argument("--metrics-port", type=int, help="of Ray's metrics (8080)")
    parser.add_argument(
        "--manifests",
        type=Path,
        help="YAML of `helm template` or `kubectl get rayservices,pods -o yaml`: is the Serve "
        "config right, and are all Ray pods set alike?",
    )
    parser.add_argument(
        "--production",
        action="store_true",
        help="what a public server must have besides: access control, TLS, an engine for its "
        "provider; of the manifests too",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def main(args: argparse.Namespace) -> int:
    """Prints the findings; 1 when one of them is FAIL.

    Raises:
        OperationError: A file that was named cannot be read.
    """
    found = list(_findings(args))
    if args.json:
        print(json.dumps([asdict(finding) for finding in found], ensure_ascii=False, indent=2))
    else:
        for finding in found:
            print(f"{finding.level:<5}{finding.check:<14} {finding.said}")
            if finding.advice:
                print(f"{'':<19} → {finding.advice}")
        counts = {level: sum(f.level == level for f in found) for level in ("OK", "WARN", "FAIL")}
        print(", ".join(f"{count} {level}" for level, count in counts.items()), file=sys.stderr)
    return int(any(finding.level == "FAIL" for finding in found))


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    text = _read(args.config)
    problems = lint(text, args.config.resolve().parent)
    in_file = [problem for problem in problems if problem.path != DOTENV]
    for problem in in_file:
        advice = "correct the file; `sentigraph lint` checks it alone"
        yield fail("configuration", described(problem, args.config), advice)
    document = yaml.safe_load(text) if not in_file else {}
    try:
        config = load_config(
            _arguments(document), environ=state_environment(os.environ, args.state_dir)
        )
    except ConfigError as error:
        dotenv = find_home(os.environ) / DOTENV
        for sentence in dict.fromkeys(error.problems):
            where = f"{dotenv}" if in_dotenv(sentence) else f"the environment or {dotenv}"
            advice = f"correct {where}; docs/settings.md lists settings and limits"
            yield fail("configuration", sentence, advice)
        config = None
    if not in_file and config is not None:
        yield ok("configuration", f"{args.config.name}, profile {config.profile}")
    running, ours = check_servers.check_running(open_server(args, _TIMEOUT_S))
    yield from running
    if config is not None:
        yield from _of_machine(config, document, args, ours=ours)
        yield from _of_servers(config, args.url if ours else None)
        # Manifests are judged instead of this machine.
        if args.production and args.manifests is None:
            yield from check_production(config, engine_providers())
    if args.manifests is not None:
        documents = _documents(args.manifests)
        for service, config_text in serve_configs(documents).items():
            yield from _of_service(service, config_text, args.config.resolve().parent)
        found = environments(documents)
        yield from check_environments(found)
        if args.production:
            yield from check_manifests(documents, serve_configs(documents), found)


def _of_service(service: str, text: str, home: Path) -> Iterator[Finding]:
    """What ``sentigraph lint`` says of a RayService's Serve config, which Ray Serve would drop."""
    problems = lint(text, home)
    for problem in problems:
        said = f"RayService {service}, serveConfigV2:{problem.line}: {problem.path}"
        advice = "correct `serve` in the chart's values, or serve_config.yaml"
        yield fail("Serve config", f"{said} {problem.message}", advice)
    if not problems:
        yield ok("Serve config", f"RayService {service}: no problems")


def _of_machine(
    config: AppConfig, document: Mapping[str, Any], args: argparse.Namespace, *, ours: bool
) -> Iterator[Finding]:
    bundle, size = check_servers.check_bundle(config.registry.bundled_model_dir)
    yield bundle
    state = str(state_folder(args).path)
    machine = this_machine(
        dict.fromkeys([state, *_folders(config)]), shipped_file("constraints.txt")
    )
    here = runs_here(args)
    wanted = _own_ports(args) if here else _ports(config, document, args)
    yield from check_machine.check_cores(config, machine)
    yield from check_machine.check_gpus(config, machine, size)
    yield from check_machine.check_ports(these_ports(wanted, ours=ours or here))
    yield from check_machine.check_space(machine)
    yield from check_machine.check_open_files(machine)
    yield from check_machine.check_versions(machine)


def _of_servers(config: AppConfig, url: str | None) -> Iterator[Finding]:
    uri = config.registry.tracking_uri
    yield from check_servers.check_mlflow(uri)
    if config.cache.l2 == "redis" or config.access.rate_store == "redis":
        yield from check_servers.check_redis(config.redis)
    if config.stream.enabled:
        yield from check_servers.check_kafka(config)
    if config.vault.enabled:
        yield from check_servers.check_vault(config)
    clocks = {"MLflow": uri if uri.startswith("http") else None, "the server": url}
    clocks["Vault"] = config.vault.address if config.vault.enabled else None
    for of, address in clocks.items():
        if address is not None:
            yield from check_servers.check_clock(address, of)


def _ports(
    config: AppConfig, document: Mapping[str, Any], args: argparse.Namespace
) -> dict[str, int]:
    """The ports of this machine by what listens there."""
    grpc = document.get("grpc_options") or {}
    wanted = {"HTTP": int((document.get("http_options") or {}).get("port", 8000))}
    if grpc.get("grpc_servicer_functions"):
        wanted["gRPC"] = int(grpc.get("port", 9000))
    if not config.registry.tracking_uri.startswith("http"):
        wanted["MLflow"] = args.mlflow_port or 5000
    wanted |= {"dashboard": args.dashboard_port or 8265, "metrics": args.metrics_port or 8080}
    return wanted


def _own_ports(args: argparse.Namespace) -> dict[str, int]:
    """The ports of the `sentigraph serve` of the state folder, which has one of its own for
    Ray's metrics.
    """
    state = state_folder(args)
    running = state.running()
    document = yaml.safe_load(_read(state.serve_config)) if state.serve_config.is_file() else {}
    grpc = (document.get("grpc_options") or {}).get("port")
    addresses = {
        "HTTP": running.url if running else "",
        "MLflow": running.mlflow_url if running else "",
        "dashboard": running.dashboard_url if running else "",
    }
    ports = {name: urlsplit(url).port for name, url in addresses.items()}
    ports |= {"gRPC": grpc, "metrics": args.metrics_port}
    chosen = {"MLflow": args.mlflow_port, "dashboard": args.dashboard_port}
    ports |= {name: port for name, port in chosen.items() if port}
    return {name: port for name, port in ports.items() if port}


def _folders(config: AppConfig) -> list[str]:
    """What needs space on this machine, each folder once."""
    files = [sqlite_file(config.registry.tracking_uri)]
    for section in (config.jobs, config.drift):
        if section.enabled:
            files.append(sqlite_file(section.database.get_secret_value()))
    folders = [config.registry.bundle_cache_dir]
    folders += [str(file.parent) for file in files if file is not None]
    if config.prediction_log.enabled:
        folders.append(config.prediction_log.buffer_dir)
    return list(dict.fromkeys(folders))


def _arguments(document: Mapping[str, Any]) -> Mapping[str, object]:
    for application in document.get("applications") or ():
        if application.get("import_path") == BUILDER:
            found: Mapping[str, object] = application.get("args") or {}
            return found
    return {}


def _documents(file: Path) -> list[object]:
    try:
        return list(yaml.safe_load_all(_read(file)))
    except yaml.YAMLError as error:
        raise OperationError(f"{file} is not YAML") from error


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OperationError(f"{file} cannot be read: {error}") from error

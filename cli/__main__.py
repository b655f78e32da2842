"""The command line: `sentigraph VERB`, one verb per module.

A verb's module is imported when that verb is asked for, so `--help` and small verbs start at once.
Results go to stdout, progress and messages to stderr. Exit status: 0 done, 1 refused, 2 wrong
usage, 130 interrupted, 141 what reads stdout has closed it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import select
import sys
from collections.abc import Mapping, Sequence

from cli.arguments import Parser
from configs.errors import ConfigError, SecretsError
from configs.sources.shipped_files import checkout, shipped_file
from operations.errors import OperationError
from pipelines.errors import PipelineError
from registry.errors import RegistryError

DONE, REFUSED = 0, 1
# As a shell tells of a program that SIGPIPE ended.
_CLOSED = 141
_INTERRUPTED = 130


# Verb → its module, which has ``add_arguments(parser)`` and ``main(args)``, and a summary.
VERBS: Mapping[str, tuple[str, str]] = {
    "serve": ("cli.serve", "start MLflow, Ray and the application here; Ctrl-C stops them"),
    "lite": ("serverless.command", "one process that answers, without Ray, MLflow or a registry"),
    "status": ("cli.status", "what runs where, which version answers, what waits, what went wrong"),
    "doctor": ("cli.doctor", "check configuration, machine and servers; advise what to do"),
    "logs": ("cli.logs", "what the replicas log, as JSON lines"),
    "backup": ("operations.backup.backup", "keep all that the server here keeps, in one file"),
    "restore": ("operations.backup.restore", "put a backup in the place of what is here"),
    "lint": ("operations.lint", "check serve_config.yaml strictly"),
    "openapi": ("cli.openapi", "write the OpenAPI document to stdout; needs no server"),
    "demo": ("cli.demo", "send ten sentences to a running server"),
    "explain": ("cli.explain", "which words made a running server's answer to a text"),
    "pipeline": (
        "pipelines.pipeline",
        "data, train, export, evaluate and register with one command",
    ),
    "data": ("pipelines.data.prepare", "read texts, remove near duplicates, split"),
    "train": ("pipelines.training.train", "fine-tune a base model"),
    "export": ("pipelines.export.export", "convert to ONNX, FP32 and INT8, and compare"),
    "evaluate": (
        "pipelines.evaluation.evaluate",
        "measure on the test split, write the bundle and its card",
    ),
    "calibrate": (
        "pipelines.evaluation.calibrate",
        "fit a finished bundle's temperatures on labelled texts",
    ),
    "register": ("pipelines.register", "put a bundle into the registry"),
    "models": ("cli.models", "the registry: list, show, promote, shadow, canary, roll back, audit"),
    "release": (
        "cli.release",
        "bring a version to production by itself: shadow, canary, promotion",
    ),
    "secrets": ("cli.vault_secrets", "API keys and other secrets in Vault"),
    "dlq": ("cli.dlq", "Kafka messages that could not be answered: list, show, redrive"),
    "score": (
        "pipelines.scoring.score",
        "classify the rows of files with a pool of engines on Ray Data",
    ),
    "warm": ("cli.warm", "put the answers to a file's texts into a running server's cache"),
    "flush": ("cli.flush", "drop a version's predictions from a running server's cache"),
    "import": (
        "pipelines.export.huggingface_import",
        "turn a Hugging Face classifier into a bundle",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit status."""
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        return _CLOSED
    except KeyboardInterrupt:
        print("sentigraph: interrupted; what was finished until then stays", file=sys.stderr)
        return _INTERRUPTED


def _stdout_is_closed() -> bool:
    """Whether `| head` has had enough; what is left to be written is then forgotten."""
    try:
        stdout = sys.stdout.fileno()
    except OSError:
        return False  # no file: a test's
    ends = select.poll()
    ends.register(stdout, 0)
    if not ends.poll(0):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stdout)
    os.close(nowhere)
    return True


def _run(arguments: Sequence[str]) -> int:
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        args = _parser(name).parse_args(arguments)
        status: int = args.run(args)
    except ModuleNotFoundError as exc:
        if "." in str(exc.name):
            raise  # a part of an installed package: no extra brings it
        extra = "score" if name == "score" else "train"
        print(
            f"sentigraph {name}: package {exc.name} is missing; install the {extra} extra: "
            f"pip install --constraint {shipped_file('constraints.txt')} "
            f"'{'.' if checkout() else 'sentigraph'}[{extra}]'",
            file=sys.stderr,
        )
        return REFUSED
    except (ConfigError, SecretsError, PipelineError, OperationError, RegistryError) as exc:
        print(f"sentigraph {name}: {exc}", file=sys.stderr)
        return REFUSED
    return status


def _parser(name: str | None) -> argparse.ArgumentParser:
    parser = Parser(
        prog="sentigraph", description="Serve, train, evaluate and register text classifiers."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, (place, summary) in VERBS.items():
        subparser = verbs.add_parser(verb, help=summary, description=summary)
        if verb == name:
            _declare(subparser, place)
    return parser


def verb_parser(verb: str) -> argparse.ArgumentParser:
    """The parser of one verb."""
    place, summary = VERBS[verb]
    parser = argparse.ArgumentParser(prog=f"sentigraph {verb}", description=summary)
    _declare(parser, place)
    return parser


def _declare(parser: argparse.ArgumentParser, place: str) -> None:
    module = importlib.import_module(place)
    module.add_arguments(parser)
    parser.set_defaults(run=module.main)


if __name__ == "__main__":
    sys.exit(main())

"""The command line: `sentigraph VERB`, one verb per module.

A verb's module is imported when that verb is asked for, so `--help` and small verbs start at once.
Results go to stdout, progress and messages to stderr. Exit status: 0 done, 1 refused, 2 wrong
usage.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from configs.errors import ConfigError, SecretsError
from configs.sources.shipped_files import checkout, shipped_file
from operations.errors import OperationError
from pipelines.errors import PipelineError
from registry.errors import RegistryError

DONE, REFUSED = 0, 1


class Verb(Protocol):
    """What a verb's module offers."""

    add_arguments: Callable[[argparse.ArgumentParser], None]
    main: Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a verb lives and what it does."""

    module: str
    summary: str


VERBS = {
    "serve": Entry("cli.serve", "start MLflow, Ray and the application here; Ctrl-C stops them"),
    "status": Entry(
        "cli.status", "what runs where, which version answers, what waits, what went wrong"
    ),
    "doctor": Entry("cli.doctor", "check configuration, machine and servers; says what to do"),
    "lint": Entry("operations.lint", "check serve_config.yaml strictly"),
    "demo": Entry("cli.demo", "send ten sentences to a running server"),
    "pipeline": Entry(
        "pipelines.pipeline", "data, train, export, evaluate and register with one command"
    ),
    "data": Entry("pipelines.data.prepare", "read texts, remove near duplicates, split"),
    "train": Entry("pipelines.training.train", "fine-tune a base model"),
    "export": Entry("pipelines.export.export", "convert to ONNX, FP32 and INT8, and compare"),
    "evaluate": Entry(
        "pipelines.evaluation.evaluate", "measure on the test split, write the bundle and its card"
    ),
    "register": Entry("pipelines.register", "put a bundle into the registry"),
    "models": Entry(
        "cli.models", "the registry: list, show, promote, shadow, canary, roll back, audit"
    ),
    "release": Entry(
        "cli.release", "bring a version to production by itself: shadow, canary, promotion"
    ),
    "secrets": Entry("cli.vault_secrets", "API keys and other secrets in Vault"),
    "dlq": Entry("cli.dlq", "Kafka messages that could not be answered: list, show, redrive"),
    "score": Entry(
        "pipelines.scoring.score", "classify the rows of files with a pool of engines on Ray Data"
    ),
    "warm": Entry("cli.warm", "have the texts of a file remembered by a running server"),
    "flush": Entry("cli.flush", "have a running server forget a version's predictions"),
    "import": Entry(
        "pipelines.export.huggingface_import", "turn a Hugging Face classifier into a bundle"
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        args = _parser(name).parse_args(arguments)
        status: int = args.run(args)
    except ModuleNotFoundError as exc:
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
    parser = argparse.ArgumentParser(
        prog="sentigraph", description="Serve, train, evaluate and register text classifiers."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, entry in VERBS.items():
        subparser = verbs.add_parser(verb, help=entry.summary, description=entry.summary)
        if verb == name:
            module = cast(Verb, importlib.import_module(entry.module))
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.main)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`sentigraph models …`: the registry from the command line, on MLflow itself, without a server.

One sub-verb per action; what they print is in `models_show.py`, what they change in
`models_change.py`, what they measure and check in `models_check.py`. Tables go to stdout, or JSON
with `--json`; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import getpass
import importlib
from collections.abc import Callable, Mapping

from pipelines.tracking import add_tracking_arguments
from registry.model_registry import ModelRegistry

Action = Callable[[ModelRegistry, argparse.Namespace], int]

# Sub-verb → (module, what it does, its arguments).
ACTIONS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "list": ("models_show", "all models and who holds which alias", ()),
    "show": ("models_show", "one model with its versions", ("name",)),
    "compare": ("models_show", "two versions side by side", ("name", "a", "b")),
    "audit": ("models_show", "who did what and why", ("name", "--at", "--limit")),
    "import": ("models_change", "register a bundle's folder", ("bundle", "--name", "--reason")),
    "promote": (
        "models_change",
        "move a version to another stage",
        ("name", "version", "--to", "--retire", "--reason"),
    ),
    "shadow": (
        "models_change",
        "give a version a copy of the traffic",
        ("name", "version?", "--weight", "--reason"),
    ),
    "canary": (
        "models_change",
        "let a version answer a share of the traffic",
        ("name", "version?", "--weight", "--reason"),
    ),
    "approve": ("models_change", "approve a version's files", ("name", "version", "--reason")),
    "rollback": (
        "models_change",
        "make the champion before champion again",
        ("name", "--to-version", "--reason"),
    ),
    "evaluate": (
        "models_check",
        "measure a version on labelled texts and record it",
        ("name", "version", "--data", "--dataset"),
    ),
    "verify": ("models_check", "check audit chains and stored files", ("name?",)),
    "gc": ("models_check", "find files that no version uses", ("--delete",)),
}
_ARGUMENTS: Mapping[str, dict[str, object]] = {
    "name": {"help": "registered model"},
    "name?": {"help": "registered model (default: all)", "nargs": "?"},
    "version": {"help": "label, number or alias"},
    "version?": {"help": "label, number or alias; none empties the slot", "nargs": "?"},
    "a": {"help": "first version"},
    "b": {"help": "second version"},
    "bundle": {"help": "folder of the bundle"},
    "--name": {"help": "registered model (default: the bundle's own name)"},
    "--to": {
        "help": "stage (default: production)",
        "default": "production",
        "choices": ("draft", "staging", "production", "archived"),
    },
    "--to-version": {"help": "an earlier champion (default: the one before)"},
    "--weight": {"help": "share of traffic, 0 to 1 (default: 1)", "type": float, "default": 1.0},
    "--retire": {"help": "archive the champion without a successor", "action": "store_true"},
    "--reason": {"help": "why; kept in the audit ledger", "default": ""},
    "--at": {"help": "time (ISO 8601): who was champion then"},
    "--limit": {"help": "entries to show (default: 20)", "type": int, "default": 20},
    "--data": {"help": "CSV or JSONL file with text and label", "required": True},
    "--dataset": {"help": "name of the dataset (default: the file's)"},
    "--delete": {"help": "delete the files that were found", "action": "store_true"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the sub-verbs of `sentigraph models`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, (_, summary, arguments) in ACTIONS.items():
        subparser = actions.add_parser(action, help=summary, description=summary)
        for argument in arguments:
            subparser.add_argument(argument.rstrip("?"), **_ARGUMENTS[argument])  # type: ignore[arg-type]
        subparser.add_argument("--json", action="store_true", help="print JSON")
        subparser.add_argument("--actor", default=getpass.getuser(), help="who does it")
        add_tracking_arguments(subparser)


def main(args: argparse.Namespace) -> int:
    """Runs the sub-verb; returns the exit status."""
    module = importlib.import_module(f"pipelines.{ACTIONS[args.action][0]}")
    run: Action = getattr(module, f"{args.action}_model".replace("list_model", "list_models"))
    return run(ModelRegistry(args.tracking_uri, args.artifact_root), args)

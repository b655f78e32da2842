"""`sentigraph models …`: the registry from the command line, on MLflow itself, without a server.

One sub-verb per action: ``show.py`` prints, ``change.py`` changes, ``check.py`` measures and
checks. Tables go to stdout, or JSON with `--json`; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from typing import Any

from cli.models import change, check, evaluate, policy, show
from pipelines.tracking import add_tracking_arguments
from registry.model_registry import ModelRegistry

Action = Callable[[ModelRegistry, argparse.Namespace], int]
_REFERENCE = "label, number or alias"
_STAGES = ("draft", "staging", "production", "archived")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the sub-verbs of `sentigraph models`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def declare(name: str, run: Action, summary: str) -> argparse.ArgumentParser:
        return _with_options(actions.add_parser(name, help=summary, description=summary), run)

    _declare_views(declare)
    _declare_changes(declare)
    _declare_deletion(declare)
    _declare_checks(declare)
    _declare_policy(actions)


def main(args: argparse.Namespace) -> int:
    """Runs the sub-verb; returns the exit status."""
    run: Action = args.run_action
    return run(ModelRegistry(args.tracking_uri, args.artifact_root), args)


Declare = Callable[[str, Action, str], argparse.ArgumentParser]


def _declare_views(declare: Declare) -> None:
    declare("list", show.list_models, "all models and who holds which alias")
    one = declare("show", show.show_model, "one model with its versions")
    trend = declare("trend", show.trend_model, "one metric over the versions")
    two = declare("compare", show.compare_model, "two versions side by side")
    audit = declare("audit", show.audit_model, "who did what and why")
    for action in (one, trend, two, audit):
        action.add_argument("name", help="registered model")
    for action in (one, trend, two):
        action.add_argument("--dataset", help="figures on this one (default: the policy's)")
    for action in (one, trend):
        action.add_argument("--metric", help="which figure (default: accuracy)")
    two.add_argument("a", help="first version")
    two.add_argument("b", help="second version")
    audit.add_argument("--at", help="time (ISO 8601): who was champion then")
    audit.add_argument("--limit", type=int, default=20, help="entries to show (default: 20)")


def _with_options(action: argparse.ArgumentParser, run: Action) -> argparse.ArgumentParser:
    """Declares what every sub-verb has."""
    action.set_defaults(run_action=run)
    action.add_argument("--json", action="store_true", help="print JSON")
    action.add_argument("--actor", default=getpass.getuser(), help="who does it")
    add_tracking_arguments(action)
    return action


def _declare_policy(actions: Any) -> None:
    summary = "what versions must satisfy before production"
    verbs = actions.add_parser("policy", help=summary, description=summary).add_subparsers(
        dest="policy_action", required=True, metavar="show|set"
    )
    shown = _with_options(
        verbs.add_parser("show", help="all fields, their values and meaning"), policy.show_policy
    )
    changed = _with_options(
        verbs.add_parser(
            "set",
            help="change the fields that are named",
            epilog=policy.SET_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        ),
        policy.set_policy,
    )
    for action in (shown, changed):
        action.add_argument("name", help="registered model")
    changed.add_argument("fields", nargs="*", metavar="FIELD=VALUE", help="such as approvals=1")
    changed.add_argument(
        "--rule",
        dest="rules",
        action="append",
        default=[],
        metavar="METRIC,…",
        help="a demand: metric, then dataset=, threshold=, min_gain=, max_regression=, lower",
    )
    changed.add_argument(
        "--drop-rule",
        dest="drop_rules",
        action="append",
        default=[],
        metavar="METRIC[@DATASET]",
        help="remove the rules of this metric",
    )
    changed.add_argument("--reason", default="", help="why; kept in the audit ledger")


def _declare_deletion(declare: Declare) -> None:
    delete = declare("delete", change.delete_model, "delete a version, or a whole model")
    restore = declare("restore", change.restore_model, "undo a deletion")
    for action in (delete, restore):
        action.add_argument("name", help="registered model")
        action.add_argument("--reason", default="", help="why; kept in the audit ledger")
    delete.add_argument("version", nargs="?", help=f"{_REFERENCE}; without one the whole model")
    restore.add_argument("number", nargs="?", type=int, help="number of the deleted version")


def _declare_changes(declare: Declare) -> None:
    bundle = declare("import", change.import_model, "register a bundle's folder")
    bundle.add_argument("bundle", help="folder of the bundle")
    bundle.add_argument("--name", help="registered model (default: the bundle's own name)")
    promote = declare("promote", change.promote_model, "move a version to another stage")
    shadow = declare("shadow", change.shadow_model, "give a version a copy of the traffic")
    canary = declare("canary", change.canary_model, "let a version answer a share of the traffic")
    approve = declare("approve", change.approve_model, "approve a version's files")
    back = declare("rollback", change.rollback_model, "make the champion before champion again")
    for action in (promote, shadow, canary, approve, back):
        action.add_argument("name", help="registered model")
    for action in (promote, approve):
        action.add_argument("version", help=_REFERENCE)
    for action in (shadow, canary):
        action.add_argument(
            "version", nargs="?", help=f"{_REFERENCE}; without one the slot is emptied"
        )
        action.add_argument(
            "--weight", type=float, default=1.0, help="share of traffic, 0 to 1 (default: 1)"
        )
    promote.add_argument(
        "--to", default="production", choices=_STAGES, help="stage (default: production)"
    )
    promote.add_argument(
        "--retire", action="store_true", help="archive the champion without a successor"
    )
    back.add_argument("--to-version", help="an earlier champion (default: the one before)")
    for action in (bundle, promote, shadow, canary, approve, back):
        action.add_argument("--reason", default="", help="why; kept in the audit ledger")


def _declare_checks(declare: Declare) -> None:
    measured = declare(
        "evaluate", evaluate.evaluate_model, "measure a version on labelled texts and record it"
    )
    measured.add_argument("name", help="registered model")
    measured.add_argument("version", help=_REFERENCE)
    evaluate.add_arguments(measured)
    verify = declare("verify", check.verify_model, "check audit chains and stored files")
    verify.add_argument("name", nargs="?", help="registered model (default: all)")
    gc = declare("gc", check.gc_model, "find files that no version uses")
    gc.add_argument("--delete", action="store_true", help="delete the files that were found")

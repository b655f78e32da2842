"""What `sentigraph models` changes: places of versions, all through the one lifecycle."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from cli.models.show import show, show_model
from registry.bundles.bundle import open_bundle
from registry.catalog.metadata import approval_note
from registry.errors import InvalidValue
from registry.lifecycle.pending import pending_change
from registry.model_registry import ModelRegistry
from registry.records import Event


def import_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Registers a bundle's folder as a draft; the same bundle is not stored twice."""
    bundle = open_bundle(Path(args.bundle))
    made = registry.store.register(
        args.name or bundle.name, Path(args.bundle), actor=args.actor, description=args.reason
    )
    rows = [["model", "number", "stage", "digest"]]
    rows.append([made.name, str(made.version), made.stage, made.digest[:12]])
    return show(args, asdict(made), rows)


def promote_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Moves a version to another stage."""
    version = registry.catalog.version(args.name, args.version).version
    event = registry.lifecycle.transition(
        args.name, version, args.to, actor=args.actor, reason=args.reason, retire=args.retire
    )
    return _print_event(args, event)


def shadow_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Fills or empties the shadow slot."""
    return _slot(registry, args, "shadow")


def canary_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Fills or empties the challenger slot."""
    return _slot(registry, args, "challenger")


def approve_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Approves the version's present files."""
    version = registry.catalog.version(args.name, args.version)
    event = registry.lifecycle.decide(
        args.name, version.version, approve=True, actor=args.actor, reason=args.reason
    )
    if note := approval_note(version, args.actor):
        print(note, file=sys.stderr)
    return _print_event(args, event)


def rollback_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Makes an earlier champion champion again."""
    to = args.to_version and registry.catalog.version(args.name, args.to_version).version
    event = registry.lifecycle.rollback(args.name, actor=args.actor, reason=args.reason, to=to)
    return _print_event(args, event)


def delete_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Deletes a version, or a model with all of them; both can be restored for a day."""
    if not args.reason.strip():
        raise InvalidValue("a deletion needs a --reason")
    if args.version is None:
        registry.deletions.delete_model(args.name, actor=args.actor, reason=args.reason)
        undo, deleted = f"sentigraph models restore {args.name}", None
    else:
        version = registry.catalog.version(args.name, args.version)
        registry.deletions.delete_version(version, actor=args.actor, reason=args.reason)
        undo = f"sentigraph models restore {args.name} {version.version}"
        deleted = version.version
    print(f"undo: {undo}; `sentigraph models gc --delete` ends that a day later", file=sys.stderr)
    rows = [["model", "deleted"], [args.name, str(deleted or "all versions")]]
    return show(args, {"name": args.name, "version": deleted, "undo": undo}, rows)


def restore_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Brings a deleted version, or a deleted model, back."""
    if args.number is None:
        registry.deletions.restore_model(args.name, actor=args.actor, reason=args.reason)
        return show_model(registry, argparse.Namespace(**vars(args), metric=None, dataset=None))
    made = registry.deletions.restore_version(
        args.name, args.number, actor=args.actor, reason=args.reason
    )
    rows = [["model", "number", "stage", "digest"]]
    rows.append([made.name, str(made.version), made.stage, made.digest[:12]])
    return show(args, asdict(made), rows)


def _slot(registry: ModelRegistry, args: argparse.Namespace, slot: str) -> int:
    version = args.version and registry.catalog.version(args.name, args.version).version
    event = registry.lifecycle.set_slot(
        args.name, slot, version, actor=args.actor, reason=args.reason, weight=args.weight
    )
    return _print_event(args, event)


def _print_event(args: argparse.Namespace, event: Event) -> int:
    aliases = event.after.get("aliases", {})
    if note := pending_change(event):
        print(note, file=sys.stderr)
    rows = [
        ["entry", "what", "version", "aliases now"],
        [
            str(event.seq),
            event.action,
            str(event.version or ""),
            " ".join(f"{alias}={version}" for alias, version in sorted(aliases.items())),
        ],
    ]
    return show(args, asdict(event), rows)

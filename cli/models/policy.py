"""`sentigraph models policy show|set`: what a model's versions must satisfy.

`set` takes FIELD=VALUE for the fields of the policy (a dot before those of the release), and
`--rule` for demands on a metric, such as ``accuracy,dataset=reviews,min_gain=0.001``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from cli.models.show import show
from registry.errors import InvalidValue
from registry.model_registry import ModelRegistry
from registry.policy import MetricRule, Policy, ReleasePolicy

SET_EXAMPLES = """examples:
  sentigraph models policy set sentiment approvals=1 dataset=reviews
  sentigraph models policy set sentiment --rule accuracy,dataset=reviews,min_gain=0.001
  sentigraph models policy set sentiment --rule ece,lower,threshold=0.05
  sentigraph models policy set sentiment release.min_feedback=4000 release.canary_weights=0.05,0.5
  sentigraph models policy set sentiment --drop-rule accuracy"""


def show_policy(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """All fields with their meaning, and the rules."""
    return _show(args, registry.catalog.model(args.name).policy)


def set_policy(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Changes the fields that are named and leaves the others."""
    present = registry.catalog.model(args.name).policy
    wanted = _fields(args.fields)
    if args.rules or args.drop_rules:
        wanted["rules"] = _rules(present.rules, args.rules, args.drop_rules)
    if not wanted:
        raise InvalidValue(f"nothing to set: name a field, such as approvals=1\n{SET_EXAMPLES}")
    try:
        update = Policy.model_validate(wanted)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidValue(f"{where}: {first['msg']}") from error
    info = registry.catalog.update_model(
        args.name, actor=args.actor, reason=args.reason, policy=update
    )
    return _show(args, info.policy)


def _show(args: argparse.Namespace, policy: Policy) -> int:
    rows = [["field", "value", "meaning"]]
    for name, field in Policy.model_fields.items():
        if name not in ("rules", "release"):
            rows.append([name, _text(getattr(policy, name)), field.description or ""])
    for rule in policy.rules:
        rows.append([f"rule {rule.metric}", _rule_text(rule), ""])
    if not policy.rules:
        rows.append(["rules", "none", "Demands on metrics; --rule adds one."])
    for name, field in ReleasePolicy.model_fields.items():
        value = _text(getattr(policy.release, name))
        rows.append([f"release.{name}", value, field.description or ""])
    return show(args, policy.model_dump(mode="json"), rows)


def _fields(assignments: Sequence[str]) -> dict[str, Any]:
    """FIELD=VALUE pairs as the body of a policy.

    Raises:
        InvalidValue: One is no assignment, or there is no such field.
    """
    wanted: dict[str, Any] = {}
    known = [n for n in Policy.model_fields if n not in ("rules", "release")]
    known += [f"release.{name}" for name in ReleasePolicy.model_fields]
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or name not in known:
            raise InvalidValue(f"{assignment!r} is not FIELD=VALUE; fields: {', '.join(known)}")
        group, dot, field = name.partition(".")
        if dot:
            wanted.setdefault(group, {})[field] = _value(field, value)
        else:
            wanted[name] = _value(name, value)
    return wanted


def _value(field: str, text: str) -> object:
    if field == "canary_weights":
        return [part.strip() for part in text.strip("[]() ").split(",") if part.strip()]
    return None if field == "dataset" and text in ("", "none") else text


def _rules(
    present: Sequence[MetricRule], added: Sequence[str], dropped: Sequence[str]
) -> list[Mapping[str, Any]]:
    """The rules with ``added`` in the place of those of the same metric and dataset."""
    kept = {(r.metric, r.dataset): r.model_dump() for r in present}
    for name in dropped:
        found = [key for key in kept if name in (key[0], f"{key[0]}@{key[1]}")]
        if not found:
            there = ", ".join(f"{m}@{d}" if d else m for m, d in kept) or "none"
            raise InvalidValue(f"there is no rule {name!r}; rules: {there}")
        for key in found:
            del kept[key]
    for text in added:
        rule = _rule(text)
        kept[rule["metric"], rule.get("dataset")] = rule
    return list(kept.values())


def _rule(text: str) -> dict[str, Any]:
    metric, *parts = (part.strip() for part in text.split(","))
    rule: dict[str, Any] = {"metric": metric}
    allowed = ("dataset", "threshold", "min_gain", "max_regression")
    for part in parts:
        name, equals, value = part.partition("=")
        if part in ("higher", "lower"):
            rule["higher_is_better"] = part == "higher"
        elif equals and name in allowed:
            rule[name] = value
        else:
            raise InvalidValue(
                f"--rule {text!r}: {part!r} is none of higher, lower, "
                f"{', '.join(f'{n}=…' for n in allowed)}"
            )
    return rule


def _rule_text(rule: MetricRule) -> str:
    parts = [] if rule.higher_is_better else ["lower"]
    for name in ("dataset", "threshold", "min_gain", "max_regression"):
        if (value := getattr(rule, name)) is not None:
            parts.append(f"{name}={value}")
    return ",".join(parts)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{part:g}" for part in value)
    return json.dumps(value) if isinstance(value, bool) else "none" if value is None else str(value)

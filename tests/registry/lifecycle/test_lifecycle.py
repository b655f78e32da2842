"""Changes of place on real MLflow, on a sqlite file and over HTTP: one way for everyone."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from registry.backend.audit_ledger import champion_at
from registry.errors import (
    ApprovalRequired,
    Conflict,
    GateFailed,
    IllegalTransition,
    IntegrityError,
    InvalidValue,
    ModelNotFound,
)
from registry.model_registry import ModelRegistry
from registry.policy import MetricRule, Policy
from registry.records import Event

pytestmark = pytest.mark.slow
on_sqlite = pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
ANA: dict[str, Any] = {"actor": "ana", "reason": "because"}
Fill = Callable[..., list[int]]


@pytest.fixture
def fill(registry: ModelRegistry, name: str, make_bundle) -> Fill:
    """Registers versions and brings them to staging."""

    def fill(count: int, stage: str = "staging", **bundle: Any) -> list[int]:
        numbers = []
        for _ in range(count):
            content = f"weights {len(registry.store.list_versions(name))}".encode()
            made = registry.store.register(
                name, make_bundle(content, **bundle).directory, actor="ana"
            )
            if stage == "staging":
                registry.lifecycle.transition(name, made.version, "staging", **ANA)
            numbers.append(made.version)
        return numbers

    return fill


def promote(registry: ModelRegistry, name: str, version: int, **more: Any) -> Event:
    return registry.lifecycle.transition(name, version, "production", **{**ANA, **more})


def shown(registry: ModelRegistry, name: str) -> tuple[dict[str, int], dict[int, str]]:
    """Aliases and stage tags as MLflow shows them."""
    model = registry.store.mlflow.client().get_registered_model(name)
    stages = {v.version: v.tags["lifecycle"] for v in registry.store.list_versions(name)}
    return {alias: int(version) for alias, version in model.aliases.items()}, stages


def move(registry: ModelRegistry, name: str, alias: str, version: int) -> None:
    """What a person does in the MLflow UI."""
    registry.store.mlflow.client().set_registered_model_alias(name, alias, str(version))


def test_a_promotion_moves_aliases_and_stages_together(registry, name, fill):
    fill(2)
    promote(registry, name, 1)
    event = promote(registry, name, 2)

    assert shown(registry, name) == (
        {"champion": 2, "previous": 1},
        {1: "archived", 2: "production"},
    )
    assert event.before["aliases"] == {"champion": 1}
    assert event.after["aliases"] == {"champion": 2, "previous": 1}
    assert event.after["stages"] == {"1": "archived", "2": "production"}
    assert event.digest == registry.store.resolve(name, 2).digest
    assert [e.action for e in registry.ledger.events(name)] == [
        *("create_version", "to_staging") * 2,
        *("promote", "promote"),
    ]
    description = registry.store.resolve(name, 2).description
    assert "promote by ana" in description
    assert "| files | passed |" in description


@on_sqlite
def test_illegal_moves_name_the_legal_ones(registry, name, fill):
    fill(1, stage="draft")
    with pytest.raises(IllegalTransition, match="from draft it can go to staging, archived"):
        promote(registry, name, 1)
    registry.lifecycle.transition(name, 1, "staging", **ANA)
    promote(registry, name, 1)
    with pytest.raises(IllegalTransition, match="from production it can go to archived"):
        registry.lifecycle.transition(name, 1, "draft", **ANA)
    with pytest.raises(IllegalTransition, match="is the champion: promote another"):
        registry.lifecycle.transition(name, 1, "archived", **ANA)
    registry.lifecycle.transition(name, 1, "archived", retire=True, **ANA)
    assert shown(registry, name) == ({"previous": 1}, {1: "archived"})
    with pytest.raises(InvalidValue, match="is none of"):
        registry.lifecycle.transition(name, 1, "Production", **ANA)
    with pytest.raises(ModelNotFound):
        promote(registry, name, 9)
    with pytest.raises(InvalidValue, match="actor"):
        registry.lifecycle.transition(name, 1, "staging", actor=" ")


@on_sqlite
def test_rollback_goes_back_step_by_step(registry, name, fill):
    fill(3)
    for version in (1, 2, 3):
        promote(registry, name, version)
    back = {"actor": "bo", "reason": "errors"}

    registry.lifecycle.rollback(name, **back)
    assert shown(registry, name) == (
        {"champion": 2, "previous": 1},
        {1: "archived", 2: "production", 3: "archived"},
    )
    taken_back = registry.store.resolve(name, 3)
    assert taken_back.tags["registry.rolled_back"] == "errors"
    assert "rollback by bo" in taken_back.description
    registry.lifecycle.rollback(name, **back)
    assert shown(registry, name)[0] == {"champion": 1}
    with pytest.raises(IllegalTransition, match="earlier champions: none"):
        registry.lifecycle.rollback(name, **back)
    registry.lifecycle.transition(name, 3, "staging", **ANA)
    promote(registry, name, 3)
    assert shown(registry, name)[0] == {"champion": 3, "previous": 1}
    with pytest.raises(InvalidValue, match="needs a reason"):
        registry.lifecycle.rollback(name, actor="bo", reason=" ")


@on_sqlite
def test_slots_belong_to_versions_in_staging(registry, name, fill):
    fill(2)
    lifecycle = registry.lifecycle
    lifecycle.set_slot(name, "challenger", 1, weight=1 / 3, **ANA)
    lifecycle.set_slot(name, "shadow", 2, **ANA)
    assert shown(registry, name)[0] == {"challenger": 1, "shadow": 2}
    assert lifecycle.state(name).weights == {"challenger": 0.3333, "shadow": 1.0}
    tags = registry.store.mlflow.client().get_registered_model(name).tags
    assert tags["serve.challenger_weight"] == "0.3333"

    promote(registry, name, 1)
    assert shown(registry, name)[0] == {"champion": 1, "shadow": 2}
    lifecycle.set_slot(name, "shadow", None, **ANA)
    assert shown(registry, name)[0] == {"champion": 1}
    with pytest.raises(IllegalTransition, match="only a version in staging"):
        lifecycle.set_slot(name, "shadow", 1, **ANA)
    with pytest.raises(InvalidValue, match="weight"):
        lifecycle.set_slot(name, "shadow", 2, weight=0, **ANA)
    with pytest.raises(InvalidValue, match="slot"):
        lifecycle.set_slot(name, "champion", 2, **ANA)


@on_sqlite
def test_the_gate_compares_with_the_champion_and_is_recorded(registry, name, make_bundle):
    data = {"dataset": "mixed", "dataset_digest": "d" * 64}
    for content, accuracy in ((b"one", 0.9), (b"two", 0.85), (b"three", 0.92)):
        made = registry.store.register(
            name,
            make_bundle(content, provenance=data).directory,
            actor="ana",
            metrics={"accuracy": accuracy},
        )
        registry.lifecycle.transition(name, made.version, "staging", **ANA)
    rule = MetricRule(metric="accuracy", threshold=0.8, max_regression=0.01)
    registry.catalog.update_model(name, policy=Policy(rules=(rule,)), actor="ana")

    promote(registry, name, 1)
    with pytest.raises(GateFailed, match=r"0\.85 against 0\.9 of champion 1"):
        promote(registry, name, 2)
    assert not registry.lifecycle.gate(name, 2).passed
    assert shown(registry, name)[0] == {"champion": 1}
    event = promote(registry, name, 3)
    assert [c["name"] for c in event.gate["checks"]] == [
        "files",
        "labels",
        "accuracy threshold",
        "accuracy regression",
    ]


@on_sqlite
def test_a_second_person_approves_where_the_policy_asks(registry, name, fill):
    fill(1)
    registry.catalog.update_model(name, policy=Policy(approvals=1), actor="ana")
    decide = registry.lifecycle.decide
    with pytest.raises(ApprovalRequired, match="other than ana"):
        promote(registry, name, 1)
    decide(name, 1, approve=True, **ANA)
    with pytest.raises(ApprovalRequired):
        promote(registry, name, 1)
    decide(name, 1, approve=True, actor="bo", reason="looked at it")
    decide(name, 1, approve=False, actor="cy", reason="not yet")
    with pytest.raises(ApprovalRequired):
        promote(registry, name, 1)
    decide(name, 1, approve=True, actor="bo", reason="now")
    promote(registry, name, 1)
    assert shown(registry, name)[0] == {"champion": 1}


@on_sqlite
def test_a_caller_that_looked_at_an_old_state_is_refused(registry, name, fill):
    fill(2)
    seen = registry.lifecycle.state(name).seq
    promote(registry, name, 1, expected_seq=seen)
    with pytest.raises(Conflict, match=f"{seen + 1} audit entries, you have seen {seen}"):
        promote(registry, name, 2, expected_seq=seen)


def test_a_move_in_the_mlflow_ui_is_recorded(registry, name, fill):
    fill(3)
    promote(registry, name, 1)
    move(registry, name, "champion", 2)
    state = registry.lifecycle.state(name)
    assert (state.champion, state.champions) == (2, (1, 2))
    assert shown(registry, name) == (
        {"champion": 2, "previous": 1},
        {1: "archived", 2: "production", 3: "staging"},
    )
    move(registry, name, "shadow", 3)
    assert registry.lifecycle.state(name).weights == {"shadow": 1.0}
    actions = [(e.action, e.actor) for e in registry.ledger.events(name)][-2:]
    assert actions == [("outside_move", "mlflow-ui")] * 2


@on_sqlite
def test_a_move_in_the_mlflow_ui_obeys_the_policy(registry, name, fill):
    fill(2)
    promote(registry, name, 1)
    rule = MetricRule(metric="recall", threshold=0.5)
    registry.catalog.update_model(name, policy=Policy(rules=(rule,)), actor="ana")
    move(registry, name, "champion", 2)

    assert registry.lifecycle.state(name).champion == 1
    assert shown(registry, name) == ({"champion": 1}, {1: "production", 2: "staging"})
    event = registry.ledger.events(name)[-1]
    assert (event.action, event.version) == ("refuse_outside_move", 2)
    assert "version 2 has no recall" in event.reason
    registry.lifecycle.state(name)
    assert registry.ledger.events(name)[-1] == event


def test_what_was_changed_by_hand_is_set_back(registry, name, fill):
    fill(2)
    promote(registry, name, 1)
    client = registry.store.mlflow.client()
    client.set_model_version_tag(name, "2", "lifecycle", "production")
    client.delete_registered_model_alias(name, "champion")
    registry.lifecycle.state(name)
    assert shown(registry, name) == ({"champion": 1}, {1: "production", 2: "staging"})

    promote(registry, name, 2)
    client.delete_model_version(name, "2")
    assert registry.lifecycle.state(name).champion == 1
    assert shown(registry, name) == ({"champion": 1}, {1: "production"})


@on_sqlite
def test_other_files_than_the_recorded_ones_do_not_become_champion(registry, name, fill):
    fill(2)
    promote(registry, name, 1)
    registry.store.mlflow.client().set_model_version_tag(name, "2", "digest", "ab" * 32)
    move(registry, name, "champion", 2)
    assert registry.lifecycle.state(name).champion == 1
    assert "not the recorded files" in registry.ledger.events(name)[-1].reason


@on_sqlite
def test_a_model_without_a_ledger_is_taken_as_it_is(registry, name, fill):
    fill(2, stage="draft")
    client = registry.store.mlflow.client()
    client.set_model_version_tag(name, "1", "lifecycle", "archived")
    client.set_registered_model_alias(name, "champion", "2")
    assert registry.lifecycle.state(name).stages == {1: "archived", 2: "production"}
    assert registry.ledger.events(name)[-1].action == "adopt"
    assert shown(registry, name) == ({"champion": 2}, {1: "archived", 2: "production"})


@on_sqlite
def test_champion_at_a_time(registry, name, fill):
    fill(2)
    first = promote(registry, name, 1)
    second = promote(registry, name, 2)
    events = registry.ledger.events(name)
    assert champion_at(events, first.at_s - 0.001) is None
    assert champion_at(events, first.at_s) == events[first.seq - 1]
    assert champion_at(events, second.at_s + 100) == events[second.seq - 1]


def test_a_changed_ledger_does_not_verify(sqlite_registry, name, make_bundle):

    sqlite_registry.store.register(name, make_bundle().directory, actor="ana")
    sqlite_registry.lifecycle.transition(name, 1, "staging", **ANA)
    file = sqlite_registry.store.tracking_uri.removeprefix("sqlite:///")
    with sqlite3.connect(file) as connection:
        row = connection.execute(
            "SELECT run_uuid, value FROM params WHERE key = '000001' AND value LIKE ?",
            (f'%"model": "{name}"%',),
        ).fetchone()
        changed = json.dumps({**json.loads(row[1]), "actor": "nobody"}, sort_keys=True)
        connection.execute(
            "UPDATE params SET value = ? WHERE run_uuid = ? AND key = '000001'", (changed, row[0])
        )
    connection.close()
    with pytest.raises(IntegrityError, match="broken at entry 2"):
        promote(sqlite_registry, name, 1)


@pytest.mark.parametrize("registry", ["http"], indirect=True)
def test_a_writer_that_was_paused_does_not_undo_what_others_did_since(
    registry: ModelRegistry, name: str, fill: Fill
) -> None:
    """Through a server no lock keeps writers apart: this one stops after its entry."""
    fill(3)
    promote(registry, name, 1)
    reconciler = registry.lifecycle._changes.reconciler
    paused = promote(registry, name, 2)
    promote(registry, name, 3)
    reconciler.apply(name, paused)
    client = registry.store.mlflow.client()
    # Nor when the others have moved aliases and have not yet noted it.
    client.set_registered_model_tag(name, "registry.applied", str(paused.seq))
    reconciler.apply(name, paused)
    assert client.get_registered_model(name).aliases["champion"] == "3"
    assert registry.lifecycle.state(name).champion == 3
    assert shown(registry, name)[0] == {"champion": 3, "previous": 2}
    assert registry.ledger.events(name)[-1].action == "promote"
    # A number that a person typed stops nobody.
    client.set_registered_model_tag(name, "registry.applied", "999")
    registry.lifecycle.rollback(name, **ANA)
    assert shown(registry, name)[0] == {"champion": 2, "previous": 1}


def test_whoever_waits_is_told_when_aliases_are_written(
    sqlite_uri: str, name: str, make_bundle, tmp_path
) -> None:
    told: list[tuple[dict[str, int], dict[int, str]]] = []
    registry = ModelRegistry(
        sqlite_uri, tmp_path / "unused", lambda: told.append(shown(registry, name))
    )
    registry.store.register(name, make_bundle().directory, actor="ana")
    registry.point(name, "champion", 1, **ANA)
    # Stage tags and descriptions come after it.
    assert told[-1] == ({"champion": 1}, {1: "staging"})
    assert shown(registry, name)[1] == {1: "production"}

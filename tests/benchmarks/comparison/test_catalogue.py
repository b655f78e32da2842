"""Who is compared and with which settings; what each is told and answers."""

import json
import re

import pytest

from benchmarks.comparison.catalogue import PEERS, Peer, Setting, by_name
from benchmarks.comparison.environments import PEERS_DIR, requirements

OTHERS = [peer for peer in PEERS if not peer.is_ours]
by_title = pytest.mark.parametrize("peer", OTHERS, ids=lambda peer: peer.name)


@by_title
def test_every_peer_has_a_server_and_exact_pins(peer: Peer) -> None:
    assert (PEERS_DIR / peer.folder / peer.script).is_file()
    lines = (PEERS_DIR / peer.folder / "requirements.txt").read_text().split("\n")
    assert all(re.fullmatch(r"[\w.\-]+==[\w.+]+", line) for line in lines if line)
    assert peer.package in requirements(peer.folder)


@by_title
def test_every_peer_has_the_same_engine(peer: Peer) -> None:
    ours = {name: requirements("fastapi")[name] for name in ("onnxruntime", "tokenizers")}
    theirs = requirements(peer.folder)
    assert {name: theirs[name] for name in ours} == ours


@by_title
@pytest.mark.parametrize("short", [True, False])
def test_a_grid_holds_the_usual_setting_and_none_twice(peer: Peer, short: bool) -> None:
    grid = peer.grid(4, short=short)
    assert grid[0] == peer.usual(4)
    assert len(set(grid)) == len(grid)
    assert {setting.workers for setting in grid} == ({4} if short else {1, 4})
    # mlflow's server can be told nothing but the number of its workers.
    assert len(grid) > 1 or (short and peer.name == "mlflow")


def test_the_usual_setting_is_32_and_5_ms_where_it_means_something() -> None:
    assert by_name("mosec").usual(2) == Setting(32, 5.0, 2)
    assert by_name("bentoml").usual(2) == Setting(32, None, 2)
    assert by_name("mlflow").usual(2) == Setting(1, 0.0, 2)


def test_the_full_grid_tries_every_batch_wait_and_worker_count() -> None:
    grid = by_name("litserve").grid(2, short=False)
    pairs = {(setting.max_batch, setting.wait_ms) for setting in grid}
    assert pairs == {(1, 0), (8, 0), (8, 1), (8, 5), (32, 0), (32, 1), (32, 5)}
    assert len(grid) == len(pairs) * 2


ANSWERS = {
    "ours-split": {"label": "POSITIVE", "score": 0.75, "cached": False},
    "mosec": {"label": "POSITIVE", "score": 0.75},
    "bentoml": [{"label": "POSITIVE", "score": 0.75}],
    "mlserver": {
        "outputs": [
            {"name": "score", "data": ["0.75"]},
            {"name": "label", "data": ["POSITIVE"]},
        ]
    },
    "mlflow": {"predictions": [{"label": "POSITIVE", "score": 0.75}]},
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_read(name: str) -> None:
    wire = by_name(name).wire
    assert wire.decode(json.dumps(ANSWERS[name])) == ("POSITIVE", 0.75)
    assert "Grüße" in wire.encode("Grüße")


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"label": "x", "score": null}'])
@pytest.mark.parametrize("name", ANSWERS)
def test_anything_else_is_not_an_answer(name: str, body: str) -> None:
    with pytest.raises(ValueError, match="not the expected answer"):
        by_name(name).wire.decode(body)


def test_only_ours_is_told_deadlines_and_may_answer_from_a_cache() -> None:
    for peer in PEERS:
        assert bool(peer.wire.deadline_header) is bool(peer.wire.cached_mark) is peer.is_ours

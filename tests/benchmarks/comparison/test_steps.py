"""The order of a run."""

from benchmarks.comparison.catalogue import PEERS
from benchmarks.comparison.record import CLOSED, OPEN
from benchmarks.comparison.scope import BENCH, FULL
from benchmarks.comparison.steps import BARE, SEARCH, VISIT, Step, steps


def place(planned: list[Step], **wanted: object) -> int:
    for index, step in enumerate(planned):
        if all(getattr(step, name) == value for name, value in wanted.items()):
            return index
    raise AssertionError(f"no step with {wanted}")


def test_the_bare_engine_comes_first_and_ranks_are_known_before_they_are_used() -> None:
    planned = steps(BENCH, PEERS, models=["minilm"])
    assert planned[0].kind == BARE
    first_rank = min(place(planned, rank=rank) for rank in (1, 2, 3))
    measured = {step.peer for step in planned[:first_rank] if step.kind == VISIT}
    assert measured >= {peer.name for peer in PEERS}


def test_a_peer_is_measured_at_the_best_setting_that_was_found() -> None:
    planned = steps(BENCH, PEERS)
    for peer in PEERS:
        if not peer.is_ours and len(peer.grid(2, short=True)) > 1:
            search = place(planned, peer=peer.name, kind=SEARCH)
            assert search < place(planned, peer=peer.name, kind=VISIT, model="minilm")


def test_ours_and_the_fastest_peers_take_turns() -> None:
    planned = [
        step for step in steps(BENCH, PEERS, models=["minilm"]) if step.cases and step.cases[0].turn
    ]
    one = ["ours-split", 1, "ours-fused", 2]
    assert [step.peer or step.rank for step in planned] == one * 5
    assert [step.cases[0].turn for step in planned] == [1 + n // 4 for n in range(20)]
    for step in planned:
        loads = [(case.load, case.concurrency, case.factor) for case in step.cases]
        assert loads == [(CLOSED, 1, 0.0), (OPEN, 0, 0.5), (CLOSED, 64, 0.0)]


def test_every_case_is_measured_once() -> None:
    cases = [case for step in steps(FULL, PEERS) if not step.rank for case in step.cases]
    assert len(set(cases)) == len(cases)


def test_the_command_line_narrows_a_run() -> None:
    few = [peer for peer in PEERS if peer.name in ("ours-split", "mosec")]
    planned = steps(BENCH, few, models=["distilbert"], workloads=["real"])
    assert {step.model for step in planned} == {"distilbert"}
    assert {step.peer for step in planned} == {"", "ours-split", "mosec"}
    assert {step.rank for step in planned} == {0, 1}


def test_make_bench_is_planned_for_less_than_an_hour() -> None:
    assert 30 < sum(step.estimate_s for step in steps(BENCH, PEERS)) / 60 < 58

"""The order of a run."""

from benchmarks.comparison.catalogue import PEERS
from benchmarks.comparison.scope import BENCH, FULL
from benchmarks.comparison.steps import BARE, BEST, SEARCH, USUAL, Step, steps


def place(planned: list[Step], **wanted: object) -> int:
    for index, step in enumerate(planned):
        if all(getattr(step, name) == value for name, value in wanted.items()):
            return index
    raise AssertionError(f"no step with {wanted}")


def test_ours_comes_before_the_rates_that_depend_on_it() -> None:
    planned = steps(BENCH, PEERS)
    ours = place(planned, peer="ours-split", model="minilm")
    assert all(ours < place(planned, rank=rank) for rank in (1, 2, 3))
    assert planned[0].kind == BARE


def test_a_peer_is_measured_usual_then_searched_then_at_its_best() -> None:
    planned = steps(BENCH, PEERS)
    for peer in PEERS:
        if not peer.is_ours and len(peer.grid(2, short=True)) > 1:
            usual = place(planned, peer=peer.name, role=USUAL, model="minilm")
            search = place(planned, peer=peer.name, kind=SEARCH)
            assert usual < search < place(planned, peer=peer.name, role=BEST, model="minilm")


def test_every_repeat_has_another_order() -> None:
    orders: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for step in steps(FULL, PEERS, models=["minilm"], workloads=["real"]):
        if step.role == USUAL:
            orders[step.cases[0].repeat].append(step.peer)
    assert len({tuple(order) for order in orders.values()}) == 3
    assert len({tuple(sorted(order)) for order in orders.values()}) == 1


def test_every_case_is_measured_once() -> None:
    cases = [case for step in steps(FULL, PEERS) if not step.rank for case in step.cases]
    assert len(set(cases)) == len(cases)


def test_the_command_line_narrows_a_run() -> None:
    few = [peer for peer in PEERS if peer.name in ("ours-split", "mosec")]
    planned = steps(BENCH, few, models=["distilbert"], workloads=["real"])
    assert {step.model for step in planned} == {"distilbert"}
    assert {step.peer for step in planned} == {"", "ours-split", "mosec"}


def test_make_bench_is_planned_for_a_quarter_of_an_hour() -> None:
    assert 10 < sum(step.estimate_s for step in steps(BENCH, PEERS)) / 60 < 22

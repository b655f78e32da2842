"""All checks of rendered manifests, in one place for the tests that use them."""

from entrance_rules import entrance_problems
from manifests import Document, schema_problems
from operator_rules import cluster_problems, group_problems, lint_problems, placement_problems
from outside_rules import reach_problems, store_problems
from pod_rules import monitor_problems, network_problems, pod_problems, selector_problems

RULES = (
    lint_problems,
    cluster_problems,
    group_problems,
    placement_problems,
    pod_problems,
    selector_problems,
    network_problems,
    monitor_problems,
    store_problems,
    reach_problems,
    entrance_problems,
)


def all_problems(documents: list[Document]) -> list[str]:
    """What schemas and rules find; a rule that cannot even read a manifest counts as a find."""
    found = [problem for document in documents for problem in schema_problems(document)]
    for rule in RULES:
        try:
            found += rule(documents)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            found.append(f"{rule.__name__} cannot read the manifests: {error!r}")
    return found

"""Skips with a reason where Helm's library or Kubernetes' schemas are not installed."""

import importlib.util

collect_ignore: list[str] = []
MISSING = [
    name for name in ("helm_python", "kubernetes_validate") if not importlib.util.find_spec(name)
]
if MISSING:
    collect_ignore += [
        "test_chart.py",
        "test_checkov.py",
        "test_dashboards.py",
        "test_entrance.py",
        "test_images.py",
        "test_jobs_and_streams.py",
        "test_planted_mistakes.py",
        "test_refused_values.py",
        "test_tracing_values.py",
    ]


def pytest_report_header() -> str:
    """Says why the chart is not tested."""
    if MISSING:
        return (
            f"tests/kuberay: left out, {', '.join(MISSING)} not installed (pip install .[cluster])"
        )
    return "tests/kuberay: Helm and Kubernetes schemas found"

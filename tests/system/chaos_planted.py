"""Regressions that ``make chaos`` must find: a protection of the front is switched off.

``python -m tests.system.chaos_planted PLANT …`` is what Ray then starts as HAProxy.
"""

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from benchmarks.harness.machine import ROOT
from operations.front import haproxy, overrides, settings
from operations.local_stack import stack

RETRY, WATCHDOG = "retry", "watchdog"
PLANTS = (RETRY, WATCHDOG)
_NO_RETRY = """
    no option redispatch
    retries 0
    balance roundrobin"""
# Ray's own period: a lost front is noticed after three of them.
_SLOW = {"RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "10"}


@contextmanager
def planted(plant: str | None) -> Iterator[Mapping[str, str]]:
    """Stacks that are started within have it; gives variables for them."""
    if plant is None:
        yield {}
        return

    def write_program(path: Path) -> None:
        settings.write_program(path)
        ours = path.read_text(encoding="utf-8")
        theirs = ours.replace("operations.front.haproxy", f"tests.system.chaos_planted {plant}")
        path.write_text(theirs.replace("exec ", f"cd {shlex.quote(str(ROOT))} && exec "))

    with patch.object(stack, "write_program", write_program):
        yield _SLOW if plant == WATCHDOG else {}


def main() -> int:
    """Becomes HAProxy without the protection."""
    plant = sys.argv.pop(1)
    if plant == RETRY:
        overrides._REPEAT = _NO_RETRY
        return haproxy.main()
    with patch.object(haproxy, "begin", lambda *_: None):
        return haproxy.main()


if __name__ == "__main__":
    sys.exit(main())

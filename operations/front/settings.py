"""Ray Serve's variables that keep the front open: of the local stack, the image and the chart.

Ray reads them on every node before it starts. A test holds the Dockerfile and the chart to them.
"""

import shlex
import sys
from pathlib import Path

from operations.front.overrides import check_ray

PROGRAM = "sentigraph-haproxy"
# Where the image has it.
IMAGE_PROGRAM = f"/venv/bin/{PROGRAM}"
FRONT = {
    # A lost proxy manager is replaced after three checks: in half a minute at Ray's 10 s.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    # An ingress replica that hangs gets no more requests after two checks; Ray's default is 5 s.
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "2s",
    # Of each log of each process, and as many as 3 earlier ones; Ray's defaults are 512 MB and 5.
    "RAY_ROTATION_MAX_BYTES": "16777216",
    "RAY_ROTATION_BACKUP_COUNT": "3",
    # A client that neither sends nor reads; Ray's default is an hour.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
}


def write_program(path: Path) -> None:
    """Writes ``sentigraph-haproxy`` for this Python to ``path``: it needs no installation.

    Raises:
        UnknownRay: It would refuse the installed Ray.
    """
    check_ray()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m operations.front.haproxy "$@"\n',
        encoding="utf-8",
    )
    path.chmod(0o700)

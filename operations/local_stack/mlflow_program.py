"""``mlflow server`` without the process that only waits: it becomes the server.

MLflow's command starts uvicorn as a child and waits for it, 180 MB for nothing.
"""

import os
import sys
from collections.abc import Mapping, Sequence

import mlflow.cli
import mlflow.server


def become(
    command: Sequence[str], *, extra_env: Mapping[str, str], **_: object
) -> None:  # pragma: no cover  (the process is another one afterwards)
    """Stands for ``mlflow.server._exec_cmd``."""
    os.execvpe(command[0], list(command), {**os.environ, **extra_env})  # noqa: S606


def main() -> None:
    """Takes the arguments of ``mlflow server``."""
    if hasattr(mlflow.server, "_exec_cmd"):  # else MLflow has changed, and starts its child
        mlflow.server._exec_cmd = become
    mlflow.cli.cli(["server", *sys.argv[1:]])


if __name__ == "__main__":
    main()

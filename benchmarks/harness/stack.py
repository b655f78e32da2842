"""A private local stack: any free ports, a folder of its own, ended with the ``with`` block."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness.machine import ROOT
from benchmarks.harness.output import say
from operations.local_stack.stack import Stack, StackSettings
from registry.model_registry import ModelRegistry

_CONFIG = ROOT / "serve_config.yaml"


@contextmanager
def private_stack(state: Path | None, config: Path = _CONFIG, /, **environ: str) -> Iterator[Stack]:
    """A running stack beside any other on this machine.

    Args:
        state: Its folder; None takes that of the home folder which ``environ`` names.
        config: A ``serve_config.yaml``.
        environ: Variables added to those of this process.

    Raises:
        StackError: It cannot be started.
    """
    merged = {**os.environ, **environ}
    settings = StackSettings(merged, config, state, port=0, mlflow_port=0, dashboard_port=0)
    with Stack(settings, on_step=say) as stack:
        yield stack


def serve_config(
    folder: Path, args: Mapping[str, Any], *, log_level: str = "INFO", **application: Any
) -> Path:
    """A copy of ``serve_config.yaml`` in ``folder`` with some settings changed.

    Args:
        folder: Where ``bench.yaml`` is written.
        args: Sections of the application's ``args:``, each in place of what was there.
        log_level: Of Serve's logs.
        application: Other keys of the application.
    """
    content = yaml.safe_load(_CONFIG.read_text(encoding="utf-8"))
    content["logging_config"]["log_level"] = log_level
    [entry] = content["applications"]
    entry["args"] |= args
    entry |= application
    file = folder / "bench.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file


def registry_of(stack: Stack) -> ModelRegistry:
    """The stack's registry, opened in this process."""
    config = stack.config.registry
    return ModelRegistry(config.tracking_uri, config.artifact_root)

"""A private stack with access on and a key of each kind; what ``tests.system.attack`` attacks."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from benchmarks.harness.stack import private_stack
from configs.schema.access import Role
from configs.schema.api_keys import new_key, write_keys
from operations.local_stack.stack import Stack


@dataclass(frozen=True, slots=True)
class Guarded:
    """A stack with access on, and a key of each kind."""

    stack: Stack
    keys: Mapping[str, str]

    def header(self, name: str) -> dict[str, str]:
        """What its caller sends."""
        return {"X-API-Key": self.keys[name]}

    @property
    def port(self) -> int:
        """Of the application."""
        return urlsplit(self.stack.url).port or 0


def guarded(folder: Path, stack: ExitStack) -> Guarded:
    """Starts the stack; it ends with ``stack``."""
    roles = {name: [name] for name in get_args(Role)} | {
        name: ["predict"] for name in ("legitimate", "hog", "victim", "expired")
    }
    made = {name: new_key(name, each) for name, each in roles.items()}
    yesterday = datetime.now(UTC) - timedelta(days=1)
    kept = [
        entry.model_copy(update={"expires_at": yesterday}) if name == "expired" else entry
        for name, (_, entry) in made.items()
    ]
    environ = {
        "MLOPS_ACCESS__REQUIRED": "true",
        "MLOPS_ACCESS__API_KEYS": write_keys(kept),
        "MLOPS_JOBS__ENABLED": "true",
        "MLOPS_DRIFT_DETECTION_ENABLED": "true",
        "MLOPS_FEEDBACK__ENABLED": "true",
        "MLOPS_KPIS__ENABLED": "true",
    }
    running = stack.enter_context(private_stack(folder, **environ))
    return Guarded(running, {name: key for name, (key, _) in made.items()})

"""``serve_config.yaml`` as the local stack uses it: read, ports changed, kept with the state."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from configs.errors import ConfigError
from configs.load import load_config
from configs.schema.app import AppConfig
from operations.errors import StackError


def state_environment(environ: Mapping[str, str], state_dir: Path | None) -> dict[str, str]:
    """The environment with which registry, jobs and drift are kept in the state folder.

    Args:
        environ: Environment to start from.
        state_dir: The folder; None leaves the configured places.
    """
    ours = dict(environ)
    if state_dir is not None:
        state = state_dir.absolute()
        ours["MLOPS_REGISTRY__TRACKING_URI"] = f"sqlite:///{state / 'mlflow.db'}"
        ours["MLOPS_REGISTRY__ARTIFACT_ROOT"] = str(state / "artifacts")
        ours["MLOPS_REGISTRY__BUNDLE_CACHE_DIR"] = str(state / "bundles")
        ours.setdefault("MLOPS_JOBS__DATABASE", f"sqlite:///{state / 'jobs.db'}")
        ours.setdefault("MLOPS_DRIFT__DATABASE", f"sqlite:///{state / 'insight.db'}")
    return ours


class ServeConfig:
    """The file's content.

    Attributes:
        content: What is handed to Ray Serve.
        name: Of the first application.
    """

    def __init__(self, content: dict[str, Any], name: str, args: Mapping[str, object]) -> None:
        self.content = content
        self.name = name
        self._args = args

    @classmethod
    def read(cls, file: Path) -> Self:
        """Reads the file.

        Raises:
            StackError: It cannot be read or has no application.
        """
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            first = content["applications"][0]
            return cls(content, first.get("name", "default"), first.get("args") or {})
        except OSError as error:
            raise StackError(f"{file} cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise StackError(f"{file} has no application: see `sentigraph lint`") from error

    def app_config(
        self, environ: Mapping[str, str], home: Path, state_dir: Path | None
    ) -> tuple[dict[str, str], AppConfig]:
        """The application's configuration, and the environment that gives the same to Ray.

        Args:
            environ: Environment to start from.
            home: Folder that relative paths start from.
            state_dir: Where registry, jobs and drift are kept, instead of the configured place.

        Raises:
            StackError: The configuration is refused.
        """
        ours = state_environment(environ, state_dir)
        try:
            return ours, load_config(self._args, environ=ours, home=home)
        except ConfigError as error:
            raise StackError("; ".join(error.problems)) from error

    def set_ports(self, *, http: int, grpc: int) -> None:
        """Changes where Serve listens; nothing else of the file is touched."""
        self.content = {
            **self.content,
            "http_options": {**(self.content.get("http_options") or {}), "port": http},
            "grpc_options": {**(self.content.get("grpc_options") or {}), "port": grpc},
        }

    def write(self, file: Path) -> None:
        """Writes what is deployed, for people and for ``serve deploy``."""
        file.write_text(yaml.safe_dump(self.content, sort_keys=False), encoding="utf-8")

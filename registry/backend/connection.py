"""One process's connection to MLflow: opened once, its errors converted to ours.

The only place of the registry that imports MLflow. It does so on first use, because
that takes seconds and 160 MB. ``sqlite_setup.py`` prepares a sqlite file before;
``store.py`` makes the calls.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from configs.sources.http_deadline import DeadlineAdapter
from registry.backend.sqlite_setup import locked, prepare_sqlite, sqlite_file, sqlite_uri
from registry.backend.sqlite_upgrade import upgrade_sqlite
from registry.errors import AlreadyExists, BackendUnavailable, InvalidValue, ModelNotFound

EXPERIMENT = "sentigraph"

# Guards MLflow's own process-wide state: tracking URI, adapters.
_PROCESS_STATE = threading.Lock()

# MLflow reads these from the environment when it is imported or called. Without the
# retry settings a server that is down blocks each call for four minutes.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A value that is too long is an error, not silently another value.
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    # Of a whole request, by ``http_deadline.py``; MLflow alone would bound each read.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Else the server says how long a call sleeps, and how many more it makes.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",
}


def log_in(username: str, password: str) -> None:
    """Sets the login of every later request to an MLflow server; MLflow reads it each time."""
    if username:
        os.environ["MLFLOW_TRACKING_USERNAME"] = username
        os.environ["MLFLOW_TRACKING_PASSWORD"] = password


class Connection:
    """A ready object for one tracking URI; nothing is opened before the first call.

    Threads may share it.

    Attributes:
        uri: The tracking URI, absolute when it names a sqlite file.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path | str) -> None:
        self._file = sqlite_file(tracking_uri)
        self.uri = sqlite_uri(self._file) if self._file else tracking_uri
        root = str(artifact_root)
        self._artifact_root = root if "://" in root else Path(root).absolute().as_uri()
        self._opening = threading.Lock()
        self._client: Any = None
        self._experiment_id = ""
        self._failures: tuple[type[Exception], ...] = (OSError,)

    def client(self) -> Any:
        """The connected ``MlflowClient``; opened by the first caller while the others wait.

        Raises:
            BackendUnavailable: The store cannot be reached, read or written.
        """
        with self._opening:
            if self._client is None:
                for key, value in _ENVIRONMENT.items():
                    os.environ.setdefault(key, value)
                import mlflow  # noqa: PLC0415  (the settings above must come first)
                import sqlalchemy.exc  # noqa: PLC0415

                _bound_requests()

                self._failures = (
                    mlflow.exceptions.MlflowException,
                    sqlalchemy.exc.SQLAlchemyError,
                    OSError,
                )
                with self.exclusive(), self.translated("registry"):
                    if self._file is not None:
                        prepare_sqlite(self._file, self._migrate)
                        self._upgrade(self._file)
                    client = mlflow.MlflowClient(self.uri, self.uri)
                    experiment = self._make_experiment(client, EXPERIMENT, {})
                    self._experiment_id = str(experiment.experiment_id)
                    client.search_registered_models(max_results=1)
                self._client = client
        return self._client

    def close(self) -> None:
        """Closes the connections to a database; the next call opens new ones."""
        with self._opening:
            client, self._client = self._client, None
        if client is not None and self._file is not None:
            for store in (client._tracking_client.store, client._get_registry_client().store):
                store.engine.dispose()

    def experiment_id(self) -> str:
        """The experiment that holds our LoggedModels."""
        self.client()
        return self._experiment_id

    @property
    def local_artifacts(self) -> Path | None:
        """The folder of all files; None where a server or a bucket keeps them."""
        is_here = not self.uri.startswith("http") and self._artifact_root.startswith("file:")
        return Path(unquote(urlsplit(self._artifact_root).path)) if is_here else None

    def artifacts(self, name: str, version: int) -> Any:
        """MLflow's repository of a version's files."""
        from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415
            get_artifact_repository,
        )

        # The plain location: a ``models:/`` repository would write into the stored folder.
        location = self.client().get_model_version_download_uri(name, str(version))
        return get_artifact_repository(location, tracking_uri=self.uri)

    def delete_files(self, logged_model: Any) -> None:
        """Removes the files of a LoggedModel, then itself: MLflow alone would keep the files."""
        from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415
            get_artifact_repository,
        )

        location = logged_model.artifact_location
        repository = get_artifact_repository(location, tracking_uri=self.uri)
        for item in repository.list_artifacts():
            repository.delete_artifacts(item.path)
        self.client().delete_logged_model(logged_model.model_id)

    def exclusive(self) -> AbstractContextManager[None]:
        """Keeps other processes out of a sqlite file; other stores rely on unique names."""
        if self._file is None:
            return nullcontext()
        return locked(self._file.with_name(f"{self._file.name}.lock"))

    @contextmanager
    def process_address(self) -> Iterator[None]:
        """Makes ours the address at which MLflow itself looks up ``models:/…`` sources."""
        import mlflow  # noqa: PLC0415

        with _PROCESS_STATE:
            mlflow.set_tracking_uri(self.uri)
            yield

    def pages(self, what: str, search: Callable[..., Any], *args: Any, **query: Any) -> list[Any]:
        """All results of one of the client's searches, which gives them page by page.

        Raises:
            BackendUnavailable: The store cannot be reached or read; ``what`` is what was asked for.
        """
        found: list[Any] = []
        token = None
        with self.translated(what):
            while True:
                page = search(*args, page_token=token, **query)
                found.extend(page)
                if not (token := page.token):
                    return found

    def make(self, create: Callable[[], object]) -> None:
        """Creates something with a unique name, or finds that another process just did."""
        try:
            create()
        except self._failures as error:
            if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                raise

    def write_once(self, run_id: str, key: str, value: str) -> str:
        """Writes a parameter once, and returns the value that is stored.

        MLflow's only compare-and-set: a parameter cannot be changed. Of several writers at
        once one gets its own value back, the others get that value.

        Raises:
            BackendUnavailable: The store cannot be written, or the run was deleted.
        """
        client = self.client()
        try:
            client.log_param(run_id, key, value)
        except self._failures:
            standing: str | None = client.get_run(run_id).data.params.get(key)
            if standing is None:
                raise
            return standing
        return value

    def link_dataset(self, run_id: str, model_id: str, name: str, digest: str) -> None:
        """Notes in MLflow that a run measured a LoggedModel on a dataset."""
        from mlflow.entities import (  # noqa: PLC0415
            Dataset,
            DatasetInput,
            LoggedModelInput,
        )

        dataset = Dataset(name=name, digest=digest, source_type="registry", source="{}")
        self.client().log_inputs(run_id, [DatasetInput(dataset)], [LoggedModelInput(model_id)])

    def make_experiment(self, name: str, tags: dict[str, str] | None = None) -> Any:
        """The experiment of that name, made with ``tags`` if it is missing."""
        return self._make_experiment(self.client(), name, tags or {})

    def _make_experiment(self, client: Any, name: str, tags: dict[str, str]) -> Any:
        if (found := client.get_experiment_by_name(name)) is not None:
            return found
        served = self.uri.startswith(("http://", "https://"))
        location = None if served else f"{self._artifact_root}/{name}"
        self.make(lambda: client.create_experiment(name, location, tags))
        return client.get_experiment_by_name(name)

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Turns MLflow's errors into ours; ``what`` is what was asked for.

        Raises:
            ModelNotFound: MLflow has no such thing.
            AlreadyExists: MLflow has it already.
            BackendUnavailable: MLflow does not answer, or its store failed.
            InvalidValue: MLflow refused a value.
        """
        try:
            yield
        except self._failures as error:
            code = getattr(error, "error_code", "")
            text = str(error)
            # MLflow calls a missing alias an invalid parameter.
            missing_alias = code == "INVALID_PARAMETER_VALUE" and "alias" in text
            if code == "RESOURCE_DOES_NOT_EXIST" or (missing_alias and "not found" in text):
                raise ModelNotFound(f"no {what} in the registry") from error
            if code == "RESOURCE_ALREADY_EXISTS":
                raise AlreadyExists(f"{what} exists already in the registry") from error
            if code == "INVALID_PARAMETER_VALUE":
                raise InvalidValue(f"{what}: {_first_line(text)}") from error
            if "failed with exception" in text or "failed with timeout" in text:
                raise BackendUnavailable(
                    f"the MLflow server {self.uri} does not answer: start it, or correct "
                    f"registry.tracking_uri"
                ) from error
            raise BackendUnavailable(
                f"the registry {self.uri} failed: {_first_line(text)}"
            ) from error

    def _migrate(self, uri: str) -> None:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        # Gives MLflow's "Default" experiment our folder instead of ./mlruns.
        SqlAlchemyStore(uri, self._artifact_root).engine.dispose()

    def _upgrade(self, file: Path) -> None:
        import sqlalchemy  # noqa: PLC0415
        from mlflow.store import db_migrations  # noqa: PLC0415
        from mlflow.store.db import utils  # noqa: PLC0415

        def upgrade(copy: Path) -> None:
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
            engine = sqlalchemy.create_engine(sqlite_uri(copy))
            try:
                utils._upgrade_db(engine)
            finally:
                engine.dispose()

        scripts = Path(next(iter(db_migrations.__path__))) / "versions"
        known = {script.name.partition("_")[0] for script in scripts.glob("*.py")}
        head = utils._get_latest_schema_revision()
        upgrade_sqlite(file, head=head, known=known, upgrade=upgrade)


def _bound_requests() -> None:
    """Has MLflow make its sessions with adapters of ours; once in a process."""
    from mlflow.utils import request_utils  # noqa: PLC0415

    with _PROCESS_STATE:
        theirs = request_utils.TCPKeepAliveHTTPAdapter
        if not issubclass(theirs, DeadlineAdapter):
            ours = type("DeadlineMlflowAdapter", (DeadlineAdapter, theirs), {})
            request_utils.TCPKeepAliveHTTPAdapter = ours
            request_utils._cached_get_request_session.cache_clear()


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:300] if text.strip() else "no message"

"""Vault or OpenBao as a source of secrets: log in, read, write, stay logged in.

Blocking calls, each request bounded in time as a whole (``http_deadline.py``);
``deployments/clients/vault.py`` makes them in a thread. A secret is the field ``value`` below its
name; ``secret_names`` lists those that are read. The only module that knows hvac.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac.exceptions import Forbidden, InvalidPath, VaultError

from configs.errors import SecretsError
from configs.schema.app import AppConfig
from configs.schema.dependencies import VaultConfig
from configs.schema.fields import settings
from configs.sources.http_deadline import DeadlineAdapter

_FIELD = "value"
# A standby sends to the active node; each step has the timeout anew.
_MAX_REDIRECTS = 2


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login that Vault made for us, until its lease ends.

    Attributes:
        username: It exists as long as the lease.
        password: Never shown.
        lease_id: For renewing it.
        duration_s: Of the lease, from when it was given.
    """

    username: str
    password: str = field(repr=False)
    lease_id: str = field(repr=False)
    duration_s: float


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A secret as Vault has it.

    Attributes:
        version: Counts its changes from 1.
        written_at: ISO 8601, UTC.
        value: Never shown.
    """

    version: int
    written_at: str
    value: str = field(repr=False)


def secret_names() -> tuple[str, ...]:
    """Dotted names of the settings that Vault may give; its own login is not among them."""
    return tuple(
        name
        for name, setting in settings(AppConfig).items()
        if setting.secret and not name.startswith("vault.")
    )


class VaultSecrets:
    """One session. Not thread-safe."""

    def __init__(self, config: VaultConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        session = requests.Session()
        session.verify = config.ca_file or True
        session.max_redirects = _MAX_REDIRECTS
        for scheme in ("http://", "https://"):
            session.mount(scheme, DeadlineAdapter())
        self._client = hvac.Client(
            url=config.address,
            namespace=config.namespace or None,
            timeout=config.timeout_ms / 1_000,
            session=session,
        )
        # A stray VAULT_TOKEN in the environment or ~/.vault-token is not our login.
        self._client.token = None
        self._ends_s = 0.0
        self._renew_s = 0.0

    def read(self, names: Iterable[str]) -> dict[str, str]:
        """The secrets that exist among ``names``.

        Raises:
            SecretsError: Vault does not answer, is sealed, or refuses the login or a read.
        """
        with _converted():
            self._stay()
            found = {name: self._again_if_forbidden(self._read, name) for name in names}
        return {name: kept.value for name, kept in found.items() if kept is not None}

    def find(self, name: str) -> KeptSecret | None:
        """One secret with its version; None where there is none.

        Raises:
            SecretsError: As ``read``.
        """
        with _converted():
            self._stay()
            return self._again_if_forbidden(self._read, name)

    def change(self, name: str, change: Callable[[str], str]) -> None:
        """Replaces a secret by what ``change`` makes of it; Vault keeps the versions before.

        Args:
            name: Of the secret.
            change: Is given the value as it is, empty when there is none.

        Raises:
            SecretsError: As ``read``; or somebody else changed it meanwhile.
        """
        with _converted():
            self._stay()
            kept = self._again_if_forbidden(self._read, name) or KeptSecret(0, "", "")
            self._client.secrets.kv.v2.create_or_update_secret(
                self._path(name),
                {_FIELD: change(kept.value)},
                cas=kept.version,
                mount_point=self._config.mount_point,
            )

    def credentials(self, role: str) -> Credentials:
        """New credentials of the database engine.

        Raises:
            SecretsError: As ``read``; or the engine or the role is not there.
        """
        with _converted():
            self._stay()
            given = self._client.read(f"{self._config.database_mount}/creds/{role}")
        if given is None:
            raise SecretsError(f"Vault has no role {role} in {self._config.database_mount}")
        data = given["data"]
        return Credentials(
            data["username"], data["password"], given["lease_id"], float(given["lease_duration"])
        )

    def renew(self, lease_id: str) -> float:
        """Renews a lease; returns the seconds that it lasts from now on.

        Raises:
            SecretsError: As ``read``; or the lease has ended.
        """
        with _converted():
            self._stay()
            return float(self._client.sys.renew_lease(lease_id)["lease_duration"])

    def names(self) -> list[str]:
        """Names of the secrets that exist.

        Raises:
            SecretsError: As ``read``.
        """
        with _converted():
            self._stay()
            try:
                listed = self._client.secrets.kv.v2.list_secrets(
                    self._config.secrets_path, mount_point=self._config.mount_point
                )
            except InvalidPath:
                return []
            return sorted(listed["data"]["keys"])

    @property
    def login_ends_in_s(self) -> float:
        """Seconds until the login ends unless it is renewed; infinite for one that does not."""
        return self._ends_s - self._clock()

    def close(self) -> None:
        """Ends the connections."""
        self._client.adapter.close()

    def _stay(self) -> None:
        """Logs in, or renews the login in the second half of its life."""
        if self._client.token is None or self._clock() >= self._ends_s:
            self._login()
        elif self._clock() >= self._renew_s:
            try:
                self._note(self._client.auth.token.renew_self()["auth"])
            except VaultError:
                self._login()

    def _login(self) -> None:
        config = self._config
        if config.auth == "token":
            self._client.token = config.token.get_secret_value()
            self._note(self._client.auth.token.lookup_self()["data"])
        elif config.auth == "approle":
            secret_id = config.secret_id.get_secret_value()
            self._note(self._client.auth.approle.login(config.role, secret_id)["auth"])
        else:
            identity = Path(config.jwt_file).read_text(encoding="utf-8").strip()
            self._note(self._client.auth.kubernetes.login(config.role, identity)["auth"])

    def _note(self, login: dict[str, Any]) -> None:
        now = self._clock()
        ttl_s = float(login.get("lease_duration") or login.get("ttl") or 0)
        renewable = bool(login.get("renewable"))
        self._ends_s = now + ttl_s if ttl_s else float("inf")
        self._renew_s = now + ttl_s / 2 if ttl_s and renewable else self._ends_s

    def _again_if_forbidden(
        self, read: Callable[[str], KeptSecret | None], name: str
    ) -> KeptSecret | None:
        try:
            return read(name)
        except Forbidden:
            # The login may have been revoked; where it is the policy, a new one changes nothing.
            self._login()
            return read(name)

    def _read(self, name: str) -> KeptSecret | None:
        try:
            answer = self._client.secrets.kv.v2.read_secret_version(
                self._path(name),
                mount_point=self._config.mount_point,
                raise_on_deleted_version=True,
            )
        except InvalidPath:
            return None
        kept = answer["data"]
        value = kept["data"].get(_FIELD)
        if not isinstance(value, str):
            raise SecretsError(f"secret {name} has no text in its field {_FIELD!r}")
        about = kept["metadata"]
        return KeptSecret(about["version"], about["created_time"], value)

    def _path(self, name: str) -> str:
        return f"{self._config.secrets_path}/{name}"


@contextmanager
def _converted() -> Iterator[None]:
    try:
        yield
    except (VaultError, requests.RequestException, OSError) as error:
        # By kind only: messages of the libraries repeat requests.
        raise SecretsError(f"Vault: {type(error).__name__}") from None

"""Credentials that Vault makes for us and takes back: kept alive, replaced before they end."""

import time
from collections.abc import Callable
from typing import Protocol

from configs.errors import SecretsError
from configs.secrets import Credentials, VaultSecrets


class RedisLogin(Protocol):
    """Who logs in to Redis."""

    def replace(self, password: str) -> None:
        """Another password of the same user, from now on."""
        ...

    def become(self, username: str, password: str) -> None:
        """Another user, from now on."""
        ...


class Lease:
    """One role's credentials. Not thread-safe."""

    def __init__(
        self,
        vault: VaultSecrets,
        role: str,
        login: RedisLogin,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Asks for nothing yet.

        Args:
            vault: Where they come from.
            role: Of the database engine.
            login: Is told of each new username and password.
            clock: Seconds; for tests.
        """
        self._vault = vault
        self._role = role
        self._login = login
        self._clock = clock
        self._given: Credentials | None = None
        self._ends_s = 0.0
        self._renew_s = 0.0

    @property
    def ends_in_s(self) -> float:
        """Seconds until the credentials end; 0 before there are any."""
        return max(0.0, self._ends_s - self._clock()) if self._given else 0.0

    def keep(self) -> None:
        """Renews in the second half of the lease's life; takes new ones where that is not enough.

        Raises:
            SecretsError: Vault does not do it; those before are in use until they end.
        """
        now = self._clock()
        if self._given is None or now >= self._ends_s:
            self._take()
        elif now >= self._renew_s:
            try:
                left_s = self._vault.renew(self._given.lease_id)
            except SecretsError:
                self._take()  # the lease may have ended, or been taken back
                return
            # Near its longest life a lease is renewed for less than it was given for.
            if left_s < self._given.duration_s / 2:
                self._take()
            else:
                self._note(left_s)

    def _take(self) -> None:
        given = self._vault.credentials(self._role)
        self._login.become(given.username, given.password)
        self._given = given
        self._note(given.duration_s)

    def _note(self, left_s: float) -> None:
        now = self._clock()
        self._ends_s, self._renew_s = now + left_s, now + left_s / 2

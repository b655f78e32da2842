"""API keys and bearer tokens → ``Caller``. Nothing here waits for I/O."""

import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt

from configs.schema.access import ROLES, AccessConfig, ApiKey, JwtConfig, Role
from configs.schema.api_keys import digest_of, read_keys
from deployments.errors import Unauthorized

_log = logging.getLogger("ray.serve.sentigraph")
# Public-key algorithms only: a shared secret that checks tokens can also sign them.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
_REMEMBERED_TOKENS = 4_096
_MAX_TOKEN_CHARS = 8_192


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller, and what it may do.

    Attributes:
        id: Of the key, or ``jwt:`` and the token's subject.
        roles: What it may do; ``admin`` holds all others.
        requests_per_s: 0 for no limit.
        max_concurrent: 0 for no limit.
    """

    id: str
    roles: frozenset[Role]
    requests_per_s: float
    max_concurrent: int

    def may(self, role: Role) -> bool:
        """Returns whether it has the role."""
        return role in self.roles or "admin" in self.roles


class KeyRing:
    """API keys by digest. Keys may be replaced at any time."""

    def __init__(self, config: AccessConfig, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._keys: dict[str, tuple[float, Caller]] = {}
        self._single: list[ApiKey] = []
        if single := config.api_key.get_secret_value():
            self._single = [ApiKey(id="api_key", sha256=digest_of(single), roles=ROLES)]
        self.replace(config.api_keys.get_secret_value())

    def __len__(self) -> int:
        return len(self._keys)

    def replace(self, document: str) -> None:
        """Replaces the keys of ``access.api_keys``.

        Raises:
            ConfigError: Not a list of keys; those before stay.
        """
        self._keys = {key.sha256: self._entry(key) for key in [*self._single, *read_keys(document)]}

    def find(self, key: str) -> Caller:
        """Returns the key's caller.

        Raises:
            Unauthorized: It is not known, or has expired.
        """
        digest = digest_of(key)
        ends_s, caller = self._keys.get(digest, (0.0, None))
        # The dictionary compares digests, which tell nothing of other keys; this comparison
        # takes the same time for all of them.
        kept = digest if caller is not None else "0" * 64
        if not hmac.compare_digest(digest, kept) or caller is None:
            raise Unauthorized("the API key is not known")
        if ends_s <= self._clock():
            raise Unauthorized("the API key has expired")
        return caller

    def _entry(self, key: ApiKey) -> tuple[float, Caller]:
        ends_s = key.expires_at.timestamp() if key.expires_at else float("inf")
        config = self._config
        return ends_s, Caller(
            key.id,
            frozenset(key.roles),
            config.requests_per_s if key.requests_per_s is None else key.requests_per_s,
            config.max_concurrent if key.max_concurrent is None else key.max_concurrent,
        )


class Tokens:
    """Bearer tokens, checked against the provider's public keys."""

    def __init__(self, config: AccessConfig, clock: Callable[[], float] = time.time) -> None:
        self._access = config
        self._config: JwtConfig = config.jwt
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    def replace(self, jwks: Mapping[str, Any]) -> None:
        """Replaces the provider's keys; shared secrets among them are left out.

        Raises:
            jwt.PyJWTError: Not a set of keys; those before stay.
        """
        keys = [key for key in jwks.get("keys", ()) if key.get("kty") != "oct"]
        found = jwt.PyJWKSet(keys).keys
        self._keys = {key.key_id or "": key for key in found}
        self._known.clear()

    def find(self, token: str) -> Caller:
        """Returns the token's caller.

        Raises:
            Unauthorized: Not signed by a known key, expired, or meant for others.
        """
        if len(token) > _MAX_TOKEN_CHARS:
            raise Unauthorized("the bearer token is too long")
        digest = sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._verified(token)
            self._known[digest] = known
            if len(self._known) > _REMEMBERED_TOKENS:
                self._known.popitem(last=False)
        ends_s, caller = known
        if ends_s + self._config.leeway_s <= self._clock():
            raise Unauthorized("the bearer token has expired")
        return caller

    def _verified(self, token: str) -> tuple[float, Caller]:
        try:
            key = self._keys[jwt.get_unverified_header(token).get("kid", "")]
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=self._config.audience,
                issuer=self._config.issuer,
                leeway=self._config.leeway_s,
                options={"require": ["exp", "sub"]},
            )
            ends_s = float(claims["exp"])
            claims["sub"].encode()  # a lone surrogate could not be sent on
        except (jwt.PyJWTError, KeyError, ValueError, OverflowError) as error:
            _log.info("bearer token refused: %s", type(error).__name__)
            raise Unauthorized("the bearer token is not valid here") from None
        caller = Caller(
            f"jwt:{claims['sub']}",
            frozenset(_roles(claims.get(self._config.roles_claim))),
            self._access.requests_per_s,
            self._access.max_concurrent,
        )
        return ends_s, caller


def _roles(claim: object) -> Iterable[Role]:
    given = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return [role for role in ROLES if role in given]

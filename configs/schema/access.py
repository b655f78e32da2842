"""Settings of who may call what, and how often. Part of ``schema.py``."""

from datetime import datetime
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from configs.schema.section import Section

Network = Annotated[str, AfterValidator(lambda text: str(ip_network(text)))]
Role = Literal["predict", "explain", "review", "registry-read", "registry-write", "admin"]
ROLES: tuple[Role, ...] = (
    "predict",
    "explain",
    "review",
    "registry-read",
    "registry-write",
    "admin",
)


class ApiKey(Section):
    """One key as it is kept: its digest and what it allows. An ``id`` may have several keys.

    During a rotation the old and the new key stand side by side under one ``id``; the old one
    has an ``expires_at``. Both count against the same limits.
    """

    id: Annotated[str, Field(pattern=r"^[\w.\-]{1,64}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    roles: tuple[Role, ...] = ("predict",)
    requests_per_s: float | None = Field(None, gt=0)
    max_concurrent: int | None = Field(None, ge=1)
    expires_at: Annotated[datetime, Field(strict=False)] | None = None


class JwtConfig(Section):
    """Bearer tokens of an OpenID Connect provider, checked against its public keys."""

    jwks: str = Field(
        "",
        json_schema_extra={"limits": "a path, or an http or https URL"},
        description="The provider's keys: a JWKS file, or the URL of one. Empty accepts no tokens.",
    )
    refresh_s: int = Field(
        300,
        ge=1,
        le=86_400,
        description="How often the keys are read again; a token with an unknown key waits for the next time.",
    )
    issuer: str = Field("", description="Value that a token's `iss` must have.")
    audience: str = Field("", description="Value that a token's `aud` must have or hold.")
    roles_claim: str = Field(
        "roles",
        min_length=1,
        description="Claim with the caller's roles, a list or words between spaces; others in it are ignored.",
    )
    leeway_s: int = Field(
        30, ge=0, le=600, description="Difference of clocks that is forgiven in `exp` and `nbf`."
    )


class AccessConfig(Section):
    """Who may call. A route's role is in `deployments/access/roles.py`."""

    required: bool = Field(
        False,
        description="Every request but those of `access.public` needs an API key (`X-API-Key`) or a bearer token; without one 401 E3002, without the role 403 E3002. The profiles `staging` and `production` set it, and then nothing starts without a key, a provider of tokens or Vault.",
    )
    public: tuple[Literal["service", "health", "metrics", "docs"], ...] = Field(
        ("service", "health"),
        json_schema_extra={"limits": "any of service, health, metrics, docs"},
        description="Kinds of routes that need no key: the root, probes, the metrics page, the documentation.",
    )
    api_key: SecretStr = Field(
        SecretStr(""),
        description="One key with every role, at least 8 characters with a letter and a digit; for a single team. Kept in memory as its digest.",
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys as a JSON list of `id`, `sha256`, `roles`, `requests_per_s`, `max_concurrent`, `expires_at`; `sentigraph secrets new` makes them.",
    )
    requests_per_s: float = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Requests of one caller in a second, where its key says nothing else; beyond it 429 E4003 with Retry-After. 0 sets no limit.",
    )
    burst_s: float = Field(
        1,
        ge=0.01,
        le=60,
        description="Seconds of unused rate that a caller may save up and spend at once.",
    )
    max_concurrent: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Requests of one caller at once, where its key says nothing else; beyond it 429 E4003. 0 sets no limit.",
    )
    rate_store: Literal["replica", "redis"] = Field(
        "replica",
        description="Where rates and running requests are counted: in each ingress replica for itself, or in Redis for all of them; while Redis is away, in each replica.",
    )
    rate_timeout_ms: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Longest wait for Redis to count a request; afterwards the replica counts it alone.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        json_schema_extra={"limits": "a list of networks such as `10.0.0.0/8`"},
        description="Networks of the gateways and proxies in front that append to `X-Forwarded-For`: only theirs is believed. Empty believes nobody's.",
    )
    max_failed_logins: int = Field(
        100,
        ge=0,
        le=1_000_000,
        description="Wrong keys or tokens of one client address in a minute; then 429 E4003 instead of 401 for further wrong ones. Right ones are always taken. 0 allows any number.",
    )
    jwt: JwtConfig = JwtConfig()

"""Settings of the servers that sentigraph uses besides MLflow: how to reach them, how long to wait.

One section for each server, one breaker section for all. Part of ``schema.py``.
"""

from typing import Literal

from pydantic import Field, SecretStr

from configs.schema.section import Section


class BreakerConfig(Section):
    """When a failing dependency is left alone, and when it is asked again.

    Each dependency has a breaker of its own in each process that calls it.
    """

    failure_threshold: int = Field(
        5,
        ge=1,
        le=1_000,
        description="Failed calls in a row after which a dependency is not called any more.",
    )
    recovery_ms: int = Field(
        5_000,
        ge=10,
        le=3_600_000,
        description="Time that a failed dependency is left alone before one call tries it again.",
    )
    success_threshold: int = Field(
        2,
        ge=1,
        le=1_000,
        description="Successful trial calls in a row after which it is used as before.",
    )


class RedisConfig(Section):
    """The Redis server of the shared cache and of the rate limits. Unused unless one asks for it."""

    host: str = Field("localhost", min_length=1, description="Host name or address.")
    port: int = Field(6_379, ge=1, le=65_535, description="TCP port.")
    db: int = Field(0, ge=0, le=1_023, description="Database number.")
    username: str = Field("", description="ACL user; empty means the default user.")
    password: SecretStr = Field(
        SecretStr(""), description="Password; empty sends none. Never shown or logged."
    )
    tls: bool = Field(
        False, description="Speak TLS; a certificate that is not trusted for `redis.host` fails."
    )
    tls_ca_file: str = Field(
        "", description="PEM file of the authorities to trust; empty means the system's."
    )
    namespace: str = Field(
        "kubesentiment",
        pattern=r"^[\w.\-]{1,64}$",
        json_schema_extra={"limits": "1 to 64 letters, digits, `_`, `.` or `-`"},
        description="Every key begins with it; two installations may share one server.",
    )
    max_connections: int = Field(
        50,
        ge=1,
        le=1_000,
        description="Connections of one replica; further calls wait for a free one, at most `redis.timeout_ms`.",
    )
    connect_timeout_ms: int = Field(
        1_000, ge=1, le=60_000, description="Longest wait for a connection; then the call fails."
    )
    timeout_ms: int = Field(
        1_000, ge=1, le=60_000, description="Longest wait for an answer; then the call fails."
    )


class VaultConfig(Section):
    """HashiCorp Vault or OpenBao, KV version 2: the highest source of secrets.

    Every secret setting is read from `mount_point/secrets_path/NAME`, field `value`, where
    NAME is the dotted setting, for example `redis.password`.
    """

    enabled: bool = Field(
        False,
        description="Read secrets from Vault. In profile `production` nothing starts without it; elsewhere the lower sources stand in.",
    )
    address: str = Field(
        "",
        pattern=r"^(https?://.+)?$",
        json_schema_extra={"limits": "an http or https URL"},
        description="Where Vault is, for example `https://vault:8200`.",
    )
    namespace: str = Field("", description="Vault namespace; empty sends none.")
    auth: Literal["token", "approle", "kubernetes"] = Field(
        "token",
        description="How to log in: a given token, a role id with a secret id, or the pod's service account.",
    )
    token: SecretStr = Field(SecretStr(""), description="Token of `vault.auth` token.")
    role: str = Field("", description="Role of `vault.auth` kubernetes, role id of approle.")
    secret_id: SecretStr = Field(SecretStr(""), description="Secret id of `vault.auth` approle.")
    jwt_file: str = Field(
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        min_length=1,
        description="Service account token of `vault.auth` kubernetes, read at each login.",
    )
    mount_point: str = Field(
        "mlops-sentiment", min_length=1, description="Where the KV version 2 engine is mounted."
    )
    secrets_path: str = Field(
        "mlops-sentiment", min_length=1, description="Folder of the secrets below the mount."
    )
    database_mount: str = Field(
        "database", min_length=1, description="Where the database engine is mounted."
    )
    redis_role: str = Field(
        "",
        description="Role of the database engine that gives Redis credentials, to each replica its own: a lease that is renewed, and replaced before it ends. Empty uses `redis.username` and `redis.password`.",
    )
    ca_file: str = Field(
        "", description="PEM file of the authorities to trust; empty means the system's."
    )
    timeout_ms: int = Field(
        3_000,
        ge=1,
        le=60_000,
        description="Longest time of a whole request; then it fails, and the last values stay.",
    )
    refresh_ms: int = Field(
        15_000,
        ge=100,
        le=3_600_000,
        description="How often secrets are read again and the token is renewed; a rotated secret is in use after at most this time.",
    )

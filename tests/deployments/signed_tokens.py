"""Signed tokens of an identity provider that the tests play."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

SIGNER = rsa.generate_private_key(65_537, 2_048)


def jwks(*keys: dict[str, Any]) -> dict[str, Any]:
    return {"keys": list(keys)}


def rsa_key(kid: str = "one") -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(SIGNER.public_key(), as_dict=True), "kid": kid, "alg": "RS256"}


def token(key: Any = SIGNER, algorithm: str = "RS256", kid: str = "one", **claims: Any) -> str:
    given = {
        "sub": "ann",
        "iss": "https://id",
        "aud": "api",
        "exp": datetime.now(UTC) + timedelta(hours=1),
        "roles": ["predict", "unheard-of"],
        **claims,
    }
    given = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(given, key, algorithm, headers={"kid": kid})

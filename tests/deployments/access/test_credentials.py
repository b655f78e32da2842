"""API keys and bearer tokens: who is let in as whom, and everybody else is not."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm
from signed_tokens import jwks, rsa_key, token

from configs.errors import ConfigError
from configs.schema.access import AccessConfig, ApiKey
from configs.schema.api_keys import digest_of, is_strong, new_key, read_keys, rotated, write_keys
from deployments.access.credentials import KeyRing, Tokens
from deployments.errors import Unauthorized

NOW = datetime(2026, 11, 23, tzinfo=UTC)
JWT = {"jwks": "keys.json", "issuer": "https://id", "audience": "api"}


class Clock:
    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


def ring(*keys: ApiKey, clock: Clock | None = None, **settings: Any) -> KeyRing:
    config = AccessConfig(api_keys=write_keys(keys), **settings)  # type: ignore[arg-type]
    return KeyRing(config, clock or Clock())


def test_a_key_is_known_by_its_digest_only() -> None:
    key, kept = new_key("shop", ["predict"])
    assert key not in write_keys([kept])
    caller = ring(kept).find(key)
    assert (caller.id, caller.roles) == ("shop", {"predict"})
    assert caller.may("predict")
    assert not caller.may("registry-read")


@given(st.text(max_size=100))
def test_no_other_key_is(other: str) -> None:
    _, kept = new_key("shop", ["predict"])
    with pytest.raises(Unauthorized, match="not known"):
        ring(kept).find(other)


def test_admin_may_everything_and_limits_are_the_keys_own() -> None:
    key, kept = new_key("ops", ["admin"])
    own = kept.model_copy(update={"requests_per_s": 5.0})
    caller = ring(own, requests_per_s=100, max_concurrent=7).find(key)
    assert caller.may("registry-write")
    assert (caller.requests_per_s, caller.max_concurrent) == (5.0, 7)


def test_a_rotated_key_ends_after_the_overlap_and_the_new_one_stays() -> None:
    clock = Clock()
    old, kept = new_key("shop", ["predict", "registry-read"])
    other, untouched = new_key("blog", ["predict"])
    new, keys = rotated([kept, untouched], "shop", timedelta(hours=1), NOW)
    access = ring(*keys, clock=clock)
    assert access.find(old).roles == access.find(new).roles == {"predict", "registry-read"}
    clock.now += 3_599
    assert access.find(old).id == "shop"
    clock.now += 1
    with pytest.raises(Unauthorized, match="expired"):
        access.find(old)
    assert access.find(new).id == "shop"
    assert access.find(other).id == "blog"
    _, later = rotated(keys, "shop", timedelta(hours=1), NOW + timedelta(days=1))
    assert digest_of(old) not in {key.sha256 for key in later}


def test_rotating_twice_never_prolongs_a_key() -> None:
    _, kept = new_key("shop", ["predict"])
    _, once = rotated([kept], "shop", timedelta(minutes=1), NOW)
    _, twice = rotated(once, "shop", timedelta(hours=1), NOW)
    assert twice[0].expires_at == NOW + timedelta(minutes=1)
    with pytest.raises(ConfigError, match="nobody"):
        rotated(twice, "nobody", timedelta(hours=1), NOW)


def test_the_single_key_has_every_role_and_stays_when_others_are_replaced() -> None:
    access = ring(api_key="chosen-key-1")
    access.replace("[]")
    assert access.find("chosen-key-1").may("registry-write")


@pytest.mark.parametrize("document", ["{", '[{"id": "a"}]', '[{"id": "a", "sha256": "tops3cret"}]'])
def test_a_broken_list_is_refused_without_its_content(document: str) -> None:
    key, kept = new_key("shop", ["predict"])
    access = ring(kept)
    with pytest.raises(ConfigError) as caught:
        access.replace(document)
    assert "tops3cret" not in str(caught.value)
    assert access.find(key).id == "shop"
    assert read_keys(" ") == ()


def test_a_chosen_key_needs_some_strength() -> None:
    assert is_strong("abcdefg1")
    assert not any(map(is_strong, ("abcdef1", "abcdefgh", "12345678")))


CURVE = ec.generate_private_key(ec.SECP256R1())


def tokens(clock: Clock | None = None, **settings: Any) -> Tokens:
    known = Tokens(AccessConfig(jwt={**JWT, **settings}), clock or Clock())  # type: ignore[arg-type]
    curve = {**ECAlgorithm.to_jwk(CURVE.public_key(), as_dict=True), "kid": "two", "alg": "ES256"}
    secret = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "kid": "shared"}
    known.replace(jwks(rsa_key(), curve, secret))
    return known


def test_a_token_of_the_provider_is_let_in_with_its_roles() -> None:
    known = tokens()
    caller = known.find(token())
    assert (caller.id, caller.roles) == ("jwt:ann", {"predict"})
    assert known.find(token(CURVE, "ES256", "two", roles="predict admin")).may("registry-write")
    assert known.find(token(roles=None)).roles == frozenset()
    assert tokens(roles_claim="groups").find(token(groups="admin")).may("predict")


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://evil"},
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"sub": "\ud800"},
        {"exp": 10**400},
        {"exp": None},
        {"exp": datetime.now(UTC) - timedelta(days=1)},
        {"nbf": datetime.now(UTC) + timedelta(days=1)},
        {"kid": "unknown"},
        {"key": rsa.generate_private_key(65_537, 2_048)},
        {"key": "secret-secret-secret-secret-secret", "algorithm": "HS256", "kid": "shared"},
        {"key": CURVE, "algorithm": "ES256", "kid": "one"},
    ],
    ids=lambda wrong: "-".join(f"{name}" for name in wrong),
)
def test_every_other_token_is_not(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        tokens().find(token(**wrong))


@pytest.mark.parametrize("text", ["", "a.b.c", "x" * 10_000, "..", "\udcff"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        tokens().find(text)


def test_an_unsigned_token_is_refused() -> None:
    head, body, _ = token().split(".")
    none = json.dumps({"alg": "none", "kid": "one"}).encode()
    for forged in (f"{head}.{body}.", f"{jwt.utils.base64url_encode(none).decode()}.{body}."):
        with pytest.raises(Unauthorized):
            tokens().find(forged)


def test_a_remembered_token_ends_with_its_time_and_with_its_key() -> None:
    clock = Clock()
    clock.now = datetime.now(UTC).timestamp()
    known = tokens(clock, leeway_s=10)
    given = token()
    assert known.find(given) is known.find(given)
    clock.now += 3_605
    assert known.find(given)
    clock.now += 10
    with pytest.raises(Unauthorized, match="expired"):
        known.find(given)
    fresh = token()
    known.replace(jwks(rsa_key("another")))
    with pytest.raises(Unauthorized):
        known.find(fresh)

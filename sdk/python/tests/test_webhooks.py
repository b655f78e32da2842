"""Messages are taken from the server that has the secret, and not for long."""

import json

import pytest

from deployments.jobs.webhook import sign
from sentigraph_client import errors, webhooks

BODY = json.dumps(
    {
        "job_id": "j",
        "status": "completed",
        "total_texts": 3,
        "processed_texts": 3,
        "failed_texts": 0,
        "created_at": "2026-11-30T12:00:00Z",
        "completed_at": "2026-11-30T12:00:01.5Z",
    }
).encode()


def test_the_servers_own_signature_holds() -> None:
    signature = sign(b"s3cret", BODY, 1_000.9)
    found = webhooks.verify(BODY, signature, "s3cret", now_s=1_200)
    assert (found.job_id, found.status) == ("j", "completed")


@pytest.mark.parametrize(
    ("body", "secret", "now_s", "signature"),
    [
        (BODY + b" ", "s3cret", 1_000, None),
        (BODY, "other", 1_000, None),
        (BODY, "s3cret", 1_400, None),
        (BODY, "s3cret", 600, None),
        (BODY, "s3cret", 1_000, ""),
        (BODY, "s3cret", 1_000, f"t=1000,v1={'0' * 64}"),
    ],
)
def test_others_do_not(body: bytes, secret: str, now_s: float, signature: str | None) -> None:
    signed = sign(b"s3cret", BODY, 1_000) if signature is None else signature
    with pytest.raises(errors.WebhookInvalid):
        webhooks.verify(body, signed, secret, now_s=now_s)


def test_a_signed_body_of_another_kind_is_refused() -> None:
    with pytest.raises(errors.WebhookInvalid):
        webhooks.verify(b"{}", sign(b"s", b"{}", 0), "s", now_s=0)

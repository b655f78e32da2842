"""Messages that the server sends when a job has ended: whether they are genuine, what they say."""

import hashlib
import hmac
import re
import time
from datetime import datetime

from pydantic import ValidationError

from sentigraph_client._body import Body
from sentigraph_client.errors import WebhookInvalid

SIGNATURE_HEADER = "X-Sentigraph-Signature"
_SIGNATURE = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")


class JobEnded(Body):
    """A job that has ended."""

    job_id: str
    status: str
    total_texts: int
    processed_texts: int
    failed_texts: int
    created_at: datetime
    completed_at: datetime | None


def verify(
    body: bytes,
    signature: str,
    secret: str,
    *,
    tolerance_s: float = 300.0,
    now_s: float | None = None,
) -> JobEnded:
    """What a message says, once it is known to be genuine.

    Args:
        body: The request's body as it came, not parsed and written anew.
        signature: Its header ``SIGNATURE_HEADER``.
        secret: ``jobs.webhook.secret`` of the server.
        tolerance_s: Oldest message; a copied one is no good for longer.
        now_s: Seconds since 1970; the clock's if not given.

    Raises:
        WebhookInvalid: Another secret, another body, or too old. Answer 400.
    """
    found = _SIGNATURE.fullmatch(signature)
    if found is None:
        raise WebhookInvalid(f"{SIGNATURE_HEADER} is not t=SECONDS,v1=HEX")
    stamp, digest = found.groups()
    wanted = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(digest, wanted):
        raise WebhookInvalid("the signature is not that of the body")
    if abs((time.time() if now_s is None else now_s) - int(stamp)) > tolerance_s:
        raise WebhookInvalid("the message is too old")
    try:
        return JobEnded.model_validate_json(body)
    except ValidationError as error:
        raise WebhookInvalid("the body is not that of a job that has ended") from error

"""What a request about a batch job can end with, besides the errors of every request.

ClientError
├── JobNotFound 404 E7001
├── ResultsNotReady 409 E7004
├── JobNotCancellable 409 E7002
└── JobRefused 422 E7003
"""

from deployments.errors import ClientError


class JobNotFound(ClientError, status=404, code="E7001"):
    """No such batch job, or another caller's, or deleted when its time was over."""


class ResultsNotReady(ClientError, status=409, code="E7004"):
    """The batch job has no results yet; for a download it has not ended."""


class JobNotCancellable(ClientError, status=409, code="E7002"):
    """The batch job has ended already."""


class JobRefused(ClientError, status=422, code="E7003"):
    """A batch job that cannot be taken as it is: its file, its webhook, its idempotency key."""

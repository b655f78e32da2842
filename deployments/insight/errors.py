"""What a request about what is watched can end with, besides the errors of every request.

ClientError
├── InsufficientData 400 E8003
├── ReferenceInAlarm 409 E8004
├── ReferenceChanged 412 E8004
├── NothingToReview 409 E8003
└── NotWatched 404 E8003

ServerError
└── ExplanationFailed 500 E8008
"""

from deployments.errors import ClientError, ServerError


class InsufficientData(ClientError, status=400, code="E8003"):
    """Too few texts were counted for what is asked."""


class NotWatched(ClientError, status=404, code="E8003"):
    """No text of that version was counted yet."""


class ReferenceInAlarm(ClientError, status=409, code="E8004"):
    """Traffic that has drifted would become what is usual; `force` says that it is."""


class ReferenceChanged(ClientError, status=412, code="E8004"):
    """The reference is not the one that `If-Match` names."""


class NothingToReview(ClientError, status=409, code="E8003"):
    """The server keeps no texts of answers, so nobody can judge them."""


class ExplanationFailed(ServerError, status=500, code="E8008"):
    """The model has no answer for a part of the text, so nothing can be said of its words."""

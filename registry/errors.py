"""What can go wrong with a model. Registry errors know nothing of HTTP.

RegistryError
├── InvalidBundle 422 E2008
│   └── IntegrityError 500 E2004
├── ModelNotFound 404 E8007
├── AlreadyExists 409 E8007
├── InvalidValue 422 E1001
├── IllegalTransition 409 E8007
├── GateFailed 409 E8007
├── ApprovalRequired 403 E8007
├── Conflict 409 E8007
│   ├── EntryTaken 409 E8007
│   └── StaleRevision 412 E8007
├── TooLarge 413 E2008
├── StoreFull 429 E8007
├── UnsupportedFormat 415 E2008
└── BackendUnavailable 503 E8007
    └── LedgerDamaged 503 E8007

``status`` is the HTTP status that a front end should answer with; ``code`` is the
E-number of the error table. A subclass gives what differs from its base.
"""


class RegistryError(Exception):
    """Base of all registry errors. The message is one sentence for a person."""

    status = 500
    code = "E8007"

    def __init_subclass__(cls, *, status: int | None = None, code: str | None = None) -> None:
        super().__init_subclass__()
        cls.status = status or cls.status
        cls.code = code or cls.code

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidBundle(RegistryError, status=422, code="E2008"):
    """A bundle cannot be written or opened: wrong files, labels or metadata."""


class IntegrityError(InvalidBundle, status=500, code="E2004"):
    """A bundle's file does not have the digest that was recorded when it was written."""


class ModelNotFound(RegistryError, status=404):
    """No model, version or alias of that name."""


class AlreadyExists(RegistryError, status=409):
    """The name is taken by something else."""


class InvalidValue(RegistryError, status=422, code="E1001"):
    """A name, a number or a filter that the registry does not take."""


class IllegalTransition(RegistryError, status=409):
    """The lifecycle has no such step; the message names the legal ones."""


class GateFailed(RegistryError, status=409):
    """The evidence does not satisfy the model's policy; the message gives every reason."""


class ApprovalRequired(RegistryError, status=403):
    """The model's policy wants a second person to agree first."""


class Conflict(RegistryError, status=409):
    """The same thing was changed at the same time, or the caller has an old state."""


class EntryTaken(Conflict):
    """Another writer took the ledger's next entry; the same change may be tried again."""


class StaleRevision(Conflict, status=412):
    """The caller has an older state than the present one."""


class TooLarge(RegistryError, status=413, code="E2008"):
    """An upload, or what it unpacks to, is over its limit."""


class StoreFull(RegistryError, status=429):
    """The space for models' files is used up, ``registry.max_stored_bytes``; delete some first."""


class UnsupportedFormat(RegistryError, status=415, code="E2008"):
    """A model format that is not stored here; the message names the reason and an alternative."""


class BackendUnavailable(RegistryError, status=503):
    """MLflow's store does not answer or cannot be read."""


class LedgerDamaged(BackendUnavailable):
    """A part of an audit ledger was deleted in MLflow; nothing is changed until it is back."""

"""What can go wrong with a model. Registry errors know nothing of HTTP.

RegistryError
├── InvalidBundle        a file is missing, forbidden, or its metadata is wrong
│   └── IntegrityError   a file's sha256 is not the one that was recorded
├── ModelNotFound        no such model, version or alias
├── AlreadyExists        a version with other content has that identity
├── InvalidValue         a name, number or filter is out of range
├── IllegalTransition    the lifecycle has no such step
├── GateFailed           the evidence does not satisfy the policy
├── ApprovalRequired     a second person has to agree first
├── Conflict             someone else changed it meanwhile
│   └── StaleRevision    the caller looked at an older state
├── TooLarge             an upload is over its limit
├── UnsupportedFormat    a file format that is not stored here
└── BackendUnavailable   MLflow (or its database) cannot be reached or read

``status`` is the HTTP status that a front end should answer with; ``code`` is the
E-number of the error table.
"""


class RegistryError(Exception):
    """Base of all registry errors. The message is one sentence for a person."""

    status = 500
    code = "E8007"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidBundle(RegistryError):
    """A bundle cannot be written or opened: wrong files, labels or metadata."""

    status = 422
    code = "E2008"


class IntegrityError(InvalidBundle):
    """A bundle's file does not have the digest that was recorded when it was written."""

    status = 500
    code = "E2004"


class ModelNotFound(RegistryError):
    """No model, version or alias of that name."""

    status = 404
    code = "E8007"


class AlreadyExists(RegistryError):
    """The name is taken by something else."""

    status = 409
    code = "E8007"


class BackendUnavailable(RegistryError):
    """MLflow's store does not answer or cannot be read."""

    status = 503
    code = "E8007"


class InvalidValue(RegistryError):
    """A name, a number or a filter that the registry does not take."""

    status = 422
    code = "E1001"


class IllegalTransition(RegistryError):
    """The lifecycle has no such step; the message names the legal ones."""

    status = 409
    code = "E8007"


class GateFailed(RegistryError):
    """The evidence does not satisfy the model's policy; the message gives every reason."""

    status = 409
    code = "E8007"


class ApprovalRequired(RegistryError):
    """The model's policy wants a second person to agree first."""

    status = 403
    code = "E8007"


class Conflict(RegistryError):
    """Someone else changed the same thing meanwhile, or the caller looked at an old state."""

    status = 409
    code = "E8007"


class StaleRevision(Conflict):
    """The caller has looked at an older state than the one that stands."""

    status = 412


class TooLarge(RegistryError):
    """An upload, or what it unpacks to, is over its limit."""

    status = 413
    code = "E2008"


class UnsupportedFormat(RegistryError):
    """A model format that is not stored here; the message says why and what to use."""

    status = 415
    code = "E2008"

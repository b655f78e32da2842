"""What can go wrong with a model. Registry errors know nothing of HTTP.

RegistryError
├── InvalidBundle        a file is missing, forbidden, or its metadata is wrong
│   └── IntegrityError   a file's sha256 is not the one that was recorded
├── ModelNotFound        no such model, version or alias
├── AlreadyExists        a version with other content has that identity
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

"""What the command line and the local stack refuse, as one tree.

OperationError           exit status 1, message on stderr
└── StackError           the local servers cannot be started, or one of them ended
    ├── ServerAway       a server does not answer
    └── ServerRefused    a server answered with an error
"""


class OperationError(Exception):
    """The base: `python -m cli` turns it into exit status 1."""


class StackError(OperationError):
    """The local servers cannot be started, or one of them ended."""


class ServerAway(StackError):
    """A server does not answer, or answers what it should not."""


class ServerRefused(StackError):
    """A server answered with an error.

    Attributes:
        status: Of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return self.message

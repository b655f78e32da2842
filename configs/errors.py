"""What can go wrong with a configuration.

ConfigError    a setting is unknown, out of range, or contradicts another
SecretsError   Vault did not give what was asked: not reachable, sealed, login or read refused

Raised before anything starts, or while secrets are read again; never in the request path.
"""


class ConfigError(Exception):
    """The configuration is refused.

    The message has one line for each problem, all of them at once. Each line is a
    sentence that names the setting as the user wrote it (environment name or dotted
    path), its value and its limit. Secrets in it are masked.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def problems(self) -> tuple[str, ...]:
        """The lines of the message."""
        return tuple(self.message.splitlines())


class SecretsError(Exception):
    """Vault did not give what was asked. The message holds the kind of failure, never a secret."""

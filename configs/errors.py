"""What can go wrong with a configuration.

ConfigError    a setting is unknown, out of range, or contradicts another

Raised before anything starts; nothing in the request path raises it.
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

"""How clients of Kafka log in: with the password as it is now, at each new connection.

A connection that is logged in stays so when the password changes; the next one, or the broker's
wish to log in again, takes the new one. So nothing is drained and no partition moves.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from configs.schema.stream import StreamConfig

Client = TypeVar("Client")


class SaslLogin:
    """The password of ``stream.username``. May be replaced from any thread."""

    def __init__(self, config: StreamConfig) -> None:
        self.password = config.password.get_secret_value()

    def replace(self, password: str) -> None:
        """Another password, from now on."""
        self.password = password


class _Connections(KafkaConnectionManager):  # type: ignore[misc]
    """Connections that log in with what ``SaslLogin`` says when they are made."""

    def __init__(self, net: NetworkSelector, login: SaslLogin, **configs: Any) -> None:
        super().__init__(net, **configs)
        self._login = login

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        """See kafka-python."""
        password = self._login.password
        if self.config["sasl_plain_password"] != password:
            self.config["sasl_plain_password"] = password
            # Brokers that refused the password before are asked again.
            self._auth_failures.clear()
        return super().get_connection(*arguments, **options)


def make(kind: Callable[..., Client], arguments: Mapping[str, Any], login: SaslLogin) -> Client:
    """A consumer, producer or admin client of kafka-python; one that cannot start leaves nothing.

    Raises:
        KafkaError: No broker answers, or none takes the password.
    """
    made: list[KafkaNetClient] = []

    def client(**configs: Any) -> KafkaNetClient:
        net = NetworkSelector(**configs)
        made.append(KafkaNetClient(net, _Connections(net, login, **configs), **configs))
        return made[0]

    try:
        return kind(kafka_client=client, **arguments)
    except BaseException:
        for left in made:
            left.close()
        raise

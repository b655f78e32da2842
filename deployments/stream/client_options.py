"""Our settings → the arguments of kafka-python, and whether a broker can be reached."""

import socket
from typing import Any

from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from configs.schema.stream import StreamConfig

_ASSIGNORS = {
    "cooperative-sticky": CooperativeStickyAssignor,
    "sticky": StickyPartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "range": RangePartitionAssignor,
}
_BOOTSTRAP_MS = 5_000
_REQUEST_MS = 10_000
_RECONNECT_MOST_MS = 2_000
_REACH_S = 1.0


def connection(config: StreamConfig) -> dict[str, Any]:
    """Returns how every client reaches the brokers."""
    options: dict[str, Any] = {
        "bootstrap_servers": list(config.bootstrap_servers),
        "security_protocol": config.security_protocol,
        "bootstrap_timeout_ms": _BOOTSTRAP_MS,
        "request_timeout_ms": _REQUEST_MS,
        "reconnect_backoff_max_ms": _RECONNECT_MOST_MS,
    }
    if config.ca_file:
        options["ssl_cafile"] = config.ca_file
    if config.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": config.sasl_mechanism,
            "sasl_plain_username": config.username,
            "sasl_plain_password": config.password.get_secret_value(),
        }
    return options


def consumer(config: StreamConfig) -> dict[str, Any]:
    """Returns those of the consumer: only ``Consumer`` commits offsets."""
    return connection(config) | {
        "group_id": config.group,
        "enable_auto_commit": False,
        "auto_offset_reset": config.start_at,
        "partition_assignment_strategy": (_ASSIGNORS[config.assignment],),
        "session_timeout_ms": config.session_timeout_ms,
        "heartbeat_interval_ms": config.heartbeat_interval_ms,
        "max_poll_interval_ms": config.max_poll_interval_ms,
        "fetch_max_wait_ms": config.fetch_wait_ms,
        "max_poll_records": config.max_poll_records,
    }


def producer(config: StreamConfig) -> dict[str, Any]:
    """Returns those of the producer: all brokers in sync have what is acknowledged, once."""
    # kafka-python wants room for at least one request beyond the linger.
    delivery_ms = max(config.delivery_timeout_ms, 2 * config.linger_ms)
    return connection(config) | {
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": config.linger_ms,
        "compression_type": None if config.compression == "none" else config.compression,
        "delivery_timeout_ms": delivery_ms,
        "request_timeout_ms": min(_REQUEST_MS, delivery_ms - config.linger_ms),
        "max_block_ms": config.delivery_timeout_ms,
    }


def reach(config: StreamConfig) -> None:
    """Checks that a bootstrap server takes a connection.

    A client of kafka-python tries for five seconds, so none is made before this returns.

    Raises:
        ConnectionError: None does; it says why of each.
    """
    reasons = []
    for server in config.bootstrap_servers:
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), _REACH_S):
                return
        except OSError as error:
            reasons.append(f"{server}: {error.strerror or error}")
    raise ConnectionError(f"no bootstrap server takes a connection ({'; '.join(reasons)})")

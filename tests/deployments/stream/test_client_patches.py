"""The installed kafka-python is the one whose private parts ``client_patches`` was made for."""

import kafka
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch

from deployments.stream.client_patches import MADE_FOR


def test_the_version_is_the_one_the_patches_were_made_for() -> None:
    assert kafka.__version__ == MADE_FOR, (
        "kafka-python changed: read client_patches.py against it, run the tests of stream/ with "
        "-m slow, then change MADE_FOR"
    )


def test_the_private_parts_are_where_the_patches_expect_them() -> None:
    net = NetworkSelector()
    try:
        connections = KafkaConnectionManager(net)
        assert connections._auth_failures == {}
        assert "sasl_plain_password" in connections.config
    finally:
        net.close()
    assert callable(DefaultRecordBatch._read_msg)
    assert hasattr(memory_records, "DefaultRecordBatch")

"""The span of a message as a whole, under the names of OpenTelemetry's conventions."""

from deployments.predictions import AnswerFacts
from deployments.stream.offsets import Delivery
from deployments.telemetry.spans import AttributeValue, Trace


def end_message(
    trace: Trace, delivery: Delivery, answered: AnswerFacts | None, error_code: str = ""
) -> None:
    """Ends the trace of a message that is acknowledged: its result, or its dead letter."""
    message = delivery.message
    attributes: dict[str, AttributeValue] = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": message.topic,
        "messaging.destination.partition.id": str(message.partition),
        "messaging.kafka.offset": message.offset,
    }
    if answered is not None:
        attributes |= answered.attributes()
    if error_code:
        attributes["error.type"] = error_code
    trace.end(
        f"process {message.topic}",
        delivery.read_s,
        kind="consumer",
        attributes=attributes,
        error=error_code,
    )

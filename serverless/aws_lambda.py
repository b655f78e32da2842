"""The handler of AWS Lambda: events of function URLs, API Gateway and load balancers.

The model is opened while the module is imported, in Lambda's init phase; what fails there is
reported as an init error. Settings come from the environment as everywhere; the model from
``MLOPS_REGISTRY__BUNDLED_MODEL_DIR`` or the bundled one.
"""

import asyncio
from typing import Any, Protocol

from mangum import Mangum

from configs.load import load_config
from serverless.app import LiteApp

# Left for the answer on its way back.
_MARGIN_MS = 200


class Context(Protocol):
    """What Lambda says of one call."""

    def get_remaining_time_in_millis(self) -> int:
        """Until the call is ended from outside."""
        ...


# One loop for all calls: the application belongs to it.
asyncio.set_event_loop(asyncio.new_event_loop())
app = LiteApp(load_config())
_answer = Mangum(app, lifespan="off")


def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """One call. Without a deadline of the client's own, Lambda's is the request's."""
    left_ms = max(1, context.get_remaining_time_in_millis() - _MARGIN_MS)
    for name in ("headers", "multiValueHeaders"):
        headers = event.get(name)
        if headers and not any(key.lower() == "x-deadline-ms" for key in headers):
            value = str(left_ms)
            headers["x-deadline-ms"] = [value] if name == "multiValueHeaders" else value
    return dict(_answer(event, context))  # type: ignore[arg-type]

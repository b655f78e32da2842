"""The span of a request as a whole, under the names of OpenTelemetry's conventions."""

from deployments.asgi.exchange import Exchange
from deployments.telemetry.spans import AttributeValue


def end_request(exchange: Exchange) -> None:
    """Ends the trace of an answered request; does nothing for one that is not sampled."""
    trace = exchange.trace
    if trace is None:
        return
    attributes: dict[str, AttributeValue] = {"sentigraph.correlation_id": exchange.correlation_id}
    if exchange.scope["type"] == "grpc":
        name = exchange.endpoint.removeprefix("/")
        service, _, method = name.partition("/")
        attributes |= {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
    else:
        name = f"{exchange.method} {exchange.endpoint}"
        attributes |= {
            "http.request.method": exchange.method,
            "http.route": exchange.endpoint,
            "http.response.status_code": exchange.status,
        }
    if exchange.served is not None:
        attributes |= exchange.served.attributes()
    if exchange.error_code:
        attributes["error.type"] = exchange.error_code
    # By the conventions a refusal is the caller's error and leaves the server's span as it is.
    error = exchange.error_code or str(exchange.status) if exchange.status >= 500 else ""
    trace.end(name, exchange.started_s, kind="server", attributes=attributes, error=error)

"""The HTTP and gRPC entry replica: routing, health, OpenAPI, access log."""

"""The machinery of metrics, traces and log context. Each stage declares its own spans."""

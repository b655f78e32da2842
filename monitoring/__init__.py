"""What an operator sees: rules and routes; dashboards and the table of metrics, generated."""

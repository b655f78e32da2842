"""MLflow as the store of versions, aliases, artifacts and the audit ledger."""
